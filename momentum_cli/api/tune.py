"""`tune` of the library."""

from __future__ import annotations

import os
from collections.abc import Sequence

from momentum_cli.api.callbacks import Callback, tune_display
from momentum_cli.api.paths import optional_path
from momentum_cli.api.recipes import Overrides, RecipeLike, override_texts, recipe_files
from momentum_cli.api.results import TuneResult
from momentum_cli.progress import TuneUi
from momentum_cli.runs.output import require_out
from momentum_cli.temporary import temporary_folder
from momentum_cli.tuning import tune as engine


def tune(
    recipe: RecipeLike | None = None,
    overrides: Overrides = (),
    *,
    space: Sequence[str] = (),
    trials: int | None = None,
    objective: str | None = None,
    sampler: str | None = None,
    pruner: str | None = None,
    join: str | os.PathLike[str] | None = None,
    cluster: str | None = None,
    time_limit: float | None = None,
    accelerator: str = "auto",
    data_dir: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    progress: bool = False,
    callbacks: Sequence[Callback] = (),
    ui: TuneUi | None = None,
) -> TuneResult:
    """Search for better values of a recipe's keys by many short trainings, as ``momentumrnn tune``.

    After an interruption, the same call continues where it stopped. It needs Optuna: ``pip install
    'momentumrnn[tune]'``.

    Args:
        recipe: A recipe file, the name of a shipped recipe, a mapping or a `Recipe`; None with ``join``: that of the
            study.
        overrides: Changes: ``["train.epochs=5"]``, or ``{"train.epochs": 5}``.
        space: ``KEY=AXIS`` texts, such as ``"optimizer.lr=log:1e-4..1e-1"``; none: the recipe's section ``tune``.
        trials: Number of trials; None: the recipe's.
        objective: ``"metric"``, ``"steps_to_target"`` or ``"seconds_to_target"``; None: the recipe's.
        sampler: ``"tpe"``, ``"gp"``, ``"qmc"``, ``"random"`` or ``"grid"``; None: the recipe's.
        pruner: What ends hopeless trials early, such as ``"median"``; None: the recipe's.
        join: Folder or URL of a study that several processes share.
        cluster: Address of a Dask scheduler whose workers run the trials.
        time_limit: Seconds after which no trial begins, > 0; None: no limit.
        accelerator: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        data_dir: Folder of the data sets; None: ``momentumrnn`` in the user's cache folder.
        out: The folder of the search; None: ``runs/tune-RECIPE-NNN``.
        overwrite: Replace the search in ``out``.
        progress: Show the display of the command.
        callbacks: Called while it works.
        ui: A whole display in place of ``progress`` and ``callbacks``.

    Raises:
        MomentumError: An error that the user can act on; RunError when every trial failed.
        Interrupted: SIGINT or SIGTERM arrived; the running trial is saved.
    """
    require_out(overwrite, out or join)
    with ui or tune_display(progress, callbacks) as shown, temporary_folder() as folder:
        result = engine.tune(
            None if recipe is None else recipe_files([recipe], folder)[0],
            space=space,
            trials=trials,
            objective=objective,
            sampler=sampler,
            pruner=pruner,
            join=None if join is None else os.fspath(join),
            cluster=cluster,
            time_limit=time_limit,
            accelerator=accelerator,
            data_dir=optional_path(data_dir),
            out=optional_path(out),
            overwrite=overwrite,
            overrides=override_texts(overrides),
            ui=shown,
        )
    return TuneResult(result)
