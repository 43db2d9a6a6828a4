"""Learning curves, times to target and performance profiles."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from momentum_cli.benchmark.pictures.panels import _MOST_NAMES_INSIDE, Points, legend, look, panels_of, places_of
from momentum_cli.benchmark.results.statistics import LARGEST_RATIO, Point, performance_profile
from momentum_cli.benchmark.tables.comparison import baseline_of, comparison_title, speed_up_text
from momentum_cli.benchmark.tables.conclusion import conclusion
from momentum_cli.metrics import METRICS
from momentum_cli.pictures.style import GREY, literal
from momentum_cli.wording import INFINITY, metric_text, time_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_AXIS_NAMES = {"train_seconds": "training seconds", "steps": "optimizer steps"}


def band(curves: Sequence[Sequence[Point]], clock: str) -> tuple[list[float], list[float], list[float], list[float]]:
    """Return the median and the range of several runs on their common grid.

    At each step of the grid: the median, smallest and largest value of the runs, and their median time. A run that has
    stopped keeps its last value, because leaving it out would bend the curve of the others.

    Args:
        curves: evaluations of each run.
        clock: ``"train_seconds"`` or ``"steps"``, of the first list.

    Returns:
        Times (or steps), medians, minima, maxima; all empty without evaluations.
    """
    alive = [curve for curve in curves if curve]
    xs: list[float] = []
    middle: list[float] = []
    low: list[float] = []
    high: list[float] = []
    for step in sorted({point.step for curve in alive for point in curve}):
        here = [point for curve in alive for point in curve if point.step == step]
        values = [[p.value for p in curve if p.step <= step][-1:] for curve in alive]
        finite = [value for row in values for value in row if math.isfinite(value)]
        if not finite:
            continue
        xs.append(float(step) if clock == "steps" else median([point.train_seconds for point in here]))
        middle.append(median(finite))
        low.append(min(finite))
        high.append(max(finite))
    return xs, middle, low, high


def _curves(comparisons: Sequence[Mapping[str, Any]], points: Points, scored: str, width: float) -> Figure:
    rows = max(len(comparison["cells"]) for comparison in comparisons)
    figure, panels = panels_of(len(comparisons), width, 3.9 + (0.1 * rows if rows > _MOST_NAMES_INSIDE else 0))
    for axes, comparison in zip(panels, comparisons, strict=True):
        places = places_of(comparison)
        for cell in comparison["cells"]:
            runs = [run for run in comparison["runs"] if run["label"] == cell["label"]]
            xs, middle, low, high = band([points.get(run["id"], ()) for run in runs], scored)
            color, line, mark = look(places[cell["label"]])
            # time increases in each run, but the median over those still running need not
            order = sorted(range(len(xs)), key=lambda i: xs[i])
            sort = [[values[i] for i in order] for values in (xs, middle, low, high)]
            every = max(1, len(xs) // 12)
            label = literal(cell["label"])
            axes.plot(sort[0], sort[1], line, color=color, marker=mark, markersize=4, markevery=every, label=label)
            axes.fill_between(sort[0], sort[2], sort[3], color=color, alpha=0.15, linewidth=0)
        _metric_axis(axes, comparison)
        axes.set_xlabel(_AXIS_NAMES[scored])
        axes.set_xlim(left=0)
        axes.set_title(literal(comparison_title(comparison)))
        legend(axes, len(comparison["cells"]))
    return figure


def _metric_axis(axes: Axes, comparison: Mapping[str, Any]) -> None:
    from matplotlib.ticker import PercentFormatter

    metric, target = comparison["metric"], comparison["target"]
    axes.set_ylabel(literal(f"{comparison['split']} {metric}"))
    if METRICS[metric].fraction:
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0))
    else:
        low, high = axes.get_ylim()
        drawn = [y for line in axes.get_lines() for y in map(float, line.get_ydata()) if y > 0]  # type: ignore[arg-type]
        if drawn and max(drawn) > 20 * min(drawn):
            axes.set_yscale("log")
            axes.set_ylim(min(drawn) / 1.5, high if low < high else None)
    if target is not None:
        label = f"target {metric_text(metric, target['value'])}"
        if "baseline" in target:
            label = f"{target['baseline']}'s best, the target"
            axes.axhspan(min(target["values"]), max(target["values"]), color=GREY, alpha=0.12, linewidth=0)
        axes.axhline(target["value"], color=GREY, linestyle=(0, (5, 3)), linewidth=1.2, label=literal(label))


def _times(summary: Mapping[str, Any], width: float, *, sentences: bool) -> Figure:
    """Draw one dot per seed, a bar at the median and the speed-up on the right; misses are at the right edge.

    Args:
        summary: the content of bench.json.
        width: in inches.
        sentences: write what the comparison shows below each panel.
    """
    scored = summary["scored"]
    chosen = [comparison for comparison in summary["comparisons"] if comparison["target"]]
    rows = max(len(comparison["cells"]) for comparison in chosen)
    figure, panels = panels_of(len(chosen), width, 1.3 + 0.42 * rows + (0.75 if sentences else 0))
    for axes, comparison in zip(panels, chosen, strict=True):
        cells = comparison["cells"]
        times = {
            cell["label"]: [run["to_target"][scored] for run in comparison["runs"] if run["label"] == cell["label"]]
            for cell in cells
        }
        finite = [time for row in times.values() for time in row if math.isfinite(time)]
        edge = 1.12 * max(finite, default=1.0)
        any_miss = False
        places = places_of(comparison)
        for number, cell in enumerate(cells):
            color, _, mark = look(places[cell["label"]])
            row = times[cell["label"]]
            hits = [time for time in row if math.isfinite(time)]
            axes.plot(hits, [number] * len(hits), mark, color=color, markersize=6, alpha=0.75)
            misses = len(row) - len(hits)
            any_miss = any_miss or misses > 0
            if misses:
                axes.plot([edge], [number], ">", color=color, markersize=7, clip_on=False)
                words = f"{misses} of {len(row)} missed"
                axes.annotate(
                    words, (edge, number), (-8, 0), textcoords="offset points", ha="right", va="center", fontsize=9
                )
            middle = median(row)
            if math.isfinite(middle):
                axes.plot(
                    [middle, middle], [number - 0.3, number + 0.3], color=color, linewidth=3, solid_capstyle="butt"
                )
                text = time_text(middle) if scored == "train_seconds" else f"{middle:,.0f}"
                axes.annotate(text, (middle, number - 0.34), ha="center", va="bottom", fontsize=8)
            if "speed_up" in cell:
                words = speed_up_text(cell, baseline_of(comparison, summary))
                axes.annotate(words, (1.02, number), xycoords=("axes fraction", "data"), va="center", fontsize=8)
        axes.set_yticks(range(len(cells)), [literal(cell["label"]) for cell in cells])
        axes.set_ylim(len(cells) - 0.4, -0.75)
        axes.set_xlim(0, edge if any_miss or not finite else 1.06 * max(finite))
        axes.set_xlabel(
            f"{_AXIS_NAMES[scored]} to target (bar: median" + (f", arrow: {INFINITY})" if any_miss else ")")
        )
        axes.set_title(literal(comparison_title(comparison)))
        axes.grid(axis="y", visible=False)
        found = conclusion(comparison, summary) if sentences else None
        if found is not None:
            # The width of the panel: about fifteen letters per inch.
            lines = textwrap.fill(literal(found), round(15 * width))
            axes.annotate(
                lines, (0, 0), (0, -42), xycoords="axes fraction", textcoords="offset points", va="top", fontsize=8
            )
    return figure


def _profile(aggregate: Mapping[str, Any], width: float) -> Figure:
    figure, (axes,) = panels_of(1, width, 3.6)
    largest = aggregate["largest_ratio"] or LARGEST_RATIO
    for number, cell in enumerate(aggregate["cells"]):
        color, line, mark = look(number)
        jumps = sorted({1.0, *(ratio for ratio in cell["ratios"] if 1 < ratio <= largest), largest})
        heights = [performance_profile(cell["ratios"], factor) for factor in jumps]
        label = literal(f"{cell['label']} ({cell['score']:.2f})")
        axes.step(jumps, heights, line, where="post", color=color, marker=mark, markersize=4, label=label)
    axes.set_xlim(1, largest)
    axes.set_ylim(-0.03, 1.05)
    axes.set_xlabel("τ: time at most τ times that of the best cell")
    axes.set_ylabel("part of the recipes")
    axes.set_title(f"performance profile over {len(aggregate['recipes'])} recipes (integrated score)")
    axes.legend(loc="best", fontsize=9)
    return figure
