"""Facts of a run for files and displays: its steps, its evaluations, its result."""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

from momentum_cli.errors import DataError
from momentum_cli.messages import refuse
from momentum_cli.progress import Evaluation, StepInfo
from momentum_cli.reading import parse_json, read_text
from momentum_cli.runs.metrics_log import MetricsLog
from momentum_cli.training.card import Card
from momentum_cli.training.launch import device_name, memory_bytes
from momentum_cli.training.position import Progress
from momentum_cli.training.readings import StepResult
from momentum_cli.training.trained import describe
from momentum_cli.training.trainer import Trainer

RUN_FILES = {
    "recipe.yaml": "everything that determines the training; `momentumrnn train recipe.yaml` repeats it",
    "checkpoints/": "the last and the best state, as safetensors",
    "result.json": "results, times, environment",
    "metrics.csv": "a row per logged step and per evaluation; `curves.png` draws them",
}
"""Files of a run, as its README.md describes them."""


def step_info(trainer: Trainer, result: StepResult) -> StepInfo:
    """Return the facts of the step that was just made."""
    progress = trainer.progress
    at_end = progress.step_in_epoch == 0
    return StepInfo(
        step=progress.step,
        epoch=progress.epoch if at_end else progress.epoch + 1,
        step_in_epoch=trainer.steps_per_epoch if at_end else progress.step_in_epoch,
        loss=result.loss,
        grad_norm=result.grad_norm,
        lr=result.lr,
        samples=progress.samples,
        train_seconds=progress.train_seconds,
        memory_bytes=memory_bytes(trainer.device) if trainer.device.type == "cuda" else None,
    )


def card_of(trainer: Trainer, result: dict[str, Any]) -> str:
    """Return the README.md of a finished run.

    Args:
        trainer: The trainer at the end of the run.
        result: The content of ``result.json``.
    """
    data = trainer.dataset
    splits = {"training": data.train, "validation": data.validation, "test": data.test}
    return Card(
        trainer.recipe,
        describe(data),
        {name: len(split) for name, split in splits.items() if split is not None},
        trainer.parameter_count,
        trainer.progress.best,
        result,
        RUN_FILES,
    ).text()


def log_step(log: MetricsLog, trainer: Trainer, info: StepInfo) -> None:
    """Write the row of the step that was just made; only here the values of the optimizer's diagnostics are read."""
    progress = trainer.progress
    speed = progress.samples / progress.train_seconds if progress.train_seconds > 0 else None
    log.train(info, wall_seconds=progress.wall_seconds, samples_per_second=speed, diagnostics=trainer.diagnostics())


def evaluation_of(trainer: Trainer, metrics: dict[str, float], best: bool) -> Evaluation:
    """Return the facts of the evaluation that was just recorded."""
    progress = trainer.progress
    return Evaluation(
        step=progress.step,
        epoch=progress.epoch,
        samples=progress.samples,
        split=trainer.selection_split,
        metrics=metrics,
        train_seconds=progress.train_seconds,
        wall_seconds=progress.wall_seconds,
        best=best,
        target_reached=progress.reached,
    )


def unmeasured(progress: Progress) -> list[str]:
    """Return a warning if the metric that chooses the best checkpoint was not a number in any evaluation; else []."""
    best = progress.best
    if best is None or not math.isnan(best["value"]):
        return []
    return [
        f"{best['metric']} is not defined on the {best['split']} split in any evaluation, so the last checkpoint "
        "counts as the best one; name another metric first in metrics"
    ]


def outcome(
    trainer: Trainer, folder: Path, *, test: dict[str, float] | None, stop_reason: str | None
) -> dict[str, Any]:
    """Return the content of ``result.json`` of a run, except its environment.

    Args:
        trainer: The trainer at the end of the run.
        folder: The run folder.
        test: Metrics of the best parameters on the test set, or None.
        stop_reason: Reason why it ended.
    """
    recipe, progress = trainer.recipe, trainer.progress
    best = progress.best
    return {
        "run_dir": str(folder),
        "cell": recipe.model.cell,
        "task": trainer.dataset.name,
        "parameters": trainer.parameter_count,
        "seed": recipe.train.seed,
        "device": device_name(trainer.device),
        "backend": trainer.backend,
        "precision": trainer.precision,
        "processes": trainer.fabric.world_size,
        "threads": torch.get_num_threads(),
        "epochs": progress.epoch,
        "steps": progress.step,
        "samples": progress.samples,
        "train_seconds": progress.train_seconds,
        "wall_seconds": progress.wall_seconds,
        "samples_per_second": progress.samples / progress.train_seconds if progress.train_seconds else None,
        "ms_per_step": 1000 * progress.train_seconds / progress.step if progress.step else None,
        "validation": best["metrics"] if best is not None and trainer.selection_split != "test" else None,
        "test": test,
        "best": best and {key: best[key] for key in ("metric", "value", "step", "epoch", "split", "file")},
        "final": progress.last,
        "selected_on": trainer.selection_split,
        "target": progress.target,
        "stop_reason": stop_reason,
        "stopping_metric": progress.stopping_metric,
        "warnings": [*trainer.dataset.warnings, *unmeasured(progress)],
        "recipe": recipe.dump(),
    }


def read_result(path: Path, also: Collection[str] = (), remedy: str = "delete it to repeat that run") -> dict[str, Any]:
    """Return the content of a ``result.json`` that `outcome` made.

    Args:
        path: The file.
        also: Further keys that it must have.
        remedy: What to do if it is damaged.

    Raises:
        DataError: It cannot be read, or is damaged.
    """
    try:
        content: dict[str, Any] = parse_json(read_text(path))
        _check_keys(content, {*_OF_RESULT, *also}, "the result")
        for name, kinds in _COUNTS.items():
            if content[name] is not None and not isinstance(content[name], kinds):
                raise ValueError(refuse(name, content[name], "be a number"))
        if content["best"] is not None:
            _check_keys(content["best"], _OF_BEST, "best")
        if (target := content["target"]) is not None:
            _check_keys(target, _OF_TARGET, "target")
            if target["reached"]:
                _check_keys(target, _COUNTS.keys() - {"epochs", "parameters"}, "target")
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error}); {remedy}") from error
    return content


# Keys that tables of several runs are made of.
_COUNTS: dict[str, type | tuple[type, ...]] = {
    "parameters": int,
    "epochs": int,
    "steps": int,
    "samples": int,
    "train_seconds": (int, float),
    "wall_seconds": (int, float),
}
_OF_RESULT = {*_COUNTS, "validation", "test", "best", "target", "selected_on", "stop_reason"}
_OF_BEST = {"metric", "value", "step", "epoch"}
_OF_TARGET = {"metric", "value", "reached"}


def _check_keys(content: Any, needed: Collection[str], what: str) -> None:
    if not isinstance(content, dict):
        raise ValueError(f"{what} is no object")
    missing = sorted(set(needed) - content.keys())
    if missing:
        raise ValueError(f"{what} has no {missing[0]!r}")
