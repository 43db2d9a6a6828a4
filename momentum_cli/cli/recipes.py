"""Commands on recipes and cells that compute nothing: `momentumrnn recipes`, `validate` and `cells`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from momentum_cli.cli.arguments import Json, Overrides, Quiet, RecipeArgument
from momentum_cli.ui import terminal


def validate(recipe: RecipeArgument, overrides: Overrides = None, json: Json = False, quiet: Quiet = False) -> None:
    """Check a recipe without reading data; every mistake is shown with its line and path."""
    from momentum_cli.recipe.recipe import load_recipe

    checked = load_recipe(recipe, overrides or [])
    if json:
        terminal.print_json({"valid": True, "recipe": checked.dump()})
    elif not quiet:
        terminal.print_lines(f"{recipe}: valid ({checked.model.cell} on {checked.task.name})")


def list_recipes(json: Json = False) -> None:
    """List the shipped recipes."""
    from momentum_cli.recipe.recipe import describe_recipes

    recipes = describe_recipes()
    if json:
        terminal.print_json({"recipes": recipes})
    else:
        # Two columns: with four, the last one, which has sentences, would be one word wide on 80 characters.
        rows = [[one["name"], f"{one['about']}\nTask {one['task']}, cell {one['cell']}."] for one in recipes]
        terminal.print_table(["recipe", "about"], rows)


def show(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    resolved: Annotated[bool, typer.Option("--resolved", help="Check it and show every default.")] = False,
    json: Json = False,
) -> None:
    """Show a recipe as it was written, or with every default and override (--resolved)."""
    from momentum_cli.recipe.recipe import load_recipe, recipe_text, to_yaml

    if json or resolved or overrides:
        checked = load_recipe(recipe, overrides or []).dump()
        if json:
            terminal.print_json(checked)
        else:
            terminal.print_lines(to_yaml(checked).rstrip())
    else:
        terminal.print_lines(recipe_text(recipe).rstrip())


def copy(
    recipe: RecipeArgument,
    destination: Annotated[
        Path | None,
        typer.Argument(
            metavar="DESTINATION", help="A file or a folder; by default the current folder.", show_default=False
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    json: Json = False,
) -> None:
    """Copy a shipped recipe, comments included, to your own file."""
    from momentum_cli.recipe.shipped import copy_recipe

    path = copy_recipe(recipe, destination, overwrite=overwrite)
    if json:
        terminal.print_json({"path": str(path)})
    else:
        terminal.print_lines(str(path))


def schema() -> None:
    """Write the JSON Schema of recipes, for editors that complete and check YAML."""
    from momentum_cli.recipe.schema import recipe_schema

    terminal.print_json(recipe_schema())


def list_cells(json: Json = False) -> None:
    """List the cells with their equations, options, defaults and ranges."""
    from momentum_cli.inspection.cells import describe_cells, print_cells

    if json:
        terminal.print_json({"cells": describe_cells()})
    else:
        print_cells()
