"""The command line: each command reads its arguments and calls one importable function.

torch, pydantic and YAML are imported inside commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from momentum_cli import __version__, allocator
from momentum_cli.cli import benchmarks, data, looking, models, recipes, training, tuning
from momentum_cli.cli.command_group import Command, CommandGroup
from momentum_cli.ui import terminal

app = typer.Typer(
    name="momentumrnn",
    cls=CommandGroup,
    help="Train, evaluate, benchmark and export recurrent models whose cells carry momentum.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage or recipe, 3 data, 4 target missed, 130/143 interrupted.",
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


_START = """momentumrnn: recurrent models whose cells carry momentum

  momentumrnn train digits                     train a recipe
  momentumrnn bench                            compare cells: time to a target
  momentumrnn eval runs/digits-momentum-001    metrics of a trained model
  momentumrnn export runs/digits-momentum-001  a file for other programs
  momentumrnn init measurements.csv            a recipe for your own data

momentumrnn --help lists all commands, momentumrnn COMMAND --help explains one."""


@app.callback(invoke_without_command=True)
def _program(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    _debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")] = False,
    release_memory: Annotated[
        bool,
        typer.Option(
            "--release-memory",
            help="Return freed memory to the system at once, as glibc does by default: less memory, slower steps.",
        ),
    ] = False,
    plugin: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE.py",
            help="Run this file, which adds your own cells; see docs/plugins.md. May be repeated.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Options of the whole program, which may appear anywhere; `CommandGroup` handles ``--debug``."""
    if release_memory:
        os.environ[allocator.SETTING] = "0"
    allocator.keep_memory()
    if plugin:
        from momentum_cli.cells.plugins import load_plugins

        load_plugins(plugin)
    if context.invoked_subcommand is None:
        terminal.print_lines(_START)
        raise typer.Exit


def examples(*commands: str) -> str:
    """Return the end of a command's help, where every paragraph is shown as one line."""
    return "\n\n".join(["Examples:", *(f"momentumrnn {command}" for command in commands)])


TRAIN, COMPARE, USE, LOOK = "Train and evaluate", "Compare", "Use a trained model", "Look and prepare"
app.command(
    cls=Command,
    rich_help_panel=TRAIN,
    epilog=examples("train digits", "train pmnist model.cell=adam train.epochs=12 --data-dir DATA"),
)(training.train)
app.command(
    "eval",
    cls=Command,
    rich_help_panel=TRAIN,
    epilog=examples("eval runs/digits-momentum-001", "eval model.onnx --split test"),
)(training.evaluate)
app.command(
    cls=Command,
    rich_help_panel=COMPARE,
    epilog=examples("bench --cells lstm,momentum,adam", "bench pmnist --cells lstm,adam --seeds 0-4"),
)(benchmarks.bench)
app.command("benchmark", cls=Command, hidden=True)(benchmarks.bench)
app.command(
    cls=Command,
    rich_help_panel=COMPARE,
    epilog=examples(
        "tune digits --trials 30",
        "tune digits --space 'lr=log:1e-3..1e-1; cell=lstm,momentum' --objective steps_to_target",
    ),
)(tuning.tune)
app.command(
    cls=Command, rich_help_panel=COMPARE, epilog=examples("report bench/digits-001", "report bench/digits-001 --json")
)(benchmarks.report)
app.command(
    cls=Command,
    rich_help_panel=COMPARE,
    epilog=examples("inspect digits --cells lstm,momentum", "inspect runs/digits-momentum-001"),
)(looking.inspect)
app.command(
    cls=Command,
    rich_help_panel=USE,
    epilog=examples(
        "export runs/digits-momentum-001 --format onnx",
        "export runs/digits-momentum-001 --format torchscript --stateful",
    ),
)(models.export)
app.command(
    cls=Command,
    rich_help_panel=USE,
    epilog=examples("predict runs/digits-momentum-001 digit.png", "predict model.onnx new.csv --out predictions.csv"),
)(models.predict)
app.command(
    cls=Command,
    rich_help_panel=USE,
    epilog=examples(
        "generate runs/shakespeare-momentum-001 --prompt ROMEO:", "generate RUN --length 500 --temperature 0.8"
    ),
)(models.generate)
app.command(
    cls=Command, rich_help_panel=LOOK, epilog=examples("init measurements.csv", "init recordings/ --out my.yaml")
)(data.init)
app.command(cls=Command, rich_help_panel=LOOK, epilog=examples("validate my.yaml", "validate digits model.cell=adam"))(
    recipes.validate
)
app.command(
    cls=Command, rich_help_panel=LOOK, epilog=examples("summary pmnist", "summary pmnist model.hidden_size=256")
)(looking.summary)
app.command(cls=Command, rich_help_panel=LOOK, epilog=examples("doctor", "doctor --json"))(looking.doctor)
app.add_typer(recipes_app, name="recipes", rich_help_panel=LOOK)
app.add_typer(cells_app, name="cells", rich_help_panel=LOOK)
app.add_typer(data_app, name="data", rich_help_panel=LOOK)
data_app.command("describe", cls=Command, epilog=examples("data describe my.yaml", "data describe digits --json"))(
    data.describe
)
data_app.command("check", cls=Command, epilog=examples("data check my.yaml", "data check my.yaml --json"))(data.check)
recipes_app.command("list", cls=Command, epilog=examples("recipes list", "recipes list --json"))(recipes.list_recipes)
recipes_app.command(
    "show", cls=Command, epilog=examples("recipes show pmnist", "recipes show pmnist model.cell=adam --resolved")
)(recipes.show)
recipes_app.command("copy", cls=Command, epilog=examples("recipes copy pmnist my.yaml", "recipes copy paper/pmnist"))(
    recipes.copy
)
recipes_app.command("schema", cls=Command, epilog=examples("recipes schema", "recipes schema > recipe.schema.json"))(
    recipes.schema
)
cells_app.command("list", cls=Command, epilog=examples("cells list", "cells list --json"))(recipes.list_cells)
