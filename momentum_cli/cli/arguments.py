"""Arguments of several commands, and the displays they choose."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from momentum_cli.cli.completion import complete_override, complete_recipe
from momentum_cli.messages import Said, refuse
from momentum_cli.ui import terminal


class Clock(StrEnum):
    """Scored clocks of a benchmark."""

    seconds = "seconds"
    steps = "steps"


class Accelerator(StrEnum):
    """Devices to compute on; auto takes CUDA if available."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


def _folder(path: Path | None) -> Path | None:
    if path is not None and path.exists() and not path.is_dir():
        raise typer.BadParameter(refuse("", Said(f"the file {path}"), "be a folder"))
    return path


RecipeArgument = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE", help="A recipe file, or the name of a shipped recipe.", autocompletion=complete_recipe
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY.PATH=VALUE",
        help="Changes to the recipe, such as model.cell=adam.",
        autocompletion=complete_override,
        show_default=False,
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        envvar="MOMENTUMRNN_DATA",
        callback=_folder,
        help="Folder of data sets; by default momentumrnn in the user's cache folder.",
        show_default=False,
    ),
]
AcceleratorOption = Annotated[
    Accelerator,
    typer.Option(metavar="DEVICE", help="Device to compute on: cpu or cuda; auto takes CUDA if available."),
]
BeamSize = Annotated[
    int | None,
    typer.Option(
        "--beam-size",
        metavar="N",
        min=1,
        max=100,
        help="Of a translation model: beginnings that the search continues at a time.",
        show_default=False,
    ),
]
LengthPenalty = Annotated[
    float | None,
    typer.Option(
        "--length-penalty",
        metavar="X",
        min=0.0,
        max=10.0,
        help="Of a translation model: 0 prefers short translations, 1 is usual.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Write exactly one JSON object to stdout, all else to stderr.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show warnings and errors only.")]
NoProgress = Annotated[bool, typer.Option("--no-progress", help="Show no progress bars.")]


def make_ui(json: bool, quiet: bool, no_progress: bool) -> Any:
    """Return the display of this process: none unless it is the main one."""
    from momentum_cli import ui
    from momentum_cli.progress import NullUi

    if not terminal.is_main_process():
        return NullUi()
    return ui.make_ui(quiet=quiet, progress=not no_progress, json=json)


def is_override(text: str) -> bool:
    """Return True if an argument is a change to a recipe, KEY.PATH=VALUE, and not an existing file."""
    return "=" in text and not Path(text).exists()
