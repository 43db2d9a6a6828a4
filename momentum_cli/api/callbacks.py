"""Callbacks of a program while a command works, and the displays that call them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from momentum_cli import ui
from momentum_cli.progress import (
    BenchUi,
    Display,
    Evaluation,
    Level,
    NullBenchUi,
    NullTuneUi,
    NullUi,
    RunStart,
    RunState,
    StepInfo,
    SummaryLines,
    TrialState,
    TuneStart,
    TuneUi,
    Ui,
)


class Callback:
    """The methods that a command calls while it works; each does nothing until you override it.

    With several processes, only the first one calls them. An error in a callback ends the command with that error.
    """

    def on_start(self, run: RunStart) -> None:
        """Receive the facts of a training before its first step."""

    def on_step(self, info: StepInfo) -> None:
        """Receive an optimizer step of a training; called at every step, so it must be quick."""

    def on_evaluation(self, evaluation: Evaluation) -> None:
        """Receive a complete evaluation of a training."""

    def on_run(self, state: RunState) -> None:
        """Receive the state of a run of a benchmark; called a few times per second."""

    def on_trial(self, state: TrialState) -> None:
        """Receive the state of a trial of a search; called a few times per second."""

    def on_note(self, text: str, level: Level) -> None:
        """Receive a remark or a warning; ``level`` is "info", "warning" or "error"."""

    def on_finish(self, result: dict[str, Any]) -> None:
        """Receive the content of ``result.json`` when a training ends."""


_Shown = TypeVar("_Shown", bound=Display)


class _Calling(Generic[_Shown]):
    """The part that the displays share."""

    def __init__(self, shown: _Shown, callbacks: Sequence[Callback]) -> None:
        self._shown, self._callbacks = shown, callbacks

    def note(self, text: str, level: Level = "info") -> None:
        self._shown.note(text, level)
        for callback in self._callbacks:
            callback.on_note(text, level)

    def download(self, name: str, done: int, total: int | None) -> None:
        self._shown.download(name, done, total)

    def preparation(self, name: str, done: int, total: int) -> None:
        self._shown.preparation(name, done, total)

    def close(self) -> None:
        self._shown.close()


class CallingUi(_Calling[Ui], NullUi):
    """A display that calls callbacks, and shows everything on another display too.

    Args:
        shown: The other display.
        callbacks: Called after the other display, in order.
    """

    def start(self, run: RunStart) -> None:
        self._shown.start(run)
        for callback in self._callbacks:
            callback.on_start(run)

    def step(self, info: StepInfo) -> None:
        self._shown.step(info)
        for callback in self._callbacks:
            callback.on_step(info)

    def evaluation_progress(self, done: int, total: int, split: str) -> None:
        self._shown.evaluation_progress(done, total, split)

    def evaluated(self, evaluation: Evaluation) -> None:
        self._shown.evaluated(evaluation)
        for callback in self._callbacks:
            callback.on_evaluation(evaluation)

    def finish(self, result: dict[str, Any]) -> None:
        self._shown.finish(result)
        for callback in self._callbacks:
            callback.on_finish(result)


class CallingBenchUi(_Calling[BenchUi], NullBenchUi):
    """The same for a benchmark; see `CallingUi`."""

    def start(self, title: str, runs: Sequence[RunState], targets: dict[str, tuple[str, float] | None]) -> None:
        self._shown.start(title, runs, targets)

    def update(self, state: RunState) -> None:
        self._shown.update(state)
        for callback in self._callbacks:
            callback.on_run(state)

    def finish(self, summary: SummaryLines) -> None:
        self._shown.finish(summary)


class CallingTuneUi(_Calling[TuneUi], NullTuneUi):
    """The same for a search; see `CallingUi`."""

    def start(self, search: TuneStart) -> None:
        self._shown.start(search)

    def trial(self, state: TrialState) -> None:
        self._shown.trial(state)
        for callback in self._callbacks:
            callback.on_trial(state)

    def finish(self, summary: SummaryLines) -> None:
        self._shown.finish(summary)


class _WarningUi:
    """The part of a display that turns warnings into Python's own, for programs that show nothing else."""

    def note(self, text: str, level: Level = "info") -> None:
        if level != "info":
            warnings.warn(text, RuntimeWarning, stacklevel=2)


class WarningUi(_WarningUi, NullUi):
    """A display that shows nothing but warnings."""


class WarningBenchUi(_WarningUi, NullBenchUi):
    """The same for a benchmark."""


class WarningTuneUi(_WarningUi, NullTuneUi):
    """The same for a search."""


def run_display(progress: bool, callbacks: Sequence[Callback]) -> Ui:
    """Return the display of a command that works with one model: that of the command line, or none.

    Without it warnings are those of Python.
    """
    shown: Ui = ui.make_ui() if progress else WarningUi()
    return CallingUi(shown, callbacks) if callbacks else shown


def bench_display(progress: bool, callbacks: Sequence[Callback]) -> BenchUi:
    """Return the display of a benchmark: that of the command line, or none.

    Without it warnings are those of Python.
    """
    shown: BenchUi = ui.make_bench_ui() if progress else WarningBenchUi()
    return CallingBenchUi(shown, callbacks) if callbacks else shown


def tune_display(progress: bool, callbacks: Sequence[Callback]) -> TuneUi:
    """Return the display of a search: that of the command line, or none.

    Without it warnings are those of Python.
    """
    shown: TuneUi = ui.make_tune_ui() if progress else WarningTuneUi()
    return CallingTuneUi(shown, callbacks) if callbacks else shown
