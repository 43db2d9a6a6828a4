"""The list of cells: equations, options, ranges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from momentum_cli.cells.names import CELLS, EQUATIONS, RANGES
from momentum_cli.ui import terminal

if TYPE_CHECKING:
    from momentum_cli.options import Option


def describe_cells() -> list[dict[str, Any]]:
    """Return one JSON-able entry a cell: name, dynamics, recurrence, equation, and options with default and range.

    Imports torch, because defaults are read from the dataclasses of `DYNAMICS` and `KINDS`.
    """
    from momentum_cli.cells.catalogue import KINDS, cell_options
    from momentum_cli.cells.plugins import load_installed

    load_installed()
    return [
        {
            "name": name,
            "dynamics": cell.dynamics,
            "recurrence": cell.recurrence,
            "equation": f"{EQUATIONS[cell.dynamics]}; {KINDS[cell.recurrence].recurrence.equation}",
            "options": _described(cell_options(name)),
        }
        for name, cell in CELLS.items()
    ]


def print_cells() -> None:
    """Show the cells to people: the dynamics with their cells and options, then the recurrences behind them."""
    from momentum_cli.cells.catalogue import KINDS
    from momentum_cli.cells.plugins import load_installed
    from momentum_cli.dynamics import DYNAMICS
    from momentum_cli.options import dataclass_options

    load_installed()
    rows = []
    for dynamics, equation in EQUATIONS.items():
        names = [name for name, cell in CELLS.items() if cell.dynamics == dynamics]
        rows.append(["\n".join(names), _lines(equation), _shown(dataclass_options(DYNAMICS[dynamics]))])
    terminal.print_table(["cell", "equation (u: projected input)", "options: default, range"], rows)
    recurrences = [
        [name, _lines(kind.recurrence.equation), _shown(dataclass_options(kind.options))]
        for name, kind in KINDS.items()
    ]
    terminal.print_table(
        ["recurrence", "equation (d: driven input)", "options: default, range"],
        recurrences,
        "A name without one has lstm.",
    )


def _described(options: tuple[Option, ...]) -> dict[str, dict[str, Any]]:
    return {option.name: {"default": option.default, "range": RANGES[option.name]} for option in options}


def _shown(options: tuple[Option, ...]) -> str:
    entries = _described(options).items()
    defaults = {name: f"{e['default']:g}" if isinstance(e["default"], float) else e["default"] for name, e in entries}
    return "\n".join(f"{name}: {defaults[name]}, {entry['range']}" for name, entry in entries)


def _lines(equation: str) -> str:
    return equation.replace("; ", "\n")
