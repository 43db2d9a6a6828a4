"""`momentumrnn train`: one run from its recipe to its result, in a run folder that can be resumed at any moment."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from momentum_cli.data import Dataset
from momentum_cli.errors import RecipeError
from momentum_cli.messages import Said, refuse
from momentum_cli.progress import NullUi, Ui
from momentum_cli.recipe.building import load_data
from momentum_cli.recipe.recipe import Recipe, load_recipe
from momentum_cli.runs.checkpoint import SUFFIX, load_checkpoint, save_checkpoint
from momentum_cli.runs.folder import check_new_run_folder, new_run_folder
from momentum_cli.runs.lock import locked, outside_benchmark
from momentum_cli.temporary import temporary_folder
from momentum_cli.training.launch import (
    determinism,
    device_name,
    first_then_all,
    is_restarted,
    launch,
    may_restart,
    memory_bytes,
    on_first,
    require_shared,
    signals,
    together,
)
from momentum_cli.training.resuming import check_resumed, schedule_change
from momentum_cli.training.run import Run
from momentum_cli.training.session import record_start
from momentum_cli.training.snapshot import restore, snapshot
from momentum_cli.training.trainer import Trainer


def train(
    recipe: Recipe,
    *,
    data_dir: Path | None = None,
    out: Path | None = None,
    overwrite: bool = False,
    resume: Path | None = None,
    devices: int | str = "auto",
    nodes: int = 1,
    accelerator: str = "auto",
    source: Path | None = None,
    ui: Ui | None = None,
) -> dict[str, Any]:
    """Train a recipe and leave a run folder.

    Args:
        recipe: The recipe; for a resumed run its own recipe with overrides applied.
        data_dir: Folder of the data sets, or None for the default.
        out: The run folder itself, or None for a numbered one in ``runs``.
        overwrite: Replace the run in ``out``.
        resume: Run folder to continue; ``out`` is then not used.
        devices: Number of devices per node, or ``"auto"``.
        nodes: Number of nodes.
        accelerator: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        source: Recipe file to copy into the folder.
        ui: Where progress is shown; None shows nothing.

    Returns:
        The content of ``result.json``.

    Raises:
        MomentumError: An error that the user can act on; see `momentum_cli.errors`.
        Interrupted: SIGINT or SIGTERM arrived; the checkpoint is written.
    """
    _require_own_target(recipe)
    if may_restart() and out is None and resume is None:
        raise RecipeError(
            "torchrun --max-restarts: give the run folder with --out DIR, in which a training that is started again "
            "continues"
        )
    fabric = launch(recipe, devices, nodes, accelerator)
    if resume is None and out is not None and is_restarted(fabric):
        # Perhaps only the first process is on the machine with the folder.
        resume = out if on_first(fabric, (out / "recipe.yaml").is_file) else None
    shown: Ui = ui if ui is not None and fabric.global_rank == 0 else NullUi()
    with together(fabric), determinism(recipe.train.deterministic), ExitStack() as held:

        def refuse_early() -> None:
            if resume is not None:
                check_resumed(recipe, resume)
            elif out is not None:
                check_new_run_folder(out, overwrite=overwrite)
            if (named := resume or out) is not None:
                held.enter_context(outside_benchmark(named))
            if resume is not None:
                held.enter_context(locked(resume, "training"))

        def open_new() -> Path:
            stem = f"{source.stem if source else recipe.task.name}-{recipe.model.cell}"
            folder = new_run_folder(out, stem=stem, overwrite=overwrite, held=held)
            _record_source(recipe, folder, source)
            return folder

        # Before the data, which may take long to load.
        on_first(fabric, refuse_early)
        dataset = first_then_all(fabric, lambda: load_data(recipe, data_dir, shown))
        for text in dataset.warnings:
            shown.note(text, "warning")
        trainer = Trainer(recipe, dataset, fabric)
        folder = resume or on_first(fabric, open_new)
        require_shared(fabric, folder)
        # Before this a signal ends the program at once, as there is nothing to save.
        received = held.enter_context(signals())
        run = Run(trainer, folder, shown, received, resumed=resume is not None)
        if resume is not None:  # only now, because a refused resume must leave the run unchanged
            change = on_first(fabric, lambda: schedule_change(load_recipe(folder / "recipe.yaml"), trainer))
            if change is not None:
                shown.note(change, "warning")
            on_first(fabric, lambda: record_start(recipe, folder))
        return run.execute()


def dry_run(
    recipe: Recipe,
    *,
    data_dir: Path | None = None,
    out: Path | None = None,
    overwrite: bool = False,
    accelerator: str = "auto",
    ui: Ui | None = None,
) -> dict[str, Any]:
    """Try everything that a training does once, and leave nothing behind.

    Validates the recipe, opens the data, makes training steps, evaluates a part of the data, writes a checkpoint and
    reads it back.

    Args:
        recipe: The recipe.
        data_dir: Folder of the data sets, or None for the default.
        out, overwrite: As for `train`: a folder that would be refused is, and nothing is made in it.
        accelerator: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        ui: Where progress is shown; None shows nothing.

    Returns:
        ``steps`` planned (or None), ``ms_per_step``, ``estimated_seconds`` of training (or None), ``memory_bytes``,
        ``parameters``, ``backend``, ``device``, ``train_samples``, ``warnings`` of the data.

    Raises:
        MomentumError: The error that the training would meet.
    """
    shown: Ui = ui or NullUi()
    _require_own_target(recipe)
    if out is not None:
        check_new_run_folder(out, overwrite=overwrite)
    fabric = launch(recipe, 1, 1, accelerator)
    dataset = load_data(recipe, data_dir, shown)
    for text in dataset.warnings:
        shown.note(text, "warning")
    trainer = Trainer(recipe, dataset, fabric)
    trainer.step()
    trainer.read()
    warm = trainer.progress.train_seconds
    trainer.step()
    trainer.read()
    seconds = trainer.progress.train_seconds - warm
    small = Trainer(recipe, _head(dataset, recipe.train.eval_batch_size), fabric)
    small.evaluate(small.selection_split)
    with temporary_folder() as folder:
        path = folder / f"last{SUFFIX}"
        save_checkpoint(path, snapshot(trainer))
        restore(trainer, load_checkpoint(path))
    total = trainer.total_steps
    return {
        "dry_run": True,
        "cell": recipe.model.cell,
        "task": dataset.name,
        "train_samples": len(dataset.train),
        "parameters": trainer.parameter_count,
        "device": device_name(trainer.device),
        "backend": trainer.module.chosen_backend,
        "steps": total,
        "ms_per_step": 1000 * seconds,
        "estimated_seconds": None if total is None else total * seconds,
        "memory_bytes": memory_bytes(trainer.device),
        "warnings": list(dataset.warnings),
    }


def _require_own_target(recipe: Recipe) -> None:
    """Refuse a target that only the other runs of a benchmark can set."""
    if recipe.target is not None and recipe.goal is None:
        remedy = f"momentumrnn bench trains {recipe.target.baseline} first; or give 'target=null'"
        raise RecipeError(refuse("target", Said(f"baseline: {recipe.target.baseline}"), "have a value", remedy))


def _record_source(recipe: Recipe, folder: Path, source: Path | None) -> None:
    """Copy the recipe file into the run folder, and write its environment."""
    if source is not None:
        with suppress(OSError):
            (folder / "source.yaml").write_bytes(source.read_bytes())
    record_start(recipe, folder)


def _head(dataset: Dataset, count: int) -> Dataset:
    """Return the data set with its evaluation splits cut to their first sequences."""
    from dataclasses import replace

    validation = None if dataset.validation is None else dataset.validation.head(count)
    return replace(dataset, validation=validation, test=dataset.test.head(count))
