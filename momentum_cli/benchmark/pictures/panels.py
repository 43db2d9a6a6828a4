"""Panels of a picture, and the colour, line and marker of each cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from momentum_cli.benchmark.results.statistics import Point
from momentum_cli.pictures.style import PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


Points = Mapping[str, Sequence[Point]]
WIDTH = 7.2
_MARKS = "osD^vP*X"
_LINES = ("-", "--", "-.", ":")
_MOST_NAMES_INSIDE = 7
# A panel with this label keeps its title in a page, because a comparison has several such panels.
KEEP_TITLE = "named"


def legend(axes: Axes, count: int) -> None:
    """Draw the legend: inside if there is room for the names, else below in columns."""
    if count <= _MOST_NAMES_INSIDE:
        axes.legend(loc="best", fontsize=9)
    else:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, fontsize=8, handlelength=3.2)


def places_of(comparison: Mapping[str, Any]) -> dict[str, int]:
    """Return the number of each row for `look`, by label; with optimizers, lines stand for cells."""
    cells = comparison["cells"]
    names = [list(dict.fromkeys(cell.get(key) for cell in cells)) for key in ("cell_label", "optimizer_label")]
    if 1 < len(names[1]) <= len(PALETTE):
        return {
            cell["label"]: names[1].index(cell["optimizer_label"]) + len(PALETTE) * names[0].index(cell["cell_label"])
            for cell in cells
        }
    return {cell["label"]: number for number, cell in enumerate(cells)}


def panels_of(count: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Return a figure of panels stacked vertically."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height * count), layout="constrained")
    return figure, list(figure.subplots(count, 1, squeeze=False)[:, 0])


def look(number: int) -> tuple[str, str, str]:
    """Return colour, line and marker of the n-th cell, which are distinct even without colour."""
    return PALETTE[number % len(PALETTE)], _LINES[number // len(PALETTE) % len(_LINES)], _MARKS[number % len(_MARKS)]
