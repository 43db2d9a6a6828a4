"""Commands for data: `momentumrnn init`, `data describe` and `data check`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from momentum_cli.cli.arguments import DataDir, Json, NoProgress, Overrides, Quiet, RecipeArgument, make_ui
from momentum_cli.errors import DataError
from momentum_cli.ui import terminal


class Kind(StrEnum):
    """Kinds of prediction from a file; a test compares them with `momentum_cli.data.files.METRICS`."""

    classification = "classification"
    regression = "regression"
    labelling = "labelling"
    forecasting = "forecasting"


def init(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="CSV, Parquet, JSON Lines, NPZ or NPY; a folder of tables, recordings or text files; or a pattern of "
            "tables in quotes, such as 'data/*.csv'.",
        ),
    ],
    *,
    target: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Column, or array, to predict. May be repeated. Guessed by default.",
            show_default=False,
        ),
    ] = None,
    kind: Annotated[
        Kind | None,
        typer.Option(
            metavar="KIND",
            help="Kind of prediction: classification, regression, labelling or forecasting. Guessed by default.",
            show_default=False,
        ),
    ] = None,
    order_format: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT",
            help="Format of the dates of a table, such as '%d/%m/%Y %H:%M'. Guessed by default.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The recipe; by default DATA.yaml in this folder.", show_default=False),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    json: Json = False,
) -> None:
    """Write a first recipe for your data, with comments, and check the data.

    Exits with 3 if the data have a mistake, which is shown; the recipe is written all the same.
    """
    from momentum_cli.recipe.first.files import first_problems, reasons_of, write_first_recipe

    chosen = None if kind is None else kind.value
    path = write_first_recipe(data, out, target=target, kind=chosen, order_format=order_format, overwrite=overwrite)
    reasons, problems = reasons_of(path), first_problems(path)
    ok = all(problem.warning for problem in problems)
    if json:
        found = [problem.dump() for problem in problems]
        terminal.print_json({"path": str(path), "reasons": reasons, "ok": ok, "problems": found})
    else:
        said = [f"  {'warning' if problem.warning else 'mistake'}: {problem}" for problem in problems]
        terminal.print_lines("\n".join([str(path), *(f"  {reason}" for reason in reasons), *said]))
    if not ok:
        _refuse(str(data), sum(not problem.warning for problem in problems), json=json)


def describe(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    *,
    picture: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Draw some training sequences to this file (PNG, SVG, PDF).", show_default=False
        ),
    ] = None,
    data_dir: DataDir = None,
    json: Json = False,
    quiet: Quiet = False,
    no_progress: NoProgress = False,
) -> None:
    """Show what the data of a recipe are: splits, lengths, ranges, missing values, classes."""
    from momentum_cli.inspection.data import describe_data, print_description
    from momentum_cli.recipe.recipe import load_recipe

    checked = load_recipe(recipe, overrides or [])
    with make_ui(json, quiet, no_progress) as ui:
        result = describe_data(checked, data_dir=data_dir, picture=picture, progress=ui)
    if json:
        terminal.print_json(result)
    elif not quiet:
        print_description(result)


def check(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    *,
    data_dir: DataDir = None,
    json: Json = False,
    quiet: Quiet = False,
    no_progress: NoProgress = False,
) -> None:
    """Find every mistake in the data of a recipe, with its rows: missing values, duplicate times, leaks.

    Exits with 3 if there is one; a warning is none.
    """
    from momentum_cli.inspection.data import check_data, print_problems
    from momentum_cli.recipe.recipe import load_recipe

    checked = load_recipe(recipe, overrides or [])
    with make_ui(json, quiet, no_progress) as ui:
        result = check_data(checked, data_dir=data_dir, progress=ui)
    if json:
        terminal.print_json(result)
    elif not quiet or not result["ok"]:
        print_problems(result)
    if not result["ok"]:
        _refuse(recipe, sum(problem["severity"] == "error" for problem in result["problems"]), json=json)


def _refuse(name: str, mistakes: int, *, json: bool) -> NoReturn:
    """End a command that has shown mistakes; standard error says so, because the list is on standard output."""
    if not json:
        found = "a mistake" if mistakes == 1 else f"{mistakes} mistakes"
        terminal.print_error(f"{name}: the data have {found}, shown on standard output; train refuses them")
    raise typer.Exit(DataError.exit_code)
