"""Heat maps of a benchmark: coloured squares with their numbers, framed where a target is reached."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from momentum_cli.metrics import METRICS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Text on a heat map, whose colours do not change with the page, so a page must not replace these either.
_DARK, _LIGHT, _FRAME = "#111111", "#fefefe", "#c00000"
_UNKNOWN = (0.8, 0.8, 0.8, 1.0)

Values = Sequence[Sequence[float | None]]


def paint_heat_map(
    axes: Axes,
    values: Values,
    texts: Sequence[Sequence[str]],
    framed: Sequence[Sequence[bool]],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    higher_is_better: bool,
    scale: Callable[[float], float],
) -> None:
    """Paint a table; lighter squares are better, grey ones have no value.

    Args:
        axes: axes of the panel.
        values: one list per row; None and numbers that are not finite have no colour.
        texts: text on each square.
        framed: True for squares with a frame.
        rows, columns: names to the left and below.
        higher_is_better: True if higher values are better.
        scale: scale of the colours, an increasing function such as the logarithm.
    """
    from matplotlib import colormaps
    from matplotlib.colors import Normalize
    from matplotlib.patches import Rectangle

    known = [value for row in values for value in row if value is not None and math.isfinite(value)]
    norm = Normalize(scale(min(known)), scale(max(known))) if known else Normalize(0.0, 1.0)
    colors = colormaps["cividis" if higher_is_better else "cividis_r"]
    for y, row in enumerate(values):
        for x, value in enumerate(row):
            there = value is not None and math.isfinite(value)
            color = colors(norm(scale(value))) if there and value is not None else _UNKNOWN
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=color, edgecolor="none"))
            bright = 0.3 * color[0] + 0.59 * color[1] + 0.11 * color[2] > 0.5
            ink = _DARK if bright else _LIGHT
            axes.text(x, y, texts[y][x], ha="center", va="center", fontsize=7, color=ink, linespacing=0.95)
    # Drawn above all squares, or a neighbour would cover a side of the frame.
    for y, x in ((y, x) for y, row in enumerate(framed) for x, wanted in enumerate(row) if wanted):
        frame = Rectangle((x - 0.46, y - 0.46), 0.92, 0.92, fill=False, edgecolor=_FRAME, linewidth=1.6)
        axes.add_patch(frame)
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def metric_scale(percent: bool) -> Callable[[float], float]:
    """Return the colour scale of a metric: logarithmic for an error, which spans decades, linear for an accuracy."""
    return float if percent else log_scale


def log_scale(value: float) -> float:
    """Return log10 of a value, or of a tiny number for 0."""
    return math.log10(max(value, 1e-300))


def metric_square(metric: str, value: float | None, hits: str) -> str:
    """Return the text on a square: the mean metric, in percent for an accuracy, and the hits below."""
    there = value is not None and math.isfinite(value)
    number = "–" if not there or value is None else f"{100 * value:.1f}" if METRICS[metric].fraction else f"{value:.2g}"
    return f"{number}\n{hits}" if hits else number
