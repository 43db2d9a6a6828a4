"""Commands that only look: `momentumrnn inspect`, `summary` and `doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from momentum_cli.cli.arguments import (
    DataDir,
    Json,
    NoProgress,
    Overrides,
    Quiet,
    RecipeArgument,
    is_override,
    make_ui,
)
from momentum_cli.cli.completion import complete_cells, complete_recipe
from momentum_cli.ui import terminal

BATCH = 32


def inspect(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="RECIPE|RUN|KEY.PATH=VALUE",
            help="A recipe, with changes to it, or one or more runs (folders or checkpoints) of one task.",
            autocompletion=complete_recipe,
            show_default=False,
        ),
    ],
    *,
    cells: Annotated[
        list[str] | None,
        typer.Option(
            metavar="A,B,…",
            help="For a recipe: cells to compare, a,b,c. May be repeated. Default: the recipe's own.",
            autocompletion=complete_cells,
            show_default=False,
        ),
    ] = None,
    length: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Only the first steps of each sequence.", show_default=False)
    ] = None,
    batch: Annotated[int, typer.Option(metavar="N", min=1, help="Number of training sequences.")] = BATCH,
    forecast: Annotated[
        bool,
        typer.Option("--forecast", help="Only predict the metric of runs at the end of their budgets."),
    ] = False,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            max=2**32 - 1,
            help="Seed of the sequences and, for a recipe, of the initial parameters; by default the recipe's.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder for inspect.json and the pictures; by default runs/inspect-NAME-NNN.",
            show_default=False,
        ),
    ] = None,
    data_dir: DataDir = None,
    json: Json = False,
    quiet: Quiet = False,
    no_progress: NoProgress = False,
) -> None:
    """Show the effect of momentum on gradients through time.

    Norms of dL/dh, dL/du and dL/dx at every step, the spectrum of the recurrent Jacobian, the impulse response and the
    memory of each dynamics: of a recipe's cells as initialised, of runs as initialised and as trained.
    """
    if forecast:
        given = {"--cells": cells, "--length": length, "--batch": batch != BATCH, "--seed": seed, "--out": out}
        changes = [text for text in arguments if is_override(text)]
        useless = [name for name, is_given in given.items() if is_given not in (None, False)] + changes
        if useless:
            raise typer.BadParameter("does not go with --forecast; leave it out", param_hint=", ".join(useless))
        from momentum_cli.inspection.forecast import forecast_lines, forecast_runs

        with make_ui(json, quiet, no_progress) as ui:
            predicted = forecast_runs(arguments, data_dir=data_dir, ui=ui)
        if json:
            terminal.print_json(predicted)
        else:
            terminal.print_lines("\n".join(forecast_lines(predicted)))
        return
    from momentum_cli.inspection.gradients.inspect import inspect as engine_inspect
    from momentum_cli.inspection.gradients.tables import print_inspection

    with make_ui(json, quiet, no_progress) as ui:
        result = engine_inspect(
            [text for text in arguments if not is_override(text)],
            cells=[cell for text in cells or () for cell in text.split(",")],
            length=length,
            batch_size=batch,
            seed=seed,
            out=out,
            data_dir=data_dir,
            overrides=[text for text in arguments if is_override(text)],
            ui=ui,
        )
    if json:
        terminal.print_json(result)
    elif not quiet:
        print_inspection(result)


def summary(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    *,
    measure: Annotated[
        bool, typer.Option("--measure", help="Also measure the memory of one training step, in a separate process.")
    ] = False,
    data_dir: DataDir = None,
    json: Json = False,
    quiet: Quiet = False,
    no_progress: NoProgress = False,
) -> None:
    """Show the parts of the model of a recipe and the cost of a training step: FLOPs, state, memory."""
    from momentum_cli.inspection.model.summary import summary as engine_summary
    from momentum_cli.inspection.model.tables import print_summary
    from momentum_cli.recipe.recipe import load_recipe

    checked = load_recipe(recipe, overrides or [])
    with make_ui(json, quiet, no_progress) as ui:
        result = engine_summary(checked, measure=measure, data_dir=data_dir, ui=ui)
    if json:
        terminal.print_json(result)
    elif not quiet:
        print_summary(result)


def doctor(data_dir: DataDir = None, json: Json = False) -> None:
    """Show versions, devices, backends, data sets and optional packages of this machine. Changes nothing."""
    from momentum_cli.inspection.doctor import examine, print_report

    report = examine(data_dir)
    if json:
        terminal.print_json(report)
    else:
        print_report(report)
