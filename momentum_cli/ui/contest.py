"""What a benchmark tells its display, and the displays without a terminal: nothing, or plain lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TextIO

from momentum_cli.ui.protocol import Level
from momentum_cli.ui.stream import SafeStream
from momentum_cli.ui.summary import target_text
from momentum_cli.ui.wording import bytes_text, clock_text, metric_text, seconds_text

Status = Literal["waiting", "training", "reached", "finished", "missed", "failed"]
OVER = frozenset({"reached", "finished", "missed", "failed"})


@dataclass(frozen=True, slots=True)
class RunState:
    """Where one run of a benchmark is.

    Args:
        id: name of the run, unique in the benchmark.
        label: of its cell.
        status: "reached" the target, "missed" it, "finished" when there was none, "failed" by an error.
        total_steps: steps of the budget, or None when only time limits the run.
        value: latest value of the metric, or None before the first evaluation.
        best: best value so far.
        train_seconds: the scored clock.
        reason: of a miss.
        target_steps, target_seconds: steps and training seconds at the target; of the whole run without one.
    """

    id: str
    comparison: str
    label: str
    seed: int
    status: Status
    metric: str
    step: int = 0
    total_steps: int | None = None
    value: float | None = None
    best: float | None = None
    train_seconds: float = 0.0
    reason: str | None = None
    target_steps: int = 0
    target_seconds: float = 0.0


def make_bench_ui(
    *, quiet: bool = False, progress: bool = True, json: bool = False, stream: TextIO | None = None
) -> BenchUi:
    """The display for a command: live on a terminal, plain lines elsewhere, warnings only when quiet.

    Args:
        quiet: only warnings and errors, on stderr.
        progress: False leaves out bars and progress lines.
        json: the command writes one JSON object to stdout, so everything else goes to stderr.
        stream: where to show it; None: stdout, or stderr with `json`.
    """
    from momentum_cli.ui import is_terminal

    if quiet:
        return QuietBenchUi(stream or sys.stderr)
    stream = stream or (sys.stderr if json else sys.stdout)
    if progress and is_terminal(stream):
        from momentum_cli.ui.leaderboard import RichBenchUi

        return RichBenchUi(stream)
    return PlainBenchUi(stream, progress=progress)


class BenchUi(Protocol):
    """The display of a benchmark; a context manager that closes itself."""

    def start(self, title: str, runs: Sequence[RunState], targets: dict[str, tuple[str, float] | None]) -> None:
        """A benchmark, or a part of it such as tuning, starts; `targets` is by comparison."""

    def update(self, state: RunState) -> None:
        """A run went on; called a few times a second at most."""

    def note(self, text: str, level: Level = "info") -> None:
        """A message to the user, at any time."""

    def finish(self, summary: dict[str, Any]) -> None:
        """All is over; `summary` is the content of bench.json."""

    def download(self, name: str, done: int, total: int | None) -> None:
        """`done` of `total` bytes of the file `name` are here."""

    def preparation(self, name: str, done: int, total: int) -> None:
        """`done` of `total` files are prepared; `name` says what is made of them."""

    def close(self) -> None:
        """Give the terminal back; calling it twice does no harm."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class NullBenchUi:
    """Shows nothing."""

    def start(self, title: str, runs: Sequence[RunState], targets: dict[str, tuple[str, float] | None]) -> None:
        pass

    def update(self, state: RunState) -> None:
        pass

    def note(self, text: str, level: Level = "info") -> None:
        pass

    def finish(self, summary: dict[str, Any]) -> None:
        pass

    def download(self, name: str, done: int, total: int | None) -> None:
        pass

    def preparation(self, name: str, done: int, total: int) -> None:
        pass

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class QuietBenchUi(NullBenchUi):
    """Shows warnings and errors only."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = SafeStream(stream)

    def note(self, text: str, level: Level = "info") -> None:
        if level != "info":
            self._stream.line(f"{level}: {text}")


class PlainBenchUi(NullBenchUi):
    """Plain lines for log files and pipes: one a finished run, and one an interval for the runs in between.

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
        self._stream.line(text if level == "info" else f"{level}: {text}")

    def finish(self, summary: dict[str, Any]) -> None:
        from momentum_cli.ui.leaderboard import summary_text

        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        for line in summary_text(summary):
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
    """The text for a stream that may know ASCII only."""
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
