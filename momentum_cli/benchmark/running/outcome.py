"""The outcome of a run of a benchmark, in words and in the keys of its result.json."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from momentum_cli.errors import MomentumError, RunError, out_of_memory
from momentum_cli.messages import counted
from momentum_cli.runs.files import write_json, write_text
from momentum_cli.training.record import read_result

if TYPE_CHECKING:
    from momentum_cli.benchmark.plan.plan import RunSpec

RESULT = "result.json"
_OF_RUN = ("id", "label", "comparison", "cell", "seed", "miss", "error", "recipe")


def stillborn(spec: RunSpec, folder: Path, error: BaseException) -> dict[str, Any]:
    """Write and return the result of a run that could not be set up."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "error.txt", "".join(traceback.format_exception(error)))
    result = result_of(spec, describe_failure(error))
    write_json(folder / RESULT, result)
    return result


def read_outcome(folder: Path) -> dict[str, Any]:
    """Return the result of a run that is over.

    Raises:
        DataError: It cannot be read, or is damaged.
    """
    return read_result(folder / RESULT, _OF_RUN)


def describe_failure(error: BaseException) -> str:
    """Return the error that ended a run in words: diverged, out of memory, or crashed."""
    lines = str(error).strip().splitlines()
    first = lines[0] if lines else ""
    if isinstance(error, RunError):
        return f"diverged: {first}" if "not finite" in first else first
    if isinstance(error, MomentumError):
        return first
    return out_of_memory(error) or f"crashed: {type(error).__name__}" + (f": {first}" if first else "")


def result_of(spec: RunSpec, error: str | None) -> dict[str, Any]:
    """Return the keys of every result, with the values known without training."""
    unknown = ("run_dir", "task", "parameters", "device", "backend", "threads", "memory_bytes", "samples_per_second")
    nothing = ("ms_per_step", "validation", "test", "best", "final", "selected_on", "target", "stopping_metric")
    goal = spec.recipe.goal
    return dict.fromkeys((*unknown, *nothing)) | {
        "baselines": [],
        "id": spec.id,
        "comparison": spec.comparison,
        "label": spec.label,
        "cell": spec.recipe.model.cell,
        "seed": spec.seed,
        "precision": spec.recipe.train.precision,
        "processes": 1,
        "epochs": 0,
        "steps": 0,
        "samples": 0,
        "train_seconds": 0.0,
        "wall_seconds": 0.0,
        "target": None if goal is None else {"metric": goal[0], "value": goal[1], "reached": False},
        "stop_reason": "error",
        "warnings": [],
        "error": error,
        "miss": error,
        "recipe": spec.recipe.dump(),
    }


def used_budget(result: Mapping[str, Any]) -> str:
    """Return the budget that a run used, such as `12 epochs`."""
    if result["stop_reason"] == "max_seconds":
        return f"{result['train_seconds']:.1f} training seconds"
    count = result["epochs"] if result["stop_reason"] == "epochs" else result["steps"]
    unit = "epoch" if result["stop_reason"] == "epochs" else "step"
    return counted(count, unit)
