"""Changes that a resumed run cannot accept, and their refusals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from momentum_cli.errors import DataError, RecipeError
from momentum_cli.messages import refuse
from momentum_cli.recipe.recipe import Recipe, load_recipe
from momentum_cli.recipe.sections import PLANNED_SCHEDULES
from momentum_cli.training.schedule import scheduled

if TYPE_CHECKING:
    from momentum_cli.training.position import Progress
    from momentum_cli.training.trainer import Trainer


def check_resumed(recipe: Recipe, folder: Path) -> None:
    """Refuse a task or model other than that of the run, before anything is loaded or written.

    Raises:
        DataError: The folder is not a run folder.
        RecipeError: The task or the model differs.
    """
    if not (folder / "recipe.yaml").is_file():
        raise DataError(f"--resume {folder}: not a run folder (it has no recipe.yaml)")
    before, now = (each.dump() for each in (load_recipe(str(folder / "recipe.yaml")), recipe))
    fixed = {"task.name": (before["task"]["name"], now["task"]["name"])}
    fixed |= {
        f"model.{key}": (before["model"].get(key), value)
        for key, value in now["model"].items()
        if key not in ("backend", "dropout")
    }
    for key, (old, new) in fixed.items():
        if old != new:
            raise RecipeError(
                f"--resume {folder}: {key} of this run is {old!r}, got {new!r}; a resumed run keeps its data and "
                "model, so start a new run"
            )


def schedule_change(before: Recipe, trainer: Trainer) -> str | None:
    """Return a message if a longer plan raises the learning rate, else None.

    Args:
        before: The recipe of the run so far.
        trainer: The trainer at the position of the checkpoint, with the recipe of the continued run.
    """
    name, step, lr = trainer.recipe.schedule.name, trainer.progress.step, trainer.recipe.optimizer.lr
    if step == 0 or before.schedule != trainer.recipe.schedule or before.optimizer != trainer.recipe.optimizer:
        return None
    old, new = trainer.planned_steps(before.train), trainer.total_steps
    if name not in PLANNED_SCHEDULES or old is None or new is None:
        return None
    options = trainer.recipe.schedule
    last, following = lr * scheduled(options, step - 1, old, lr), lr * scheduled(options, step, new, lr)
    if following <= last:
        return None
    return (
        f"the {name} schedule now has {new} steps instead of {old}: the learning rate rises from {last:.3g} at step "
        f"{step} to {following:.3g}; schedule.name=constant optimizer.lr={last:.3g} would keep it"
    )


def check_continues(
    data: dict[str, Any],
    recipe: Recipe,
    progress: Progress,
    processes: int,
    group_size: int,
    batch_unit: str,
    sequences: int,
) -> None:
    """Refuse a recipe or a number of processes with which a run cannot continue from a checkpoint.

    Args:
        data: JSON of the checkpoint.
        recipe: Recipe of the continued run.
        progress: Position of the checkpoint.
        processes: Number of processes of the continued run.
        group_size: Size of the batch of an optimizer step, over all processes.
        batch_unit: What it counts, see `momentum_cli.data.Sequences`.
        sequences: Training sequences of the continued run.

    Raises:
        RecipeError: A value was changed that cannot change at this point.
    """
    options = recipe.train
    for name, planned, done in (
        ("epochs", options.epochs, progress.epoch),
        ("max_steps", options.max_steps, progress.step),
    ):
        if planned is not None and planned < done:
            raise RecipeError(refuse(f"train.{name}", planned, f"be at least {done}, which the run has made already"))
    if data["processes"] != processes:
        raise RecipeError(
            f"the run was trained by {data['processes']} processes and is resumed by {processes}; "
            f"set --devices and --nodes for {data['processes']} processes"
        )
    if progress.step_in_epoch > 0:
        _check_order(data, recipe, sequences)
    if data["group_size"] != group_size and progress.step_in_epoch > 0:
        raise RecipeError(
            f"the run stopped in the middle of an epoch with {data['group_size']} {batch_unit} per step and is resumed "
            f"with {group_size}; keep train.batch_size and train.accumulate"
        )
    own, saved_options = options.bptt, data["recipe"]["train"].get("bptt")
    if progress.step_in_epoch > 0 and own is not None and saved_options is not None:
        windows = {"length": own.length, "variable": own.variable}
        if windows != {key: saved_options[key] for key in windows}:
            raise RecipeError(
                "the run stopped in the middle of an epoch with other windows; give the same train.bptt.length and "
                f"train.bptt.variable, got {own.length} and {str(own.variable).lower()}"
            )


def _check_order(data: dict[str, Any], recipe: Recipe, sequences: int) -> None:
    """Refuse, within an epoch, data that would be drawn in another order: some sequences twice, others not at all."""
    # Checkpoints of earlier versions do not have the number.
    if data.get("sequences", sequences) != sequences:
        raise RecipeError(
            f"the run stopped in the middle of an epoch of {data['sequences']:,} training sequences, and there are now "
            f"{sequences:,}; give it the same data, or start a new run"
        )
    before, now = (task.get("streamed") for task in (data["recipe"]["task"], recipe.dump()["task"]))
    if before != now:
        raise RecipeError(
            f"the run stopped in the middle of an epoch with task.streamed={before} and is resumed with {now}; keep it"
        )
