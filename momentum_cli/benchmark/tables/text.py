"""The result of a benchmark as lines of text."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from momentum_cli.benchmark.tables.comparison import (
    aggregate_table,
    comparison_table,
    remarks,
    split_columns,
    total_text,
    tuning_table,
)
from momentum_cli.benchmark.tables.conclusion import conclusion
from momentum_cli.benchmark.tables.grid import grid_remarks, grid_tables
from momentum_cli.benchmark.tables.paper import paper_remarks, paper_table
from momentum_cli.benchmark.tables.rates import diagnostics_table, rates_remarks, rates_table
from momentum_cli.benchmark.tables.total_time import times_table
from momentum_cli.wording import short_path


def summary_text(summary: Mapping[str, Any], width: int) -> Iterator[str]:
    """Return the summary of a benchmark in lines of plain text.

    Args:
        summary: the content of bench.json.
        width: tables that are wider are continued below.
    """
    tables = [tuning_table(summary)]
    for comparison in summary["comparisons"]:
        tables += [rates_table(comparison), *grid_tables(comparison), comparison_table(comparison, summary)]
        tables += [diagnostics_table(comparison), paper_table(comparison), times_table(comparison, summary)]
    tables.append(aggregate_table(summary))
    for table in tables:
        if table is None:
            continue
        for part in split_columns(table, width):
            yield from part.lines()
    yield ""
    for comparison in summary["comparisons"]:
        if (found := conclusion(comparison, summary)) is not None:
            yield from textwrap.wrap(f"{comparison['name']}: {found}", max(width, 40))
    yield from paper_remarks(summary)
    yield from rates_remarks(summary)
    yield from grid_remarks(summary)
    yield from remarks(summary)
    folder = summary["folder"]
    page = os.path.join(folder, "report.html")  # a full disk may have prevented them
    yield f"{total_text(summary)}; " + (
        f"report: {short_path(page)}" if os.path.isfile(page) else f"results: {short_path(folder)}"
    )
