"""The command line: each command reads its arguments and calls one importable function.

torch, pydantic and YAML are imported inside commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from momentum_cli import __version__, allocator
from momentum_cli.cli import benchmarks, data, looking, models, recipes, training
from momentum_cli.cli.command_group import Command, CommandGroup
from momentum_cli.ui import terminal

app = typer.Typer(
    name="momentumrnn",
    cls=CommandGroup,
    help="Train, evaluate, benchmark and export recurrent models whose cells carry momentum.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage or recipe, 3 data, 4 target missed, 130/143 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
recipes_app = typer.Typer(
    cls=CommandGroup, no_args_is_help=True, help="Look at the recipes that come with the package."
)
cells_app = typer.Typer(cls=CommandGroup, no_args_is_help=True, help="Look at the cells.")
data_app = typer.Typer(cls=CommandGroup, no_args_is_help=True, help="Look at the data of a recipe.")


def _version(asked: bool) -> None:
    if asked:
        terminal.print_lines(f"momentumrnn {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    _debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")] = False,
    release_memory: Annotated[
        bool,
        typer.Option(
            "--release-memory",
            help="Give freed memory back to the system at once, as glibc does by itself: less memory, slower steps.",
        ),
    ] = False,
    plugin: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE.py",
            help="Run this file, which adds your cells, see docs/plugins.md. May be repeated.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Options of the whole program, which may appear anywhere; `CommandGroup` reads ``--debug``."""
    if release_memory:
        os.environ[allocator.SETTING] = "0"
    allocator.keep_memory()
    if plugin:
        from momentum_cli.cells.plugins import load_plugins

        load_plugins(plugin)


TRAIN, COMPARE, USE, LOOK = "Train and evaluate", "Compare", "Use a trained model", "Look and prepare"
app.command(cls=Command, rich_help_panel=TRAIN)(training.train)
app.command("eval", cls=Command, rich_help_panel=TRAIN)(training.evaluate)
app.command(cls=Command, rich_help_panel=COMPARE)(benchmarks.bench)
app.command("benchmark", cls=Command, hidden=True)(benchmarks.bench)
app.command(cls=Command, rich_help_panel=COMPARE)(benchmarks.report)
app.command(cls=Command, rich_help_panel=COMPARE)(looking.inspect)
app.command(cls=Command, rich_help_panel=USE)(models.export)
app.command(cls=Command, rich_help_panel=USE)(models.predict)
app.command(cls=Command, rich_help_panel=USE)(models.generate)
app.command(cls=Command, rich_help_panel=LOOK)(data.init)
app.command(cls=Command, rich_help_panel=LOOK)(recipes.validate)
app.command(cls=Command, rich_help_panel=LOOK)(looking.summary)
app.command(cls=Command, rich_help_panel=LOOK)(looking.doctor)
app.add_typer(recipes_app, name="recipes", rich_help_panel=LOOK)
app.add_typer(cells_app, name="cells", rich_help_panel=LOOK)
app.add_typer(data_app, name="data", rich_help_panel=LOOK)
data_app.command("describe", cls=Command)(data.describe)
data_app.command("check", cls=Command)(data.check)
recipes_app.command("list", cls=Command)(recipes.list_recipes)
recipes_app.command("show", cls=Command)(recipes.show)
recipes_app.command("copy", cls=Command)(recipes.copy)
recipes_app.command("schema", cls=Command)(recipes.schema)
cells_app.command("list", cls=Command)(recipes.list_cells)
