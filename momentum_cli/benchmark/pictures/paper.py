"""The figures of the MomentumRNN paper made from our runs, next to the published values.

Figures 2 and 3 are learning curves: training loss, loss and accuracy over epochs. Figure 4 is about time: that of an
epoch, and the whole time to the accuracy of the LSTM.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from momentum_cli.benchmark.pictures.curves import band
from momentum_cli.benchmark.pictures.panels import KEEP_TITLE, Points, look
from momentum_cli.benchmark.plan.figures import FIGURES, PUBLISHED_SIZE
from momentum_cli.benchmark.results.statistics import Point
from momentum_cli.benchmark.tables.total_time import Times, our_times, their_times
from momentum_cli.messages import counted, plural
from momentum_cli.metrics import METRICS
from momentum_cli.pictures.style import literal
from momentum_cli.wording import metric_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_figure(summary: Mapping[str, Any], points: Points, width: float) -> Figure:
    """Draw the figure that the benchmark was made for.

    Args:
        summary: the content of bench.json, with ``figure``.
        points: id of a run -> its evaluations.
        width: in inches.
    """
    if FIGURES[summary["figure"]].target == "baseline":
        return _times(summary, width)
    return _learning(summary, points, width)


def _learning(summary: Mapping[str, Any], points: Points, width: float) -> Figure:
    from matplotlib.figure import Figure

    comparisons = summary["comparisons"]
    columns = 3 if width > 6 else 1
    rows = len(comparisons) * 3 // columns
    figure = Figure(figsize=(1.35 * width if columns == 3 else width, 2.9 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for number, comparison in enumerate(comparisons):
        training, loss, metric = grid[3 * number : 3 * number + 3]
        in_epochs = _in_epochs(comparison)
        for place, cell in enumerate(comparison["cells"]):
            runs = [run for run in comparison["runs"] if run["label"] == cell["label"]]
            at = {tuple(row[:2]) for run in runs for row in run["losses"]}
            scale = {step: epoch if in_epochs else step for step, epoch in at}
            for axes, column in ((training, 2), (loss, 3)):
                curves = [[Point(row[0], 0, 0.0, 0.0, row[column]) for row in run["losses"]] for run in runs]
                _band(axes, curves, scale, place, cell["label"])
            _band(metric, [points.get(run["id"], ()) for run in runs], scale, place, cell["label"])
            theirs = (comparison["published"] or {}).get(cell["label"])
            if theirs is not None and theirs["metric"] == comparison["metric"]:
                metric.axhline(theirs["value"], color=look(place)[0], linestyle=":", linewidth=1.2)
        _axis(training, "training loss", comparison, in_epochs)
        _axis(loss, f"{comparison['split']} loss", comparison, in_epochs)
        _axis(metric, f"{comparison['split']} {comparison['metric']}", comparison, in_epochs)
        if METRICS[comparison["metric"]].fraction:
            from matplotlib.ticker import PercentFormatter

            metric.yaxis.set_major_formatter(PercentFormatter(xmax=1.0, decimals=0))
        training.legend(fontsize=8)
        if words := _published_words(comparison):
            metric.set_xlabel(f"{metric.get_xlabel()}\n{words}", fontsize=8)
    return figure


def _in_epochs(comparison: Mapping[str, Any]) -> bool:
    """Return True if every evaluation is at the end of another epoch."""
    return all(row[1] == number for run in comparison["runs"] for number, row in enumerate(run["losses"], start=1))


def _band(axes: Axes, curves: Sequence[Sequence[Point]], scale: Mapping[int, int], place: int, label: str) -> None:
    xs, middle, low, high = band(curves, "steps")
    color, line, mark = look(place)
    at = [scale.get(int(x), int(x)) for x in xs]
    axes.plot(
        at, middle, line, color=color, marker=mark, markersize=3, markevery=max(1, len(at) // 12), label=literal(label)
    )
    axes.fill_between(at, low, high, color=color, alpha=0.15, linewidth=0)


def _axis(axes: Axes, what: str, comparison: Mapping[str, Any], in_epochs: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    size = comparison["recipe"]["model"]["hidden_size"]
    axes.set_label(KEEP_TITLE)
    axes.set_title(literal(f"{comparison['task']}, N = {size}"), fontsize=9)
    axes.set_ylabel(literal(what), fontsize=9)
    axes.set_xlabel("epochs" if in_epochs else "optimizer steps", fontsize=9)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))


def _published_words(comparison: Mapping[str, Any]) -> str:
    theirs = [entry for entry in (comparison["published"] or {}).values() if entry["metric"] == comparison["metric"]]
    if not theirs:
        return ""
    epochs = sorted({entry["epochs"] for entry in theirs if entry["epochs"]})
    after = f" after {' or '.join(map(str, epochs))} {plural('epoch', epochs[-1])}" if epochs else ""
    return f"dotted: published{after}"


def _times(summary: Mapping[str, Any], width: float) -> Figure:
    from matplotlib.figure import Figure

    (comparison,) = summary["comparisons"][:1]
    ours, theirs = our_times(comparison, summary), their_times()
    panels = [
        (ours, "epoch", "ours", f"seconds per epoch, N = {comparison['recipe']['model']['hidden_size']}"),
        (ours, "total", "ours", f"{ours.unit} to the best {comparison['metric']} of {comparison['baseline']}"),
        (theirs, "epoch", "published", f"seconds per epoch, N = {PUBLISHED_SIZE}, on their GPU"),
        (theirs, "total", "published", f"{theirs.unit} to {metric_text('accuracy', theirs.target)}"),
    ]
    panels = [panel for panel in panels if panel[1] == "total" or panel[0].epoch]
    columns = 2 if width > 6 and len(panels) == 4 else 1
    rows = len(panels) // columns
    height = 0.9 + 0.36 * max(len(comparison["cells"]), len(theirs.total))
    figure = Figure(figsize=(1.2 * width if columns == 2 else width, height * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (times, which, title, words) in zip(grid, panels, strict=True):
        axes.set_label(KEEP_TITLE)
        _bars(axes, times, which)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel(literal(words), fontsize=9)
    return figure


def _bars(axes: Axes, times: Times, which: str) -> None:
    """Draw one bar per cell, a dot per seed, and on the whole time how many times as fast as the baseline it is."""
    values = times.epoch if which == "epoch" else times.total
    labels = list(values)
    finite = [value for row in values.values() for value in row if math.isfinite(value)]
    edge = max(finite, default=1.0)
    for number, label in enumerate(labels):
        color, row = look(times.places.get(label, number))[0], values[label]
        middle, hits = times.middle(which, label), [value for value in row if math.isfinite(value)]
        if math.isfinite(middle):
            axes.barh(number, middle, 0.62, color=color, alpha=0.8)
            text, end = times.text(which, label), max(hits)
        elif hits:
            text, end = f"reached in {len(hits)} of {counted(len(row), 'run')}", max(hits)
        else:
            text, end = "not reached", 0
        axes.annotate(text, (end, number), (6, 0), textcoords="offset points", va="center", fontsize=8)
        if len(row) > 1:
            axes.plot(hits, [number] * len(hits), "o", color="black", markersize=3, alpha=0.6)
    axes.set_yticks(range(len(labels)), [literal(label) for label in labels], fontsize=9)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set_xlim(0, 1.38 * edge)
    axes.grid(axis="y", visible=False)
