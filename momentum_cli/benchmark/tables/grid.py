"""The tables of a grid over options of cells as text: the metric, and the steps to the target, at every point."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from momentum_cli.benchmark.plan.optimizers import rate_text
from momentum_cli.benchmark.tables.comparison import comparison_title, range_text
from momentum_cli.benchmark.tables.rates import rate_cell
from momentum_cli.pages.table import Table
from momentum_cli.wording import count_text


def grid_tables(comparison: Mapping[str, Any]) -> Iterator[Table]:
    """Yield the tables of each arm: rows are values of the first option, columns those of the second.

    Args:
        comparison: one of ``comparisons`` of bench.json; without a grid it has no such tables.
    """
    targeted, metric = comparison["target"] is not None, comparison["metric"]
    for grid in comparison.get("grids") or ():
        title = f"{comparison_title(comparison)}; {grid['arm']}: mean best {metric}"
        yield _table(
            title + (", hits" if targeted else ""),
            grid,
            [rate_cell(metric, point, targeted) for point in grid["points"]],
        )
        if targeted:
            title = f"{comparison['name']}; {grid['arm']}: median steps to the target (range)"
            yield _table(title, grid, [range_text(point["steps"], count_text) for point in grid["points"]])


def grid_remarks(summary: Mapping[str, Any]) -> list[str]:
    """Return the remarks that a reader of `grid_tables` needs."""
    return [
        f"{comparison['name']}: the other tables show {grid['best']}, the best point of the grid, which was chosen by "
        "the same runs"
        for comparison in summary["comparisons"]
        for grid in comparison.get("grids") or ()
    ]


def shape_of(grid: Mapping[str, Any]) -> tuple[str, list[str], str, list[str]]:
    """Return the name and the values of the rows, then of the columns; a single option is the columns."""
    axes = [(axis["name"], [rate_text(value) for value in axis["values"]]) for axis in grid["axes"]]
    (rows, row_texts), (columns, column_texts) = axes if len(axes) == 2 else [("", [""]), *axes]
    return rows, row_texts, columns, column_texts


def _table(title: str, grid: Mapping[str, Any], texts: Sequence[str]) -> Table:
    row_name, rows, column_name, columns = shape_of(grid)
    parts = [texts[start : start + len(columns)] for start in range(0, len(texts), len(columns))]
    named = [f"{row_name}={text}" if row_name else "" for text in rows]
    return Table(
        title,
        ["", *(f"{column_name}={text}" for text in columns)],
        [[name, *part] for name, part in zip(named, parts, strict=True)],
    )
