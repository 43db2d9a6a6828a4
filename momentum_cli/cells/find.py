"""Cells by name, those of installed plugins too."""

from __future__ import annotations

from momentum_cli.cells.names import CELLS, Cell
from momentum_cli.errors import RecipeError
from momentum_cli.messages import unknown


def canonical_name(name: str) -> str:
    """Return the name under which a cell is kept: `momentum-lstm` is `momentum`.

    Raises:
        RecipeError: There is no such cell; the message gives the nearest one and the command that lists all.
    """
    # Only a dynamics may leave "-lstm" out; "lstm-lstm" is not a name.
    short = name.removesuffix("-lstm")
    if short != name and short in CELLS and CELLS[short] == Cell(short, "lstm"):
        return short
    if name in CELLS:
        return name
    from momentum_cli.cells.plugins import load_installed

    load_installed()
    if name in CELLS:
        return name
    message = unknown("cell", name, CELLS, listed_by="momentumrnn cells list")
    raise RecipeError(f"{message}; a cell of your own needs --plugin FILE.py")


def parse_cell(name: str) -> Cell:
    """Return the names of the dynamics and of the recurrence behind a cell name, e.g. `adam-gru` -> (adam, gru).

    Raises:
        RecipeError: There is no such cell; the message gives the nearest one and the command that lists all.
    """
    return CELLS[canonical_name(name)]
