"""`bench` of the library."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from momentum_cli.api.callbacks import Callback, bench_display
from momentum_cli.api.paths import optional_path
from momentum_cli.api.recipes import Overrides, RecipeLike, override_texts, recipe_files
from momentum_cli.api.results import BenchResult
from momentum_cli.benchmark import bench as engine
from momentum_cli.benchmark.plan.planning import DEFAULT_SEEDS
from momentum_cli.progress import BenchUi
from momentum_cli.recipe.recipe import Recipe
from momentum_cli.runs.output import require_out
from momentum_cli.temporary import temporary_folder


def bench(
    recipes: RecipeLike | Sequence[RecipeLike] = (),
    overrides: Overrides = (),
    *,
    cells: str | Sequence[str] = (),
    optimizers: str | Sequence[str] = (),
    lr_grid: str | None = None,
    grid: str | None = None,
    paper: str | None = None,
    hidden_size: int | None = None,
    seeds: str = DEFAULT_SEEDS,
    target: str | None = None,
    budget_epochs: int | None = None,
    budget_steps: int | None = None,
    budget_seconds: float | None = None,
    baseline: str | None = None,
    full: bool = False,
    tuned: int = 0,
    jobs: int = 1,
    cluster: str | None = None,
    clock: str | None = None,
    accelerator: str = "auto",
    data_dir: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    progress: bool = False,
    callbacks: Sequence[Callback] = (),
    ui: BenchUi | None = None,
) -> BenchResult:
    """Compare cells by the time they need to a target, as ``momentumrnn bench``.

    After an interruption, the same call continues where it stopped.

    Args:
        recipes: One recipe or several: files, names of shipped recipes, mappings or `Recipe` objects; none:
            digits-pixels.
        overrides: Changes for all recipes: ``["train.epochs=5"]``, or ``{"train.epochs": 5}``.
        cells: Cells to compare, ``"lstm,momentum"`` or ``["lstm", "momentum"]``; none: lstm, momentum and adam.
        optimizers: Optimizers to compare with each cell; none: the recipe's.
        lr_grid: Learning rates ``"1e-3,1e-2"``, each tried for each cell and optimizer.
        grid: Options of the cells and their values, ``"momentum=0,0.6; step_size=0.3,1"``.
        paper: A published table or figure in place of recipes, such as ``"table1"``.
        hidden_size: Hidden units of the cells of a figure; None: those of its recipes.
        seeds: ``"0-4"`` or ``"0,3,7"``.
        target: A number, ``"metric=number"``, ``"baseline"`` or ``"baseline:pooled"``; None: the recipe's.
        budget_epochs, budget_steps, budget_seconds: A budget in place of the recipe's.
        baseline: Cell that speed-ups are relative to; None: the first one.
        full: Train past the target, to the end of the budget.
        tuned: Trials per cell that first choose its options; 0: none.
        jobs: Processes; above 1 the clock is steps.
        cluster: Address of a Dask scheduler whose workers train the runs; the clock is steps.
        clock: ``"seconds"`` or ``"steps"``; None: seconds, with ``jobs`` above 1 or a cluster steps.
        accelerator: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        data_dir: Folder of the data sets; None: ``momentumrnn`` in the user's cache folder.
        out: The folder of the benchmark; None: ``runs/bench-RECIPE-NNN``.
        overwrite: Replace the benchmark in ``out``.
        progress: Show the display of the command.
        callbacks: Called while it works.
        ui: A whole display in place of ``progress`` and ``callbacks``.

    Raises:
        MomentumError: An error that the user can act on; RunError when every run was ended by an error.
        Interrupted: SIGINT or SIGTERM arrived; unfinished runs are saved.
    """
    require_out(overwrite, out)
    one = isinstance(recipes, str | os.PathLike | Mapping | Recipe)
    with ui or bench_display(progress, callbacks) as shown, temporary_folder() as folder:
        result = engine.bench(
            recipe_files([recipes] if one else recipes, folder),  # type: ignore[list-item, arg-type]
            cells=[cells] if isinstance(cells, str) else cells,
            optimizers=[optimizers] if isinstance(optimizers, str) else optimizers,
            lr_grid=lr_grid,
            grid=grid,
            paper=paper,
            hidden_size=hidden_size,
            seeds=seeds,
            target=target,
            budget_epochs=budget_epochs,
            budget_steps=budget_steps,
            budget_seconds=budget_seconds,
            baseline=baseline,
            full=full,
            tuned=tuned,
            jobs=jobs,
            cluster=cluster,
            clock=clock,
            accelerator=accelerator,
            data_dir=optional_path(data_dir),
            out=optional_path(out),
            overwrite=overwrite,
            overrides=override_texts(overrides),
            ui=shown,
        )
    return BenchResult(result)
