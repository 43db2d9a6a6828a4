"""The list of cells: equations, options, ranges."""

from __future__ import annotations

from typing import Any

from momentum_cli.cells.catalogue import LAYERS, all_cells, cell_options
from momentum_cli.cells.plugins import load_installed
from momentum_cli.dynamics import DYNAMICS
from momentum_cli.options import Option, dataclass_options
from momentum_cli.ui import terminal


def describe_cells() -> list[dict[str, Any]]:
    """Return one JSON-able entry per cell: name, dynamics, layer, equation, and options with default and range."""
    load_installed()
    return [
        {
            "name": name,
            "dynamics": cell.dynamics,
            "layer": cell.layer,
            "equation": f"{DYNAMICS[cell.dynamics].equation}; {LAYERS[cell.layer].recurrence.equation}",
            "options": {one.name: {"default": one.default, "range": one.range} for one in cell_options(cell)},
        }
        for name, cell in all_cells().items()
    ]


def print_cells() -> None:
    """Print the cells: the dynamics with their cells and options, then the layers."""
    load_installed()
    rows = []
    for dynamics, cls in DYNAMICS.items():
        names = [name for name, cell in all_cells().items() if cell.dynamics == dynamics]
        rows.append(["\n".join(names), _lines(cls.equation), _shown(dataclass_options(cls))])
    terminal.print_table(["cell", "equation (u: projected input)", "options: default, range"], rows)
    layers = [
        [name, _lines(entry.recurrence.equation), _shown(dataclass_options(entry.options))]
        for name, entry in LAYERS.items()
    ]
    terminal.print_table(
        ["layer", "equation (d: driven input)", "options: default, range"],
        layers,
        "A cell's name without a layer means lstm.",
    )


def _shown(options: tuple[Option, ...]) -> str:
    return "\n".join(f"{option.name}: {_default(option)}, {option.range}" for option in options)


def _default(option: Option) -> str:
    return f"{option.default:g}" if isinstance(option.default, float) else str(option.default)


def _lines(equation: str) -> str:
    return equation.replace("; ", "\n")
