"""Pictures of a grid of learning rates: heat map, metric and steps against the rate, diagnostics of optimizers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from momentum_cli.benchmark.pictures.heat_map import metric_scale, metric_square, paint_heat_map
from momentum_cli.benchmark.pictures.panels import KEEP_TITLE, look, panels_of, places_of
from momentum_cli.benchmark.plan.optimizers import rate_text
from momentum_cli.benchmark.results.statistics import Traces
from momentum_cli.benchmark.tables.comparison import comparison_title
from momentum_cli.metrics import METRICS
from momentum_cli.pictures.style import GREY, literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Comparison = Mapping[str, Any]


def draw_heat_map(comparisons: Sequence[Comparison], width: float) -> Figure:
    """Draw one row per arm, one column per learning rate: mean best metric, hits, a frame where the median run hits.

    Args:
        comparisons: of bench.json; those without a grid are left out.
        width: of the figure in inches.
    """
    chosen = [comparison for comparison in comparisons if comparison.get("arms")]
    tallest = max(len(comparison["arms"]) for comparison in chosen)
    figure, panels = panels_of(len(chosen), width, 1.1 + 0.36 * tallest)
    for axes, comparison in zip(panels, chosen, strict=True):
        arms, metric, targeted = comparison["arms"], comparison["metric"], comparison["target"] is not None
        percent = METRICS[metric].fraction
        values = [[row["best"]["mean"] for row in arm["rates"]] for arm in arms]
        hits = [[f"{row['hits']}/{row['runs']}" if targeted else "" for row in arm["rates"]] for arm in arms]
        paint_heat_map(
            axes,
            values,
            [
                [metric_square(metric, *square) for square in zip(*row, strict=True)]
                for row in zip(values, hits, strict=True)
            ],
            [[targeted and row["reached"] for row in arm["rates"]] for arm in arms],
            rows=[literal(arm["arm"]) for arm in arms],
            columns=[rate_text(row["lr"]) for row in arms[0]["rates"]],
            higher_is_better=METRICS[metric].higher_is_better,
            scale=metric_scale(percent),
        )
        unit = ", %" if percent else ""
        framed = "; framed: the median run reaches the target" if targeted else ""
        axes.set_xlabel(f"learning rate (mean best {literal(metric)}{unit}{framed})", fontsize=9)
        axes.set_title(literal(comparison_title(comparison)))
    return figure


def draw_rates(comparisons: Sequence[Comparison], width: float) -> Figure:
    """Draw for each cell the best metric by learning rate, median and range over seeds, and the steps to target.

    Args:
        comparisons: of bench.json; those without a grid are left out.
        width: of the figure in inches.
    """
    from matplotlib.figure import Figure

    parts = [
        (comparison, cell)
        for comparison in comparisons
        if comparison.get("arms")
        for cell in dict.fromkeys(arm["cell_label"] for arm in comparison["arms"])
    ]
    wide = any(comparison["target"] for comparison, _ in parts)
    figure = Figure(figsize=(width, 3.3 * len(parts) + 0.5), layout="constrained")
    panels = figure.subplots(len(parts), 2 if wide else 1, squeeze=False)
    for row, (comparison, cell) in zip(panels, parts, strict=True):
        arms = [arm for arm in comparison["arms"] if arm["cell_label"] == cell]
        several = len({name for other, name in parts if other is comparison}) > 1
        _metrics(row[0], comparison, arms)
        row[0].set_title(literal(f"{comparison['name']}, {cell}" if several else comparison["name"]))
        row[0].set_label(KEEP_TITLE)
        if not wide:
            continue
        if comparison["target"] is None:
            row[1].set_visible(False)
        else:
            _steps(row[1], comparison, arms)
    handles, names = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, fontsize=8, handlelength=3)
    return figure


def has_diagnostics(comparisons: Sequence[Comparison], traces: Traces) -> bool:
    """Return True if `draw_diagnostics` has something to draw."""
    return any(True for _ in _told(comparisons, traces))


def draw_diagnostics(comparisons: Sequence[Comparison], traces: Traces, width: float) -> Figure:
    """Draw diagnostics of optimizers, such as the chosen momentum β, over steps: the median over seeds and the range.

    With a grid of learning rates each arm is shown at its best one.

    Args:
        comparisons: of bench.json.
        traces: id of a run -> name -> (step, value).
        width: of the figure in inches.
    """
    parts = list(_told(comparisons, traces))
    figure, panels = panels_of(len(parts), width, 3.4)
    for axes, (comparison, name, rows) in zip(panels, parts, strict=True):
        places = places_of(comparison)
        for cell in rows:
            color, line, _ = look(places[cell["label"]])
            at: dict[int, list[float]] = {}
            for run in comparison["runs"]:
                trace = traces.get(run["id"], {}).get(name, ()) if run["label"] == cell["label"] else ()
                for step, value in trace:
                    if math.isfinite(value):
                        at.setdefault(step, []).append(value)
            steps = sorted(at)
            middle = [median(at[step]) for step in steps]
            axes.plot(steps, middle, line, color=color, label=literal(cell["label"]), linewidth=1.4)
            low, high = [min(at[step]) for step in steps], [max(at[step]) for step in steps]
            axes.fill_between(steps, low, high, color=color, alpha=0.13, linewidth=0)
        axes.set_xlabel("optimizer steps")
        axes.set_ylabel(literal(name))
        axes.set_xlim(left=0)
        axes.set_title(literal(f"{comparison['name']}: {name} chosen by the optimizer"))
        axes.set_label(KEEP_TITLE)
        if len(rows) <= 4:
            axes.legend(loc="best", fontsize=8)
        else:
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2, fontsize=8, handlelength=3.2)
    return figure


def _told(
    comparisons: Sequence[Comparison], traces: Traces
) -> Iterator[tuple[Comparison, str, list[Mapping[str, Any]]]]:
    """Return the panels: a comparison, a diagnostic, and the rows whose optimizers have it."""
    for comparison in comparisons:
        rows: dict[str, list[Mapping[str, Any]]] = {}
        for cell in comparison["cells"]:
            ids = [run["id"] for run in comparison["runs"] if run["label"] == cell["label"]]
            for name in dict.fromkeys(name for run in ids for name in traces.get(run, {})):
                rows.setdefault(name, []).append(cell)
        for name, cells in rows.items():
            yield comparison, name, cells


def _metrics(axes: Axes, comparison: Comparison, arms: Sequence[Mapping[str, Any]]) -> None:
    from matplotlib.ticker import PercentFormatter

    metric, target, places = comparison["metric"], comparison["target"], places_of(comparison)
    for arm in arms:
        color, line, mark = look(places[arm["best"]])
        values = [_of_runs(comparison, row["label"], "best") for row in arm["rates"]]
        kept = [(row["lr"], seeds) for row, seeds in zip(arm["rates"], values, strict=True) if seeds]
        rates = [rate for rate, _ in kept]
        middle = [median(seeds) for _, seeds in kept]
        axes.plot(rates, middle, line, color=color, marker=mark, markersize=4, label=literal(_short(arm)))
        low, high = [min(seeds) for _, seeds in kept], [max(seeds) for _, seeds in kept]
        axes.fill_between(rates, low, high, color=color, alpha=0.12, linewidth=0)
    if METRICS[metric].fraction:
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0))
    elif all(value > 0 for line in axes.get_lines() for value in map(float, line.get_ydata())):  # type: ignore[arg-type]
        axes.set_yscale("log")
    if target is not None:
        axes.axhline(target["value"], color=GREY, linestyle=(0, (5, 3)), linewidth=1.2)
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel(literal(f"best {comparison['split']} {metric}"))


def _steps(axes: Axes, comparison: Comparison, arms: Sequence[Mapping[str, Any]]) -> None:
    """Draw median steps to the target and their range; a rate that misses has no marker and interrupts the line."""
    places = places_of(comparison)
    for arm in arms:
        color, line, mark = look(places[arm["best"]])
        rates = [row["lr"] for row in arm["rates"]]
        middle = [row["steps"]["median"] if row["reached"] else math.nan for row in arm["rates"]]
        axes.plot(rates, middle, line, color=color, marker=mark, markersize=4)
    axes.set_xscale("log")
    axes.set_xlim(arms[0]["rates"][0]["lr"] / 1.4, arms[0]["rates"][-1]["lr"] * 1.4)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("learning rate")
    axes.set_ylabel("steps to target, median")


def _of_runs(comparison: Comparison, label: str, key: str) -> list[float]:
    values = [run[key] for run in comparison["runs"] if run["label"] == label and run[key] is not None]
    return [value for value in values if math.isfinite(value)]


def _short(arm: Mapping[str, Any]) -> str:
    """Return the name of the optimizer only, because panels are named by cells."""
    return str(arm["optimizer_label"] or arm["arm"])
