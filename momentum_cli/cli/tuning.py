"""`momentumrnn tune`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from momentum_cli.cli.arguments import Accelerator, AcceleratorOption, DataDir, Json, NoProgress, Quiet, is_override
from momentum_cli.cli.completion import complete_recipe
from momentum_cli.ui import terminal


class Objective(StrEnum):
    """Goals of a search."""

    metric = "metric"
    steps_to_target = "steps_to_target"
    seconds_to_target = "seconds_to_target"


class Sampler(StrEnum):
    """Ways to draw the values of the next trial."""

    tpe = "tpe"
    gp = "gp"
    qmc = "qmc"
    random = "random"
    grid = "grid"


class Pruner(StrEnum):
    """Ways to end trials early."""

    none = "none"
    hyperband = "hyperband"
    median = "median"
    extrapolate = "extrapolate"


def tune(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RECIPE KEY.PATH=VALUE",
            help="A recipe file or the name of a shipped recipe, and changes to it; with --join, none for that of the "
            "study.",
            autocompletion=complete_recipe,
            show_default=False,
        ),
    ] = None,
    *,
    space: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=AXIS",
            help="What to search, such as 'optimizer.lr=log:1e-4..1e-1', 'model.cell=lstm,momentum,adam', "
            "'cells.momentum.momentum=0..0.95' or 'model.hidden_size=int:32..256:32'. May be repeated. Default: the "
            "recipe's tune.space, or else learning rate and options of the cell.",
            show_default=False,
        ),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Trials in all, in place of the recipe's or 50.", show_default=False),
    ] = None,
    objective: Annotated[
        Objective | None,
        typer.Option(
            metavar="GOAL",
            help="metric: the best validation metric; steps_to_target or seconds_to_target: the fewest of them until "
            "the target is reached. Default: the recipe's, or metric.",
            show_default=False,
        ),
    ] = None,
    sampler: Annotated[
        Sampler | None,
        typer.Option(
            metavar="NAME",
            help="tpe, gp (Bayesian optimization by a Gaussian process), qmc (quasi-random), random or grid. Default: "
            "the recipe's, or tpe.",
            show_default=False,
        ),
    ] = None,
    pruner: Annotated[
        Pruner | None,
        typer.Option(
            metavar="NAME",
            help="End hopeless trials early: none, hyperband, median, or extrapolate (by "
            "learning-curve laws). Default: the recipe's, or none.",
            show_default=False,
        ),
    ] = None,
    join: Annotated[
        str | None,
        typer.Option(
            metavar="DIR|URL",
            help="Share a study with other processes that give the same command: a folder they all see, or a database "
            "such as postgresql://user@host/name or sqlite:////folder/study.db.",
            show_default=False,
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Run the trials on the workers of this Dask scheduler, tcp://HOST:8786; see docs/scale.md. Needs: pip "
            "install 'momentumrnn[cluster]'",
            show_default=False,
        ),
    ] = None,
    time_limit: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=1,
            help="Begin no trial after so many seconds. Default: no limit.",
            show_default=False,
        ),
    ] = None,
    accelerator: AcceleratorOption = Accelerator.auto,
    data_dir: DataDir = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The folder of the search; finished trials in it are kept. By default runs/tune-RECIPE-NNN, or the "
            "unfinished one of the same search.",
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the search in --out.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    no_progress: NoProgress = False,
) -> None:
    """Search for better values of a recipe's keys, such as the learning rate or the cell, by many short trainings.

    Every trial is a run, and validation alone decides. Writes best.yaml, trials.csv, pictures and report.html.

    After an interruption the same command continues. Needs Optuna, which the extra "tune" installs.
    """
    given = arguments or []
    recipes = [text for text in given if not is_override(text)]
    if len(recipes) > 1:
        raise typer.BadParameter(f"takes one recipe, got {' '.join(recipes)}", param_hint="RECIPE")
    if not recipes and join is None:
        raise typer.BadParameter("missing; give a recipe, such as digits", param_hint="RECIPE")
    from momentum_cli.ui import make_tune_ui

    with make_tune_ui(quiet=quiet, progress=not no_progress, json=json) as ui:
        from momentum_cli.api.tune import tune as library_tune

        result = library_tune(
            recipes[0] if recipes else None,
            [text for text in given if is_override(text)],
            space=space or (),
            trials=trials,
            objective=None if objective is None else objective.value,
            sampler=None if sampler is None else sampler.value,
            pruner=None if pruner is None else pruner.value,
            join=join,
            cluster=cluster,
            time_limit=time_limit,
            accelerator=accelerator.value,
            data_dir=data_dir,
            out=out,
            overwrite=overwrite,
            ui=ui,
        ).to_dict()
    if json:
        terminal.print_json(result)
