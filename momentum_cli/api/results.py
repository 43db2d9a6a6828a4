"""Results of the commands as typed objects.

Each holds what the command writes with ``--json``: `Result.to_dict` returns it, and properties give the parts that
programs use most, with their types. A result of a training or an export is also a path, so the functions that take a
run or a file take it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np


class Result:
    """The content of a result.

    Args:
        content: What the command writes with ``--json``.
    """

    _shown: ClassVar[tuple[str, ...]] = ()

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._content = content

    def to_dict(self) -> dict[str, Any]:
        """Return a copy of everything, JSON-able."""
        return copy.deepcopy(dict(self._content))

    def __repr__(self) -> str:
        """Show the class and the most important parts."""
        parts = (f"{name}={getattr(self, name)!r}" for name in self._shown)
        return f"{type(self).__name__}({', '.join(parts)})"


@dataclass(frozen=True)
class Best:
    """The evaluation that chose the parameters of a run.

    Args:
        metric: Its name.
        value: Its value.
        step, epoch: Its place in the training, in optimizer steps and completed epochs.
        split: ``"validation"``, or ``"test"`` of a task without validation.
    """

    metric: str
    value: float
    step: int
    epoch: int
    split: str


@dataclass(frozen=True)
class Target:
    """The target of a run and when it was reached.

    Args:
        metric, value: What had to be reached.
        reached: Whether it was.
        steps, train_seconds: Its place in the training, in optimizer steps and on the scored clock; None for a miss.
    """

    metric: str
    value: float
    reached: bool
    steps: int | None
    train_seconds: float | None


class TrainResult(Result):
    """The result of a training, and the path of its run folder."""

    _shown = ("run_dir", "cell", "steps", "best", "test")

    def __fspath__(self) -> str:
        """Return the run folder."""
        return str(self.run_dir)

    @property
    def run_dir(self) -> Path:
        """The run folder."""
        return Path(self._content["run_dir"])

    @property
    def cell(self) -> str:
        """Name of the cell."""
        return str(self._content["cell"])

    @property
    def task(self) -> str:
        """Name of the data set."""
        return str(self._content["task"])

    @property
    def parameters(self) -> int:
        """Trainable parameters."""
        return int(self._content["parameters"])

    @property
    def steps(self) -> int:
        """Optimizer steps."""
        return int(self._content["steps"])

    @property
    def epochs(self) -> int:
        """Completed epochs."""
        return int(self._content["epochs"])

    @property
    def train_seconds(self) -> float:
        """The scored clock: seconds of data, forward, backward and step, without evaluations and checkpoints."""
        return float(self._content["train_seconds"])

    @property
    def best(self) -> Best | None:
        """The evaluation that chose the parameters; None if there was none."""
        best = self._content["best"]
        return best and Best(**{name: best[name] for name in Best.__dataclass_fields__})

    @property
    def validation(self) -> dict[str, float] | None:
        """Metrics of the chosen parameters on the validation set; None without one."""
        found = self._content["validation"]
        return found and dict(found)

    @property
    def test(self) -> dict[str, float] | None:
        """Metrics of the chosen parameters on the test set."""
        found = self._content["test"]
        return found and dict(found)

    @property
    def target(self) -> Target | None:
        """The target and when it was reached; None without one."""
        found = self._content["target"]
        return found and Target(**{name: found.get(name) for name in Target.__dataclass_fields__})

    @property
    def stop_reason(self) -> str:
        """Name of the budget or the rule that ended the run."""
        return str(self._content["stop_reason"])


class DryRunResult(Result):
    """The time and memory that a training needs, measured by a dry run."""

    _shown = ("steps", "estimated_seconds", "memory_bytes")

    @property
    def steps(self) -> int | None:
        """Planned optimizer steps; None if only time limits the run."""
        steps: int | None = self._content["steps"]
        return steps

    @property
    def estimated_seconds(self) -> float | None:
        """Estimated training seconds; None if only time limits the run."""
        seconds: float | None = self._content["estimated_seconds"]
        return seconds

    @property
    def memory_bytes(self) -> int | None:
        """Peak memory, None if the system does not report it."""
        count: int | None = self._content["memory_bytes"]
        return count

    @property
    def parameters(self) -> int:
        """Trainable parameters."""
        return int(self._content["parameters"])


class EvaluateResult(Result):
    """Metrics of a trained model on a split."""

    _shown = ("split", "samples", "metrics")

    @property
    def split(self) -> str:
        """The split."""
        return str(self._content["split"])

    @property
    def samples(self) -> int:
        """Sequences of the split."""
        return int(self._content["samples"])

    @property
    def metrics(self) -> dict[str, float]:
        """Each metric by its name."""
        return dict(self._content["metrics"])

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """The range in which each metric lies in 95 % of bootstrap resamples."""
        return {name: (low, high) for name, (low, high) in self._content["intervals"].items()}

    @property
    def confusion(self) -> np.ndarray | None:
        """(classes, classes) int64 counts, rows are true classes; None without classes."""
        found = self._content["confusion"]
        return None if found is None else np.array(found, np.int64)

    @property
    def labels(self) -> list[str] | None:
        """Names of the classes; None without classes."""
        found = self._content["labels"]
        return found and list(found)


@dataclass(frozen=True)
class Arm:
    """One cell of one comparison of a benchmark.

    Args:
        comparison: Name of the recipe.
        label: Name of the cell or of its variant.
        runs: Number of seeds.
        hits: Runs that reached the target; 0 in a benchmark without one.
        steps: Median optimizer steps to the target; infinite if half of the runs missed it.
        train_seconds: The same in training seconds.
        best: Mean over seeds of the best value of the compared metric; None without any.
        speed_up: How much faster than the baseline on the scored clock, from medians; NaN without a target, and if
            both missed it.
    """

    comparison: str
    label: str
    runs: int
    hits: int
    steps: float
    train_seconds: float
    best: float | None
    speed_up: float


class FolderResult(Result):
    """A result that is the path of its folder, too."""

    def __fspath__(self) -> str:
        """Return the folder."""
        return str(self.folder)

    @property
    def folder(self) -> Path:
        """The folder."""
        return Path(self._content["folder"])


class BenchResult(FolderResult):
    """The result of a benchmark, and the path of its folder."""

    _shown = ("folder", "scored", "baseline", "arms")

    @property
    def scored(self) -> str:
        """The clock of speed-ups, ``"train_seconds"`` or ``"steps"``."""
        return str(self._content["scored"])

    @property
    def baseline(self) -> str:
        """Label of the arm that speed-ups are relative to."""
        return str(self._content["baseline"])

    @property
    def arms(self) -> list[Arm]:
        """The cells of all comparisons, in their order."""
        return [
            Arm(
                comparison["name"],
                cell["label"],
                cell["runs"],
                cell["hits"],
                float(cell["steps"]["median"]),
                float(cell["train_seconds"]["median"]),
                cell["best"] and cell["best"]["mean"],
                float(cell.get("speed_up", "nan")),
            )
            for comparison in self._content["comparisons"]
            for cell in comparison["cells"]
        ]


class TuneResult(FolderResult):
    """The result of a search, and the path of its folder."""

    _shown = ("folder", "counts", "best_values")

    @property
    def recipe(self) -> Path | None:
        """The recipe with the best values, which `train` takes; None if no trial came to its end."""
        return None if self._content["best"] is None else self.folder / "best.yaml"

    @property
    def best_values(self) -> dict[str, Any] | None:
        """The values of the best trial by their keys; None if no trial came to its end."""
        best = self._content["best"]
        return best and dict(best["values"])

    @property
    def counts(self) -> dict[str, int]:
        """Trials that are ``"done"``, ``"pruned"`` and ``"failed"``."""
        return dict(self._content["counts"])

    @property
    def trials(self) -> list[dict[str, Any]]:
        """One row per trial, in the order in which they began: number, status, values, steps, metric."""
        return copy.deepcopy(self._content["trials"])


class ExportResult(Result):
    """An exported file and its check, and the path of the file."""

    _shown = ("file", "format", "max_abs")

    def __fspath__(self) -> str:
        """Return the file."""
        return str(self.file)

    @property
    def file(self) -> Path:
        """The file."""
        return Path(self._content["file"])

    @property
    def format(self) -> str:
        """Its format."""
        return str(self._content["format"])

    @property
    def max_abs(self) -> float:
        """Largest absolute difference between outputs of the file and of the checkpoint."""
        return float(self._content["parity"]["max_abs"])


class PredictResult(Result):
    """Predictions for the samples of some files."""

    _shown = ("predicted", "out")

    def __init__(self, content: Mapping[str, Any], outputs: list[np.ndarray]) -> None:
        super().__init__(content)
        self.outputs = outputs
        """Raw outputs of the model, (O,) or (T, O) for each sample, in original units; [] with ``out``."""

    @property
    def predicted(self) -> int:
        """Number of samples."""
        return int(self._content["predicted"])

    @property
    def predictions(self) -> list[dict[str, Any]]:
        """One record per sample, as a line of jsonl: its source and row, and label, values or labels; [] with out."""
        return copy.deepcopy(self._content["predictions"])

    @property
    def out(self) -> Path | None:
        """The file that was written; None without one."""
        out = self._content["out"]
        return None if out is None else Path(out)
