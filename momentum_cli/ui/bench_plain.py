"""The displays of a benchmark without a terminal: warnings only, or plain lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TextIO

from momentum_cli.progress import OVER, Level, NullBenchUi, RunState, SummaryLines
from momentum_cli.ui.stream import SafeStream
from momentum_cli.wording import bytes_text, clock_text, metric_text, seconds_text, target_text

# In characters, because a log file has no width.
_WIDTH = 100


class QuietBenchUi(NullBenchUi):
    """Shows warnings and errors only."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = SafeStream(stream)

    def note(self, text: str, level: Level = "info") -> None:
        if level != "info":
            self._stream.note(text, level)


class PlainBenchUi(NullBenchUi):
    """Plain lines for log files and pipes: one per finished run, and one per interval for the runs in between.

    Args:
        stream: where the lines go.
        interval_seconds: > 0, at most one line about unfinished runs in this time.
        progress: False leaves those lines out.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        interval_seconds: float = 15.0,
        progress: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = SafeStream(stream)
        self._interval = interval_seconds
        self._show_progress = progress
        self._clock = clock
        self._states: dict[str, RunState] = {}
        self._started_at = clock()
        self._next_line = clock() + interval_seconds

    def start(self, title: str, runs: Sequence[RunState], targets: dict[str, tuple[str, float] | None]) -> None:
        self._states = {run.id: run for run in runs}
        self._started_at = self._clock()
        self._next_line = self._started_at + self._interval
        wanted = [f"{name}: {target_text(*target)}" for name, target in targets.items() if target is not None]
        done = sum(run.status in OVER for run in runs)
        kept = f", {done} of them kept from before" if done else ""
        self._stream.line(f"{title}: {len(runs)} runs{kept}" + (f"; target {', '.join(wanted)}" if wanted else ""))

    def update(self, state: RunState) -> None:
        was = self._states.get(state.id)
        self._states[state.id] = state
        if state.status in OVER:
            if was is None or was.status not in OVER:
                done = sum(run.status in OVER for run in self._states.values())
                self._stream.line(f"[{done}/{len(self._states)}] {outcome_text(state)}")
            return
        now = self._clock()
        if now >= self._next_line and self._show_progress:
            self._next_line = now + self._interval
            self._stream.line(self._progress_line(now))

    def note(self, text: str, level: Level = "info") -> None:
        self._stream.note(text, level)

    def finish(self, summary: SummaryLines) -> None:
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        for line in summary(_WIDTH):
            self._stream.line(_spelled(line, encoding))

    def download(self, name: str, done: int, total: int | None) -> None:
        if total is not None and done >= total:
            self._stream.line(f"downloaded {name} ({bytes_text(done)})")

    def preparation(self, name: str, done: int, total: int) -> None:
        if done >= total:
            self._stream.line(f"{name}: {done:,} files")

    def _progress_line(self, now: float) -> str:
        active = [run for run in self._states.values() if run.status == "training"]
        parts = []
        for run in active[:6]:
            steps = f"{run.step:,}" if run.total_steps is None else f"{run.step:,}/{run.total_steps:,}"
            parts.append(f"{run.label} seed {run.seed} step {steps} {metric_text(run.metric, run.value)}")
        if len(active) > 6:
            parts.append(f"and {len(active) - 6} more")
        return f"{clock_text(now - self._started_at)}: " + "; ".join(parts)


def _spelled(text: str, encoding: str) -> str:
    """The text for a stream that may be limited to ASCII."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        for sign, word in (("∞", "inf"), ("–", "-"), ("±", "+-"), ("×", "x")):
            text = text.replace(sign, word)
    return text


def outcome_text(state: RunState) -> str:
    """`digits momentum seed 2: reached after 230 steps, 1.9 s of training; best accuracy 95.56 %`."""
    name = f"{state.comparison} {state.label} seed {state.seed}"
    cost = f"{state.step:,} steps, {seconds_text(state.train_seconds)} of training"
    best = f"; best {state.metric} {metric_text(state.metric, state.best)}" if state.best is not None else ""
    if state.status in {"reached", "finished"}:
        return f"{name}: {state.status} after {cost}{best}"
    return f"{name}: {state.status} after {cost}: {state.reason}{best}"
