"""`train` and `dry_run` of the library."""

from __future__ import annotations

import os
from collections.abc import Sequence

from momentum_cli.api.callbacks import Callback, run_display
from momentum_cli.api.paths import optional_path
from momentum_cli.api.recipes import Overrides, RecipeLike, read_recipe, run_name
from momentum_cli.api.results import DryRunResult, TrainResult
from momentum_cli.errors import RecipeError
from momentum_cli.messages import Said, refuse
from momentum_cli.progress import Ui
from momentum_cli.runs.output import require_out
from momentum_cli.training import train as engine
from momentum_cli.training.find import find_run


def train(
    recipe: RecipeLike | None = None,
    overrides: Overrides = (),
    *,
    data_dir: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    resume: bool = False,
    devices: int | str = "auto",
    nodes: int = 1,
    accelerator: str = "auto",
    progress: bool = False,
    callbacks: Sequence[Callback] = (),
    ui: Ui | None = None,
) -> TrainResult:
    """Train the model of a recipe and leave a run folder, as ``momentumrnn train``.

    Args:
        recipe: A recipe file, the name of a shipped recipe, a mapping or a `Recipe`. With ``resume`` a run folder, the
            name of a recipe for its newest run, or None for the newest run of all.
        overrides: Changes: ``["model.cell=adam"]``, or ``{"model.cell": "adam"}``.
        data_dir: Folder of the data sets; None: ``momentumrnn`` in the user's cache folder.
        out: The run folder itself, new or empty; None: ``runs/RECIPE-CELL-NNN``.
        overwrite: Replace the run in ``out``.
        resume: Continue a run from its last checkpoint; changes such as ``{"train.epochs": 5}`` extend it.
        devices: Number of devices or processes, or ``"auto"``.
        nodes: Number of machines.
        accelerator: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        progress: Show the display of the command.
        callbacks: Called while it works.
        ui: A whole display in place of ``progress`` and ``callbacks``.

    Returns:
        The result; a target that was missed is in it, and is no error.

    Raises:
        MomentumError: An error that the user can act on; see `momentum_cli.errors`.
        Interrupted: SIGINT or SIGTERM arrived; the checkpoint is written, and ``resume=True`` continues.
    """
    if resume and (out is not None or overwrite):
        must = "be left out with resume, which continues in the folder of the run"
        raise RecipeError(refuse("out, overwrite", Said(str(out or overwrite)), must))
    require_out(overwrite, out)
    if resume:
        run = find_run(None if recipe is None else run_name(recipe))
        checked, source = read_recipe(run / "recipe.yaml", overrides)
    elif recipe is None:
        raise RecipeError(refuse("recipe", Said("none"), "be a recipe file or name", "momentumrnn recipes list"))
    else:
        run, (checked, source) = None, read_recipe(recipe, overrides)
    with ui or run_display(progress, callbacks) as shown:
        result = engine.train(
            checked,
            data_dir=optional_path(data_dir),
            out=optional_path(out),
            overwrite=overwrite,
            resume=run,
            devices=devices,
            nodes=nodes,
            accelerator=accelerator,
            source=None if run else source,
            ui=shown,
        )
    return TrainResult(result)


def dry_run(
    recipe: RecipeLike,
    overrides: Overrides = (),
    *,
    data_dir: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    accelerator: str = "auto",
    progress: bool = False,
    callbacks: Sequence[Callback] = (),
    ui: Ui | None = None,
) -> DryRunResult:
    """Try everything that a training does once and leave nothing behind, as ``momentumrnn train --dry-run``.

    Args:
        recipe, overrides, data_dir, accelerator, progress, callbacks, ui: As for `train`.
        out, overwrite: As for `train`: a folder that would be refused is, and nothing is made in it.

    Raises:
        MomentumError: The error that the training would meet.
    """
    require_out(overwrite, out)
    checked, _ = read_recipe(recipe, overrides)
    with ui or run_display(progress, callbacks) as shown:
        result = engine.dry_run(
            checked,
            data_dir=optional_path(data_dir),
            out=optional_path(out),
            overwrite=overwrite,
            accelerator=accelerator,
            ui=shown,
        )
    return DryRunResult(result)
