"""All pictures of a benchmark, as PNG files and as SVG inside the report.

An SVG in a page uses the colours of the page: each is a CSS variable with the printed colour as fallback, so that it is
legible on a dark page too.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from momentum_cli.benchmark.pictures.curves import _curves, _profile, _times
from momentum_cli.benchmark.pictures.panels import (
    KEEP_TITLE,
    WIDTH,
    Points,
)
from momentum_cli.benchmark.results.statistics import Traces
from momentum_cli.errors import RunError
from momentum_cli.pictures.page import for_page
from momentum_cli.pictures.style import house_style, save
from momentum_cli.runs.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_bench(summary: Mapping[str, Any], points: Points, folder: Path, traces: Traces | None = None) -> None:
    """Write the pictures that `figures` names, each as a PNG file.

    Args:
        summary: the content of bench.json.
        points: id of a run -> its evaluations.
        folder: where to write them.
        traces: id of a run -> diagnostics of its optimizer.

    Raises:
        RunError: a picture could not be drawn.
    """
    for name, figure in figures(summary, points, traces=traces, sentences=True).items():
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
        prefix: prefix of every id, so that ids are unique in a page.
        width: in inches; letters keep their size, so a small width is for small screens.
        only: name of one picture; "" for all.
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
        pictures[name] = for_page(buffer.getvalue(), f"{prefix}-{name}", name.replace("_", " "))
    return pictures


def figures(
    summary: Mapping[str, Any],
    points: Points,
    width: float = WIDTH,
    traces: Traces | None = None,
    *,
    sentences: bool = False,
) -> dict[str, Callable[[], Figure]]:
    """Return a drawing function for each picture of this benchmark; `sentences` adds the conclusion in words.

    ``curves`` always; a figure of the paper under its name; ``time_to_target`` with a target; ``profile`` for three or
    more recipes; ``rates`` and ``heat_map`` with a grid of learning rates; ``grid`` with one over options;
    ``diagnostics`` where optimizers have any.
    """
    from momentum_cli.benchmark.pictures.grid import draw_grid
    from momentum_cli.benchmark.pictures.paper import draw_figure
    from momentum_cli.benchmark.pictures.rates import draw_diagnostics, draw_heat_map, draw_rates, has_diagnostics

    comparisons, scored = summary["comparisons"], summary["scored"]
    pictures: dict[str, Callable[[], Figure]] = {}
    if any(comparison.get("arms") for comparison in comparisons):
        pictures["heat_map"] = lambda: draw_heat_map(comparisons, width)
        pictures["rates"] = lambda: draw_rates(comparisons, width)
    if any(comparison.get("grids") for comparison in comparisons):
        pictures["grid"] = lambda: draw_grid(comparisons, width)
    if summary.get("figure") and comparisons:
        pictures[summary["figure"]] = lambda: draw_figure(summary, points, width)
    pictures["curves"] = lambda: _curves(comparisons, points, scored, width)
    if any(comparison["target"] for comparison in comparisons):
        pictures["time_to_target"] = lambda: _times(summary, width, sentences=sentences)
    if traces and has_diagnostics(comparisons, traces):
        pictures["diagnostics"] = lambda: draw_diagnostics(comparisons, traces, width)
    aggregate = summary["aggregate"]
    if aggregate is not None and any(cell["score"] is not None for cell in aggregate["cells"]):
        pictures["profile"] = lambda: _profile(aggregate, width)
    return pictures
