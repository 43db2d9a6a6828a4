"""The tables of a grid of learning rates as text: every arm at every rate, how robust it is, and its momentum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from momentum_cli.benchmark.plan.optimizers import rate_text
from momentum_cli.benchmark.tables.comparison import comparison_title, mean_text, range_text
from momentum_cli.messages import counted
from momentum_cli.pages.table import Table
from momentum_cli.wording import NOTHING, count_text


def rates_table(comparison: Mapping[str, Any]) -> Table | None:
    """Return the table of arms (rows) and learning rates (columns), or None without a grid.

    Args:
        comparison: one of ``comparisons`` of bench.json.
    """
    arms, metric, targeted = comparison.get("arms"), comparison["metric"], comparison["target"] is not None
    if not arms:
        return None
    columns = ["at learning rate", *(rate_text(row["lr"]) for row in arms[0]["rates"])]
    columns += ["robustness"] if targeted else []
    columns += ["best lr"] + (["steps at it"] if targeted else [])
    rows = []
    for arm in arms:
        best = next(row for row in arm["rates"] if row["label"] == arm["best"])
        row = [arm["arm"], *(rate_cell(metric, cell, targeted) for cell in arm["rates"])]
        row += [robustness_text(arm["robustness"])] if targeted else []
        row.append(rate_text(arm["best_lr"]))
        row += [range_text(best["steps"], count_text)] if targeted else []
        rows.append(row)
    what = f"best {metric}, mean over seeds" + (", and runs that reached the target" if targeted else "")
    return Table(f"{comparison_title(comparison)}; {what}", columns, rows)


def diagnostics_table(comparison: Mapping[str, Any]) -> Table | None:
    """Return the diagnostics of optimizers, such as the momentum they chose, or None without any."""
    rows = [
        [cell["label"], name, *(f"{value[part]:.3g}" for part in ("q1", "median", "q3"))]
        for cell in comparison["cells"]
        for name, value in cell.get("diagnostics", {}).items()
    ]
    if not rows:
        return None
    title = f"{comparison['name']}: chosen by the optimizer, over all logged steps of all seeds"
    return Table(title, ["cell", "what", "lower quartile", "median", "upper quartile"], rows)


def rates_remarks(summary: Mapping[str, Any]) -> list[str]:
    """Return the remarks that a reader of `rates_table` needs."""
    lines = []
    for comparison in summary["comparisons"]:
        arms = comparison.get("arms")
        if not arms:
            continue
        if comparison["target"] is not None:
            lines.append(
                f"{comparison['name']}: robustness is the width in decades of the widest range of learning rates whose "
                "median runs all reach the target; >= where it ends with the grid"
            )
        lines.append(
            f"{comparison['name']}: the other tables show everything at its best rate, "
            "which was chosen by the same runs"
        )
        failed = [run for run in comparison["runs"] if run["error"]]
        if failed:
            count = f"{len(failed)} of {counted(len(comparison['runs']), 'run')}"
            lines.append(f"{comparison['name']}: {count} ended with an error, the first one: {failed[0]['error']}")
    return lines


def rate_cell(metric: str, row: Mapping[str, Any], targeted: bool) -> str:
    """`94.07 % 3/3`: the mean of the best values, and hits of runs."""
    text = mean_text(metric, {**row["best"], "sd": None})
    return f"{text} {row['hits']}/{row['runs']}" if targeted else text


def robustness_text(found: Mapping[str, Any] | None) -> str:
    """`1.48 (0.03-1)`, `>=1.48 (0.03-1)` where the grid ends the range, `0 (0.1)` for a single rate, or `none`."""
    if found is None:
        return NOTHING
    if found["decades"] is None:
        return "none"
    more = ">=" if found["open_below"] or found["open_above"] else ""
    low, high = rate_text(found["low"]), rate_text(found["high"])
    between = low if low == high else f"{low}–{high}"
    return f"{more}{found['decades']:.3g} ({between})"
