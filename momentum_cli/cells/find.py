"""Cells by name, including those of installed plugins."""

from __future__ import annotations

from momentum_cli.cells.catalogue import all_cells
from momentum_cli.cells.names import Cell
from momentum_cli.cells.plugins import load_installed
from momentum_cli.errors import RecipeError
from momentum_cli.messages import unknown


def parse_cell(name: str) -> Cell:
    """Return the cell with a name such as `adam-gru`; `momentum-lstm` is `momentum`.

    Raises:
        RecipeError: The cell is unknown; the message suggests the nearest name and the command that lists all.
    """
    found = _lookup(name)
    if found is None:
        load_installed()
        found = _lookup(name)
    if found is None:
        message = unknown("cell", name, all_cells(), listed_by="momentumrnn cells list")
        raise RecipeError(f"{message}; your own cells need --plugin FILE.py")
    return found


def canonical_name(name: str) -> str:
    """Return the canonical name of a cell: `momentum` for `momentum-lstm`.

    Raises:
        RecipeError: The cell is unknown, see `parse_cell`.
    """
    return parse_cell(name).name


def _lookup(name: str) -> Cell | None:
    cells = all_cells()
    # Only a dynamics may leave "-lstm" out; "lstm-lstm" is not a name.
    full = cells.get(name.removesuffix("-lstm"))
    return full if full is not None and f"{full.dynamics}-lstm" == name else cells.get(name)
