"""The displays of a search without a terminal: warnings only, or plain lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TextIO

from momentum_cli.progress import Level, NullTuneUi, SummaryLines, TrialState, TuneStart
from momentum_cli.ui.stream import SafeStream
from momentum_cli.wording import bytes_text, clock_text, metric_text

# In characters, because a log file has no width.
_WIDTH = 120


class QuietTuneUi(NullTuneUi):
    """Shows warnings and errors only."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = SafeStream(stream)

    def note(self, text: str, level: Level = "info") -> None:
        if level != "info":
            self._stream.note(text, level)


class PlainTuneUi(NullTuneUi):
    """Plain lines for log files and pipes: one per trial that is over, and one per interval in between.

    Args:
        stream: where the lines go.
        interval_seconds: > 0, at most one line about running trials in this time.
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
        self._search: TuneStart | None = None
        self._over: dict[int, TrialState] = {}
        self._begun = self._next_line = clock()

    def start(self, search: TuneStart) -> None:
        self._search = search
        self._over = {state.place: state for state in search.kept}
        self._begun = self._clock()
        self._next_line = self._begun + self._interval
        kept = f", {len(self._over)} of them kept from before" if self._over else ""
        how = f"sampler {search.sampler}" + (f", pruner {search.pruner}" if search.pruner != "none" else "")
        self._stream.line(f"{search.trials} trials{kept}: {search.objective}; {how}")

    def trial(self, state: TrialState) -> None:
        search = self._search
        if search is None:
            return
        if state.status != "running":
            if state.place not in self._over:
                self._over[state.place] = state
                best = ranked(self._over.values())[:1]
                mark = " (best so far)" if best == [state] else ""
                self._stream.line(f"[{len(self._over)}/{search.trials}] {ended_text(state, search.metric)}{mark}")
            return
        now = self._clock()
        if now >= self._next_line and self._show_progress:
            self._next_line = now + self._interval
            steps = f"{state.step:,}" if state.total_steps is None else f"{state.step:,}/{state.total_steps:,}"
            value = metric_text(search.metric, state.value)
            self._stream.line(f"{clock_text(now - self._begun)}: trial {state.place} step {steps} {value}")

    def note(self, text: str, level: Level = "info") -> None:
        self._stream.note(text, level)

    def finish(self, summary: SummaryLines) -> None:
        for line in summary(_WIDTH):
            self._stream.line(line)

    def download(self, name: str, done: int, total: int | None) -> None:
        if total is not None and done >= total:
            self._stream.line(f"downloaded {name} ({bytes_text(done)})")

    def preparation(self, name: str, done: int, total: int) -> None:
        if done >= total:
            self._stream.line(f"{name}: {done:,} files")


def ranked(states: Iterable[TrialState]) -> list[TrialState]:
    """Return the trials that have a score, the best one first."""
    return [state for _, _, state in sorted((s.key, s.place, s) for s in states if s.key is not None)]


def ended_text(state: TrialState, metric: str) -> str:
    """`trial 7 done: 120 steps, accuracy 95.56 %; lr 0.02, momentum 0.4 (3.1 s)`."""
    value = "" if state.value is None else f"{metric} {metric_text(metric, state.value)}"
    score = "" if value.endswith(f" {state.score}") else state.score
    facts = ", ".join(part for part in (score, value) if part)
    what = f"{state.status} at step {state.step:,}" if state.status == "pruned" else state.status
    if state.status == "failed":
        facts = state.reason or "no reason given"
    return f"trial {state.place} {what}: {facts}; {state.values} ({state.seconds:.1f} s)"
