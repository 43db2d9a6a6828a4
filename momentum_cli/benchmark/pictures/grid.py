"""Pictures of a grid over options of cells: heat maps of the metric and of the steps to the target."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from momentum_cli.benchmark.pictures.heat_map import (
    log_scale,
    metric_scale,
    metric_square,
    paint_heat_map,
)
from momentum_cli.benchmark.pictures.panels import KEEP_TITLE
from momentum_cli.benchmark.tables.grid import shape_of
from momentum_cli.metrics import METRICS
from momentum_cli.pictures.style import literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SQUARE_INCHES = 0.42


def draw_grid(comparisons: Sequence[Mapping[str, Any]], width: float) -> Figure:
    """Draw one row of panels per arm: the mean best metric, and the median steps to the target if any.

    Args:
        comparisons: of bench.json; those without a grid are left out.
        width: of the figure in inches.
    """
    from matplotlib.figure import Figure

    parts = [(comparison, grid) for comparison in comparisons for grid in comparison.get("grids") or ()]
    wide = any(comparison["target"] for comparison, _ in parts)
    # Two adjacent panels need room for the numbers on their squares.
    side_by_side = wide and width > 6
    tallest = max(len(shape_of(grid)[1]) for _, grid in parts)
    rows, columns = (len(parts), 1 + int(wide)) if side_by_side else (len(parts) * (1 + int(wide)), 1)
    figure = Figure(figsize=(width, rows * (1.4 + _SQUARE_INCHES * tallest)), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    each = 1 + int(wide)
    for number, (comparison, grid) in enumerate(parts):
        name = comparison["name"] if len(comparison["grids"]) == 1 else f"{comparison['name']}, {grid['arm']}"
        own = panels[number * each : number * each + each]
        _metric(own[0], comparison, grid, name)
        if wide and comparison["target"] is None:
            own[1].set_visible(False)
        elif wide:
            _steps(own[1], grid, name)
    return figure


def _metric(axes: Axes, comparison: Mapping[str, Any], grid: Mapping[str, Any], name: str) -> None:
    metric, targeted = comparison["metric"], comparison["target"] is not None
    percent = METRICS[metric].fraction
    texts = [
        metric_square(metric, point["best"]["mean"], f"{point['hits']}/{point['runs']}" if targeted else "")
        for point in grid["points"]
    ]
    _paint(
        axes,
        grid,
        [point["best"]["mean"] for point in grid["points"]],
        texts,
        framed=[targeted and point["reached"] for point in grid["points"]],
        higher_is_better=METRICS[metric].higher_is_better,
        scale=metric_scale(percent),
    )
    unit = ", %" if percent else ""
    axes.set_title(literal(f"{name}: best {comparison['split']} {metric}{unit}"), fontsize=10)


def _steps(axes: Axes, grid: Mapping[str, Any], name: str) -> None:
    steps = [point["steps"]["median"] for point in grid["points"]]
    texts = [f"{value:,.0f}" if math.isfinite(value) else "∞" for value in steps]
    _paint(axes, grid, steps, texts, framed=[False] * len(steps), higher_is_better=False, scale=log_scale)
    axes.set_title(literal(f"{name}: median steps to the target"), fontsize=10)


def _paint(
    axes: Axes,
    grid: Mapping[str, Any],
    values: Sequence[float | None],
    texts: Sequence[str],
    *,
    framed: Sequence[bool],
    higher_is_better: bool,
    scale: Any,
) -> None:
    row_name, rows, column_name, columns = shape_of(grid)

    def table(flat: Sequence[Any]) -> list[Sequence[Any]]:
        return [flat[start : start + len(columns)] for start in range(0, len(flat), len(columns))]

    paint_heat_map(
        axes,
        table(values),
        table(texts),
        table(framed),
        rows=rows,
        columns=columns,
        higher_is_better=higher_is_better,
        scale=scale,
    )
    axes.set_xlabel(literal(column_name))
    axes.set_ylabel(literal(row_name))
    axes.set_label(KEEP_TITLE)
