"""Learning curves of a run."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from momentum_cli.errors import RunError
from momentum_cli.metrics import METRICS
from momentum_cli.pictures.style import GREY, PALETTE, SPLIT_STYLE, drawing, literal, plain_log
from momentum_cli.runs.metrics_log import LEADING, TRAILING, diagnostic_names, read_metrics
from momentum_cli.wording import metric_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row = Mapping[str, Any]

MOST_MARKS = 40


def curves(
    source: Path | Sequence[Row],
    target: tuple[str, float] | None,
    path: Path,
    *,
    metric: str | None = None,
    title: str = "",
    columns: int | None = None,
) -> None:
    """Draw the loss and the headline metric of a run against its optimizer steps.

    The diagnostics of the optimizer, such as the momentum β that an adaptive one chose, have a separate panel.

    The training loss is shown raw and smoothed; evaluations are marked, the best one with a star; the target is a
    dashed line.

    Args:
        source: a run folder, or the rows of `read_metrics`.
        target: (metric, value) of the target line, or None.
        path: the picture; its ending (png, svg, pdf) is its format. It is written whole or not at all.
        metric: name of the headline metric; None: that of the target, or else the first one other than the loss.
        title: above the left panel.
        columns: panels next to each other at most, >= 1; with 1 they are narrow, for small screens. None: all of them.

    Raises:
        DataError: the folder holds no metrics, or damaged ones.
        RunError: there is nothing to draw, or drawing failed.
    """
    rows = list(read_metrics(source)) if isinstance(source, Path) else list(source)
    if not rows:
        raise RunError(f"could not draw {path}: there are no metrics yet")
    name = metric or _headline(rows, target)
    diagnostics = diagnostic_names(rows)
    count = 1 + bool(name) + bool(diagnostics)
    across = min(count, columns or count)
    lines = -(-count // across)
    size = (4.7, 3.6 * lines) if columns == 1 else (0.5 + 5.0 * across, 4.2 * lines)
    with drawing(path, *size) as figure:
        panels = figure.subplots(lines, across, squeeze=False).ravel()
        for axes in panels[count:]:
            axes.set_axis_off()
        panels = panels[:count]
        if title:
            figure.suptitle(literal(title), x=0.01, ha="left", fontsize=12, fontweight="bold")
        _loss_panel(panels[0], rows)
        if name:
            _metric_panel(panels[1], rows, name, target[1] if target is not None and target[0] == name else None)
        if diagnostics:
            _diagnostics_panel(panels[-1], rows, diagnostics)
        for axes in panels:
            _step_axis(axes, rows)


def _headline(rows: Sequence[Row], target: tuple[str, float] | None) -> str | None:
    names = [name for row in rows if row.get("kind") == "eval" for name in row if name not in (*LEADING, *TRAILING)]
    if target is not None and target[0] in names:
        return target[0]
    return names[0] if names else None


def _series(rows: Sequence[Row], kind: str, split: str | None, name: str) -> tuple[list[int], list[float]]:
    """Steps and finite values of a column; the infinite loss of a skipped step would flatten everything else."""
    points = [
        (row["step"], float(row[name]))
        for row in rows
        if row.get("kind") == kind and split in (None, row.get("split")) and row.get(name) is not None
    ]
    points = [(step, value) for step, value in points if math.isfinite(value)]
    return [step for step, _ in points], [value for _, value in points]


def _smoothed(values: Sequence[float]) -> list[float]:
    """Average of about sqrt(n) neighbours, as many before as after each point, so the curve does not lag behind."""
    sums = [0.0, *itertools.accumulate(values)]
    count, half = len(values), int(math.sqrt(len(values)) / 2)
    result = []
    for index in range(count):
        reach = min(half, index, count - 1 - index)
        result.append((sums[index + reach + 1] - sums[index - reach]) / (2 * reach + 1))
    return result


def _splits(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(str(row.get("split")) for row in rows if row.get("kind") == "eval"))


def _evaluations(axes: Axes, rows: Sequence[Row], name: str) -> list[float]:
    """Draw one curve per split; return every value drawn."""
    drawn: list[float] = []
    for split in _splits(rows):
        steps, values = _series(rows, "eval", split, name)
        if values:
            color, line, mark = SPLIT_STYLE.get(split, (PALETTE[3], "-.", "^"))
            every = max(1, len(values) // MOST_MARKS)
            axes.plot(steps, values, line, color=color, marker=mark, markersize=4, markevery=every, label=split)
            drawn += values
    return drawn


def _loss_panel(axes: Axes, rows: Sequence[Row]) -> None:
    steps, values = _series(rows, "train", None, "loss")
    color = SPLIT_STYLE["train"][0]
    if values:
        axes.plot(steps, values, color=color, alpha=0.25, linewidth=0.8)
        axes.plot(steps, _smoothed(values), color=color, label="train (smoothed)")
    drawn = _smoothed(values) + _evaluations(axes, rows, "loss")
    axes.set_title("loss")
    if not drawn:
        axes.text(0.5, 0.5, "no loss yet", ha="center", va="center", transform=axes.transAxes, color=GREY)
        return
    lowest, highest = min(values + drawn), max(values + drawn)
    if lowest > 0 and highest / lowest > 30:
        axes.set_yscale("log")
        plain_log(axes.yaxis, highest / lowest)
    elif values and highest > 3 * max(drawn):  # a single spike must not flatten the curve
        axes.set_ylim(top=1.5 * max(drawn))
    axes.legend()


def _metric_panel(axes: Axes, rows: Sequence[Row], name: str, target: float | None) -> None:
    from matplotlib.ticker import FuncFormatter

    drawn = _evaluations(axes, rows, name)
    axes.set_title(literal(name))
    if METRICS[name].fraction:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.6g} %"))
    if target is not None:
        axes.axhline(
            target, color=GREY, linestyle=(0, (5, 3)), linewidth=1.2, label=f"target {metric_text(name, target)}"
        )
    if drawn:
        split = _splits(rows)[0]
        steps, values = _series(rows, "eval", split, name)
        best = (max if METRICS[name].higher_is_better else min)(values)
        axes.plot(
            steps[values.index(best)],
            best,
            linestyle="",
            marker="*",
            markersize=13,
            color=PALETTE[4],
            markeredgecolor="black",
            markeredgewidth=0.6,
            label=f"best {metric_text(name, best)}",
            zorder=5,
        )
    axes.legend()


def _diagnostics_panel(axes: Axes, rows: Sequence[Row], names: Sequence[str]) -> None:
    for number, name in enumerate(names):
        steps, values = _series(rows, "train", None, name)
        color = PALETTE[(number + 2) % len(PALETTE)]
        if values:
            axes.plot(steps, values, color=color, alpha=0.3, linewidth=0.8)
            axes.plot(steps, _smoothed(values), color=color, label=literal(f"{name} (smoothed)"))
    axes.set_title("chosen by the optimizer")
    if axes.get_lines():
        axes.legend()


def _step_axis(axes: Axes, rows: Sequence[Row]) -> None:
    """Label steps below and, if evaluations come at the ends of epochs, epochs above."""
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    axes.set_xlabel("optimizer step")
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    ends = [row["step"] / row["epoch"] for row in rows if row.get("kind") == "eval" and row.get("epoch")]
    if len(ends) > 1 and min(ends) > 0 and max(ends) - min(ends) < 1e-9:
        length = ends[0]
        above = axes.secondary_xaxis("top", functions=(lambda step: step / length, lambda epoch: epoch * length))
        above.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        above.set_xlabel("epoch", loc="right", color=GREY, fontsize=9)
        above.tick_params(colors=GREY, labelsize=9)
        above.spines["top"].set_visible(False)
