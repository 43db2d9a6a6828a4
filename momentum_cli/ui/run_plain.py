"""The display without a terminal: plain lines, one per interval, no control characters."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, TextIO

from momentum_cli.messages import counted
from momentum_cli.progress import Evaluation, Level, NullUi, RunStart, StepInfo
from momentum_cli.ui.estimate import Progress
from momentum_cli.ui.several import Quiet
from momentum_cli.ui.stream import SafeStream
from momentum_cli.ui.summary import evaluation_text, header, next_steps, of, reached_text, summary_rows, title
from momentum_cli.wording import (
    bytes_text,
    clock_text,
    number_text,
    short_path,
    speed_text,
    step_time_text,
    target_text,
)

LONGEST_INTERVAL_SECONDS = 60.0


class PlainUi(NullUi):
    """Plain lines for log files and pipes.

    Args:
        stream: where the lines go.
        interval_seconds: > 0, at most one progress line in this time; it grows to a minute in long runs, so that the
            log of a night stays readable.
        progress: False leaves the progress lines out; evaluations, notes and the summary stay.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        interval_seconds: float = 10.0,
        progress: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = SafeStream(stream)
        self._line = self._stream.line
        self._interval = interval_seconds
        self._show_progress = progress
        self._clock = clock
        self._progress = Progress()
        self._next_line = clock() + interval_seconds
        self._downloads: dict[str, float] = {}  # name -> when its next line is due; inf when it is complete

    def start(self, run: RunStart) -> None:
        now = self._clock()
        self._progress = Progress(run, now)
        self._next_line = now + self._interval
        target = [f"target {target_text(*run.target)}"] if run.target is not None else []
        self._line(f"{title(run)}: {', '.join(header(run) + target)}")
        if run.run_dir:
            self._line(f"run folder: {short_path(run.run_dir)}")

    def step(self, info: StepInfo) -> None:
        now = self._clock()
        self._progress.step(info, now)
        if now >= self._next_line:
            self._step_line(info, now)

    def evaluation_progress(self, done: int, total: int, split: str) -> None:
        if self._due(self._clock()):
            self._line(f"evaluating {split}: {done:,} of {total:,}")

    def evaluated(self, evaluation: Evaluation) -> None:
        run = self._progress.run
        reached = self._progress.evaluated(evaluation)
        self._line(evaluation_text(evaluation, run))
        if reached and self._progress.reached is not None:
            self._line(f"target {reached_text(self._progress.reached)}")

    def note(self, text: str, level: Level = "info") -> None:
        self._stream.note(text, level)

    def finish(self, result: dict[str, Any]) -> None:
        rows = summary_rows(result)
        lines = [*((row.label, row.value) for row in rows), *next_steps(result)]
        width = max(len(label) for label, _ in lines)
        for label, value in lines:
            self._line(f"{label:<{width}}  {value}")

    def download(self, name: str, done: int, total: int | None) -> None:
        now = self._clock()
        if total is not None and done >= total:
            if self._downloads.get(name) != math.inf:
                self._downloads[name] = math.inf
                self._line(f"downloaded {name} ({bytes_text(done)})")
        elif name not in self._downloads:
            self._downloads[name] = now + self._interval
            self._line(f"downloading {name}" + (f" ({bytes_text(total)})" if total else ""))
        elif now >= self._downloads[name] and self._show_progress:
            self._downloads[name] = now + self._interval
            self._line(f"downloading {name}: {bytes_text(done)}" + (f" of {bytes_text(total)}" if total else ""))

    def preparation(self, name: str, done: int, total: int) -> None:
        if done == 0 or done >= total or self._due(self._clock()):
            self._line(f"{name}: {done:,} of {counted(total, 'file')}")

    def _due(self, now: float) -> bool:
        if now < self._next_line:
            return False
        interval = (now - self._progress.started_at) / 60 if self._progress.run else 0.0
        self._next_line = now + max(self._interval, min(interval, LONGEST_INTERVAL_SECONDS))
        return self._show_progress

    def _step_line(self, info: StepInfo, now: float) -> None:
        run = self._progress.run
        if not self._due(now) or run is None:
            return
        samples_per_second, ms_per_step = self._progress.measure()
        left = self._progress.seconds_left()
        parts = [
            f"epoch {of(info.epoch, run.epochs)}",
            f"step {of(info.step, run.total_steps)}",
            f"loss {number_text(self._progress.loss)} (last {number_text(self._progress.last_loss)})",
            f"grad norm {number_text(self._progress.grad_norm)}",
            f"lr {info.lr:.3g}",
            speed_text(samples_per_second),
            step_time_text(ms_per_step),
            f"memory {bytes_text(self._progress.memory())}",
            f"elapsed {clock_text(now - self._progress.started_at)}",
        ]
        self._line(", ".join([*parts, f"left {clock_text(left)}"] if left is not None else parts))


class QuietUi(Quiet, NullUi):
    """Shows warnings and errors only."""
