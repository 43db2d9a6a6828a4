"""Progress reports: the protocols of the displays, the events they receive, and displays that show nothing.

The engines below the command line know only this module; `momentum_cli.ui` has the displays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Protocol, Self

Level = Literal["info", "warning", "error"]


class DownloadProgress(Protocol):
    """The part of a display that is used while data is loaded."""

    def note(self, text: str, level: Level = "info") -> None:
        """Show a message to the user, at any time."""

    def download(self, name: str, done: int, total: int | None) -> None:
        """Show that `done` of `total` bytes of the file `name` have arrived; None if the total is unknown."""

    def preparation(self, name: str, done: int, total: int) -> None:
        """Show that `done` of `total` files are prepared; `name` names the result."""


class NoProgress:
    """A `DownloadProgress` that shows nothing."""

    def note(self, text: str, level: Level = "info") -> None:
        pass

    def download(self, name: str, done: int, total: int | None) -> None:
        pass

    def preparation(self, name: str, done: int, total: int) -> None:
        pass


NO_PROGRESS = NoProgress()


class Display(DownloadProgress, Protocol):
    """The part that every display has; a context manager that closes itself."""

    def close(self) -> None:
        """Restore the terminal; calling it twice does no harm."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class NullDisplay(NoProgress):
    """A `Display` that shows nothing."""

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class RunStart:
    """Facts known when training starts; `start_step` is above 0 when a run is resumed.

    Args:
        target: (metric, value), or None without a target.
        batch_size, batch_unit: of an optimizer step, and what it counts: sequences, streams of a text or tokens.
        max_seconds: budget of training seconds, or None; used only to estimate the remaining time.
        best, reached: `best` and `target` of result.json, for a resumed run that has them.
    """

    name: str
    run_dir: str
    cell: str
    backend: str
    device: str
    precision: str
    parameters: int
    task: str
    train_samples: int
    epochs: int | None
    total_steps: int | None
    steps_per_epoch: int
    start_step: int
    metric: str
    target: tuple[str, float] | None
    seed: int
    batch_size: int
    batch_unit: str = "sequences"
    max_seconds: float | None = None
    best: Mapping[str, Any] | None = None
    reached: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class StepInfo:
    """One optimizer step.

    Args:
        step: optimizer steps done since the start of the run, from 1.
        epoch: the epoch the step belongs to, from 1.
        step_in_epoch: steps done in this epoch, from 1.
        loss: training loss of this step; None if it was not read from the device.
        samples: training sequences seen since the start of the run.
        train_seconds: the scored clock (data, forward, backward, step; evaluation, logging and checkpoints excluded).
        memory_bytes: device memory in use; None lets the interface show the resident memory of the process.
    """

    step: int
    epoch: int
    step_in_epoch: int
    loss: float | None
    grad_norm: float | None
    lr: float
    samples: int
    train_seconds: float
    memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation of one split.

    Args:
        epoch: completed epochs.
        best: the best value of the headline metric so far.
        target_reached: the target has been reached at or before this evaluation.
    """

    step: int
    epoch: int
    samples: int
    split: str
    metrics: dict[str, float]
    train_seconds: float
    wall_seconds: float
    best: bool
    target_reached: bool


class Ui(Display, Protocol):
    """The display of a command that works with one model."""

    def start(self, run: RunStart) -> None:
        """Show that training starts."""

    def step(self, info: StepInfo) -> None:
        """Receive an optimizer step; called at every step, so it must be cheap."""

    def evaluation_progress(self, done: int, total: int, split: str) -> None:
        """Show that `done` of `total` sequences of `split` are evaluated."""

    def evaluated(self, evaluation: Evaluation) -> None:
        """Show a complete evaluation."""

    def finish(self, result: dict[str, Any]) -> None:
        """Show the result of a training; `result` is the content of result.json."""


class NullUi(NullDisplay):
    """A display that shows nothing, for library calls and all processes but the first."""

    def start(self, run: RunStart) -> None:
        pass

    def step(self, info: StepInfo) -> None:
        pass

    def evaluation_progress(self, done: int, total: int, split: str) -> None:
        pass

    def evaluated(self, evaluation: Evaluation) -> None:
        pass

    def finish(self, result: dict[str, Any]) -> None:
        pass


Status = Literal["waiting", "training", "reached", "finished", "missed", "failed"]
OVER = frozenset({"reached", "finished", "missed", "failed"})


@dataclass(frozen=True, slots=True)
class RunState:
    """State of one run of a benchmark.

    Args:
        id: name of the run, unique in the benchmark.
        label: label of its cell.
        status: "reached" or "missed" the target, "finished" without a target, "failed" with an error.
        total_steps: steps of the budget, or None if only time limits the run.
        value: latest value of the metric, or None before the first evaluation.
        best: best value so far.
        train_seconds: the scored clock.
        reason: reason of a miss.
        target_steps, target_seconds: steps and training seconds to the target; of the whole run without a target.
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


SummaryLines = Callable[[int], Iterable[str]]


class BenchUi(Display, Protocol):
    """The display of a benchmark."""

    def start(self, title: str, runs: Sequence[RunState], targets: dict[str, tuple[str, float] | None]) -> None:
        """Show that a benchmark, or a part of it such as tuning, starts; `targets` has one entry per comparison."""

    def update(self, state: RunState) -> None:
        """Receive the state of a run; called at most a few times per second."""

    def finish(self, summary: SummaryLines) -> None:
        """Show the result; `summary` returns its lines for a width in characters."""


class NullBenchUi(NullDisplay):
    """A `BenchUi` that shows nothing."""

    def start(self, title: str, runs: Sequence[RunState], targets: dict[str, tuple[str, float] | None]) -> None:
        pass

    def update(self, state: RunState) -> None:
        pass

    def finish(self, summary: SummaryLines) -> None:
        pass


TrialStatus = Literal["running", "done", "pruned", "failed"]


@dataclass(frozen=True, slots=True)
class TrialState:
    """State of one trial of a search.

    Args:
        place: its number, from 0.
        values: the drawn values in words.
        total_steps: planned steps, or None if only time limits the run.
        value: latest value of the compared metric, or None before the first evaluation.
        score: the objective in words, once the trial is over.
        key: sort key of trials, the best one first, once the trial is over.
        reason: reason of a failure.
        seconds: wall seconds of the trial.
        worker: name of the worker of a cluster that runs it, or "".
    """

    place: int
    values: str
    status: TrialStatus
    step: int = 0
    total_steps: int | None = None
    value: float | None = None
    score: str = ""
    key: tuple[float, float] | None = None
    reason: str | None = None
    seconds: float = 0.0
    worker: str = ""


@dataclass(frozen=True, slots=True)
class TuneStart:
    """Facts known when a search starts.

    Args:
        objective: goal of the search, in words.
        metric: the metric of `TrialState.value`.
        kept: trials that were over before.
        time_limit: seconds after which no trial begins, or None.
    """

    name: str
    folder: str
    trials: int
    objective: str
    metric: str
    sampler: str
    pruner: str
    kept: Sequence[TrialState]
    time_limit: float | None = None


class TuneUi(Display, Protocol):
    """The display of a search."""

    def start(self, search: TuneStart) -> None:
        """Show that a search starts."""

    def trial(self, state: TrialState) -> None:
        """Receive the state of a trial, of this worker or of another; called at most a few times per second."""

    def finish(self, summary: SummaryLines) -> None:
        """Show the result; `summary` returns its lines for a width in characters."""


class NullTuneUi(NullDisplay):
    """A `TuneUi` that shows nothing."""

    def start(self, search: TuneStart) -> None:
        pass

    def trial(self, state: TrialState) -> None:
        pass

    def finish(self, summary: SummaryLines) -> None:
        pass
