"""Pictures of a benchmark: curves, times to target, performance profile; as PNG files and as SVG inside the report.

Those of a grid of learning rates are in `momentum_cli.benchmark.rate_pictures`, of one over options in `grid_pictures`.

An SVG in a page takes the colours of the page: each is a CSS variable with the printed one as fallback, so that it
reads on a dark page too.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from momentum_cli.benchmark.statistics import LARGEST_RATIO, Point, Traces, median, performance_profile
from momentum_cli.benchmark.tables import comparison_title
from momentum_cli.errors import RunError
from momentum_cli.pictures.style import GREY, GRID, PALETTE, TEXT, house_style, literal, save
from momentum_cli.runs.files import replacing
from momentum_cli.wording import INFINITY, metric_text, time_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Points = Mapping[str, Sequence[Point]]
WIDTH = 7.2
_MARKS = "osD^vP*X"
_LINES = ("-", "--", "-.", ":")
_MOST_NAMES_INSIDE = 7
# A panel with this label keeps its title in a page: several panels of one comparison have names of their own.
KEEP_TITLE = "named"
_AXIS_NAMES = {"train_seconds": "training seconds", "steps": "optimizer steps"}


def draw_bench(summary: Mapping[str, Any], points: Points, folder: Path, traces: Traces | None = None) -> None:
    """Write the pictures that `figures` names, each as a PNG file.

    Args:
        summary: the content of bench.json.
        points: id of a run -> its evaluations.
        folder: where to.
        traces: id of a run -> what its optimizer told of itself.

    Raises:
        RunError: a picture could not be drawn.
    """
    for name, figure in figures(summary, points, traces=traces).items():
        path = folder / f"{name}.png"
        try:
            with house_style(), replacing(path) as temporary:
                save(figure(), temporary)
        except Exception as error:
            raise RunError(f"could not draw {path}: {error}") from error


def svg_pictures(
    summary: Mapping[str, Any],
    points: Points,
    prefix: str,
    width: float | None = None,
    only: str = "",
    traces: Traces | None = None,
) -> dict[str, str]:
    """Return the pictures as SVG elements for a page.

    Args:
        prefix: begins every id, so that several pictures in a page do not share one.
        width: in inches; letters keep their size, so a small one is for small screens.
        only: name of the picture that is wanted; "" for all.
    """
    pictures = {}
    for name, figure in figures(summary, points, width or WIDTH, traces).items():
        if only not in ("", name):
            continue
        buffer = io.StringIO()
        with house_style():
            drawn = figure()
            for axes in drawn.axes:
                if axes.get_label() != KEEP_TITLE:
                    axes.set_title("")  # the page has headings
            drawn.savefig(buffer, format="svg", transparent=True, bbox_inches="tight", pad_inches=0.05)
        pictures[name] = _for_page(buffer.getvalue(), f"{prefix}-{name}", name.replace("_", " "))
    return pictures


def figures(
    summary: Mapping[str, Any], points: Points, width: float = WIDTH, traces: Traces | None = None
) -> dict[str, Callable[[], Figure]]:
    """Return what draws each picture that this benchmark has.

    ``curves`` always; ``time_to_target`` with a target; ``profile`` for three or more recipes; ``rates`` and
    ``heat_map`` with a grid of learning rates; ``grid`` with one over options; ``diagnostics`` where optimizers told of
    themselves.
    """
    from momentum_cli.benchmark.grid_pictures import draw_grid
    from momentum_cli.benchmark.rate_pictures import draw_diagnostics, draw_heat_map, draw_rates, has_diagnostics

    comparisons, scored = summary["comparisons"], summary["scored"]
    pictures: dict[str, Callable[[], Figure]] = {}
    if any(comparison.get("arms") for comparison in comparisons):
        pictures["heat_map"] = lambda: draw_heat_map(comparisons, width)
        pictures["rates"] = lambda: draw_rates(comparisons, width)
    if any(comparison.get("grids") for comparison in comparisons):
        pictures["grid"] = lambda: draw_grid(comparisons, width)
    pictures["curves"] = lambda: _curves(comparisons, points, scored, width)
    if any(comparison["target"] for comparison in comparisons):
        pictures["time_to_target"] = lambda: _times(comparisons, scored, width)
    if traces and has_diagnostics(comparisons, traces):
        pictures["diagnostics"] = lambda: draw_diagnostics(comparisons, traces, width)
    aggregate = summary["aggregate"]
    if aggregate is not None and any(cell["score"] is not None for cell in aggregate["cells"]):
        pictures["profile"] = lambda: _profile(aggregate, width)
    return pictures


def band(curves: Sequence[Sequence[Point]], clock: str) -> tuple[list[float], list[float], list[float], list[float]]:
    """Return the median and the range of several runs on their common grid.

    At each step of the grid: the median, least and largest value of the runs that got there, and their median time. A
    run that has stopped is held at its last value, because leaving it out would bend the curve of those that go on.

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
            # time goes on monotonically in each run, the median over those still running need not
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


def legend(axes: Axes, count: int) -> None:
    """Name the curves: inside where there is room for their names, else below in columns."""
    if count <= _MOST_NAMES_INSIDE:
        axes.legend(loc="best", fontsize=9)
    else:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, fontsize=8, handlelength=3.2)


def _metric_axis(axes: Axes, comparison: Mapping[str, Any]) -> None:
    from matplotlib.ticker import PercentFormatter

    metric, target = comparison["metric"], comparison["target"]
    axes.set_ylabel(literal(f"{comparison['split']} {metric}"))
    if metric.endswith("accuracy"):
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0))
    else:
        low, high = axes.get_ylim()
        drawn = [y for line in axes.get_lines() for y in map(float, line.get_ydata()) if y > 0]  # type: ignore[arg-type]
        if drawn and max(drawn) > 20 * min(drawn):
            axes.set_yscale("log")
            axes.set_ylim(min(drawn) / 1.5, high if low < high else None)
    if target is not None:
        label = f"target {metric_text(metric, target['value'])}"
        axes.axhline(target["value"], color=GREY, linestyle=(0, (5, 3)), linewidth=1.2, label=literal(label))


def _times(comparisons: Sequence[Mapping[str, Any]], scored: str, width: float) -> Figure:
    """A dot a seed, a bar at the median; misses stand at the right edge."""
    chosen = [comparison for comparison in comparisons if comparison["target"]]
    rows = max(len(comparison["cells"]) for comparison in chosen)
    figure, panels = panels_of(len(chosen), width, 1.3 + 0.42 * rows)
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
        axes.set_yticks(range(len(cells)), [literal(cell["label"]) for cell in cells])
        axes.set_ylim(len(cells) - 0.4, -0.75)
        axes.set_xlim(0, edge if any_miss or not finite else 1.06 * max(finite))
        axes.set_xlabel(
            f"{_AXIS_NAMES[scored]} to target (bar: median" + (f", arrow: {INFINITY})" if any_miss else ")")
        )
        axes.set_title(literal(comparison_title(comparison)))
        axes.grid(axis="y", visible=False)
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


def places_of(comparison: Mapping[str, Any]) -> dict[str, int]:
    """Return the number of each row for `look`, by label: optimizers differ in colour, cells with them in the line."""
    cells = comparison["cells"]
    names = [list(dict.fromkeys(cell.get(key) for cell in cells)) for key in ("cell_label", "optimizer_label")]
    if 1 < len(names[1]) <= len(PALETTE):
        return {
            cell["label"]: names[1].index(cell["optimizer_label"]) + len(PALETTE) * names[0].index(cell["cell_label"])
            for cell in cells
        }
    return {cell["label"]: number for number, cell in enumerate(cells)}


def panels_of(count: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Return a figure of panels below each other."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height * count), layout="constrained")
    return figure, list(figure.subplots(count, 1, squeeze=False)[:, 0])


def look(number: int) -> tuple[str, str, str]:
    """Colour, line and mark of the n-th cell: told apart without colour too."""
    return PALETTE[number % len(PALETTE)], _LINES[number // len(PALETTE) % len(_LINES)], _MARKS[number % len(_MARKS)]


def _for_page(svg: str, prefix: str, title: str) -> str:
    """Turn a file that matplotlib wrote into an element of a page: own ids, the page's colours and font, a name."""
    svg = svg[svg.index("<svg") :]
    for element in ("metadata", "style"):  # the style is written for a file of its own and would act on the whole page
        svg = re.sub(rf"<{element}\b.*?</{element}>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", svg)
    svg = re.sub(r'xlink:href="#([^"]+)"', rf'href="#{prefix}-\1"', svg)
    names = {color.lower(): f"--cell-{number}" for number, color in enumerate(PALETTE)}
    names |= {TEXT: "--text", GRID: "--grid", GREY: "--faint"}
    for color, name in names.items():
        svg = re.sub(rf"(?<![\w-]){color}\b", f"var({name}, {color})", svg, flags=re.IGNORECASE)
    svg = re.sub(r"font-family: [^;\"]*", "font-family: inherit", svg)
    # The size comes from the page; the viewBox keeps the shape.
    opening = svg[: svg.index(">")]
    view = re.search(r'viewBox="[^"]+"', opening)
    attributes = f'{view[0] if view else ""} role="img" aria-label="{title}" xmlns="http://www.w3.org/2000/svg"'
    return f"<svg {attributes}{svg[svg.index('>') :]}"
