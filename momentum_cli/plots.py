"""Pictures of a run: learning curves and a confusion matrix.

Figures are made as objects and drawn by the Agg renderer; pyplot, its global state and its windows are never touched.
Colours are from Okabe and Ito's palette, which colour-blind readers tell apart; lines differ in style and mark as well.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from momentum_cli.errors import MomentumError, RunError
from momentum_cli.runs.files import replacing
from momentum_cli.runs.metrics_log import LEADING, TRAILING, diagnostic_names, read_metrics
from momentum_cli.wording import metric_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = Mapping[str, Any]

# Okabe & Ito, "Color Universal Design" (2008)
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
SPLIT_STYLE = {"train": (PALETTE[0], "-", ""), "validation": (PALETTE[1], "-", "o"), "test": (PALETTE[2], "--", "s")}
GREY = "#666666"
MOST_MARKS = 40
MOST_NUMBERED_CLASSES = 20
MOST_LINES = 8
MOST_NAMED_CLASSES = 60

STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": GREY,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",
}


def curves(
    source: Path | Sequence[Row],
    target: tuple[str, float] | None,
    path: Path,
    *,
    metric: str | None = None,
    title: str = "",
) -> None:
    """Draw the loss and the headline metric of a run against its optimizer steps.

    What the optimizer told of itself, such as the momentum β that an adaptive one chose, has a panel of its own.

    The training loss is shown as it was read and smoothed; evaluations are marked, the best one with a star, the target
    is a dashed line.

    Args:
        source: a run folder, or the rows of `read_metrics`.
        target: (metric, value) of the target line, or None.
        path: the picture; its ending (png, svg, pdf) is its format. It is written whole or not at all.
        metric: name of the headline metric; None: the target's, or the first one in the rows besides the loss.
        title: above the left panel.

    Raises:
        DataError: the folder holds no metrics, or damaged ones.
        RunError: there is nothing to draw, or drawing failed; says why.
    """
    rows = list(read_metrics(source)) if isinstance(source, Path) else list(source)
    if not rows:
        raise RunError(f"could not draw {path}: there are no metrics yet")
    name = metric or _headline(rows, target)
    told = diagnostic_names(rows)
    count = 1 + bool(name) + bool(told)
    with _drawing(path, 0.5 + 5.0 * count, 4.2) as figure:
        panels = figure.subplots(1, count, squeeze=False)[0]
        if title:
            figure.suptitle(_literal(title), x=0.01, ha="left", fontsize=12, fontweight="bold")
        _loss_panel(panels[0], rows)
        if name:
            _metric_panel(panels[1], rows, name, target[1] if target is not None and target[0] == name else None)
        if told:
            _diagnostics_panel(panels[-1], rows, told)
        for axes in panels:
            _step_axis(axes, rows)


def confusion(
    matrix: Sequence[Sequence[int]] | Any, labels: Sequence[str] | None, path: Path, *, title: str = ""
) -> None:
    """Draw a confusion matrix.

    Args:
        matrix: (classes, classes) counts, nested lists or an array; row = true class, column = predicted class.
        labels: a name for each class, or None for 0, 1, 2, …
        path: the picture; its ending (png, svg, pdf) is its format. It is written whole or not at all.
        title: above the matrix; None or "": the share on the diagonal.

    Raises:
        RunError: the matrix is not square, the labels do not fit it, or drawing failed.
    """
    import numpy as np
    from matplotlib.colors import PowerNorm

    counts = np.asarray(matrix, dtype=float)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not counts.size:
        raise RunError(f"a confusion matrix is square with at least one class, got shape {counts.shape}")
    classes = counts.shape[0]
    names = [str(name) for name in (labels if labels is not None else range(classes))]
    if len(names) != classes:
        raise RunError(f"got {len(names)} labels for a confusion matrix of {classes} classes")
    total = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
    named = [_literal(name if len(name) <= 20 else name[:19] + "…") for name in names]
    longest = max(map(len, named))
    side = (2.0 + 0.45 * classes if classes <= MOST_NUMBERED_CLASSES else 9.0) + 0.08 * longest
    with _drawing(path, side + 0.9, side) as figure:
        axes = figure.subplots()
        axes.grid(visible=False)
        # a root scale: confusions of a few percent, which one looks for here, would be white on a linear one
        image = axes.imshow(share, cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=1), aspect="equal")
        correct = np.trace(counts) / counts.sum() if counts.sum() else math.nan
        axes.set_title(_literal(title or f"{100 * correct:.2f} % of {int(counts.sum()):,} correct"))
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        if classes <= MOST_NAMED_CLASSES:
            size = 9 if classes <= MOST_NUMBERED_CLASSES else 6
            axes.set_xticks(range(classes), named, rotation=90 if longest > 3 else 0, fontsize=size)
            axes.set_yticks(range(classes), named, fontsize=size)
        axes.tick_params(length=0)
        if classes <= MOST_NUMBERED_CLASSES:
            for row, column in np.argwhere(counts > 0):
                dark = share[row, column] > 0.3
                text = f"{int(counts[row, column]):,}" if counts[row, column] < 1e5 else f"{counts[row, column]:.1e}"
                axes.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if dark else "#222222")
        bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03)
        bar.set_label("share of the true class")
        bar.outline.set_visible(False)


def samples(sequences: Sequence[Any], titles: Sequence[str], path: Path) -> None:
    """Draw some sequences as a model takes them in: channels as lines, many channels as an image.

    Args:
        sequences: (T, D) arrays, at most a dozen.
        titles: Above each, such as its class.
        path: the picture; its ending (png, svg, pdf) is its format. It is written whole or not at all.

    Raises:
        RunError: drawing failed.
    """
    columns = min(3, len(sequences))
    rows = math.ceil(len(sequences) / columns)
    with _drawing(path, 3.6 * columns, 0.4 + 2.3 * rows) as figure:
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, sequence, title in zip(panels, sequences, titles, strict=False):
            if sequence.shape[1] > MOST_LINES:
                axes.imshow(sequence.T, aspect="auto", origin="lower", interpolation="nearest", cmap="viridis")
                axes.set_ylabel("channel")
            else:
                for channel, colour in zip(range(sequence.shape[1]), itertools.cycle(PALETTE), strict=False):
                    mark = "o" if len(sequence) == 1 else ""
                    axes.plot(sequence[:, channel], color=colour, linewidth=1.2, marker=mark)
            axes.set_title(_literal(title))
            axes.set_xlabel("step")
            axes.xaxis.get_major_locator().set_params(integer=True)
        for axes in panels[len(sequences) :]:
            axes.set_axis_off()


@contextlib.contextmanager
def _drawing(path: Path, width: float, height: float) -> Iterator[Figure]:
    """A figure that is written to `path` at the end of the block.

    Everything that goes wrong inside is told as a RunError: a picture that fails is a note, not the end of a training.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure

        # the user's matplotlibrc may ask for LaTeX or for fonts that are not there; missing glyphs are only boxes
        with warnings.catch_warnings(), mpl.rc_context():
            warnings.simplefilter("ignore")
            mpl.rcdefaults()
            mpl.rcParams.update(STYLE)
            figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
            yield figure
            with replacing(path) as temporary:
                figure.savefig(
                    temporary,
                    format=path.suffix.lstrip(".") or "png",
                    facecolor="white",
                    bbox_inches="tight",
                    pad_inches=0.15,
                )
    except MomentumError:
        raise
    except Exception as error:
        raise RunError(f"could not draw {path}: {error}") from error


def _literal(text: str) -> str:
    """User text as it is: matplotlib would read `$…$` as mathematics."""
    return text.replace("$", r"\$")


def _headline(rows: Sequence[Row], target: tuple[str, float] | None) -> str | None:
    names = [name for row in rows if row.get("kind") == "eval" for name in row if name not in (*LEADING, *TRAILING)]
    if target is not None and target[0] in names:
        return target[0]
    return names[0] if names else None


def _series(rows: Sequence[Row], kind: str, split: str | None, name: str) -> tuple[list[int], list[float]]:
    """Steps and finite values of a column: a skipped step with an infinite loss would flatten everything else."""
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
    """Draw one curve a split; returns every value drawn."""
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
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

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
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if highest / lowest < 1e3 else (1.0,)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    elif values and highest > 3 * max(drawn):  # a single spike is not allowed to press the curve to the floor
        axes.set_ylim(top=1.5 * max(drawn))
    axes.legend()


def _metric_panel(axes: Axes, rows: Sequence[Row], name: str, target: float | None) -> None:
    from matplotlib.ticker import FuncFormatter

    from momentum_cli.metrics import HIGHER_IS_BETTER  # here, because it brings torch

    drawn = _evaluations(axes, rows, name)
    axes.set_title(_literal(name))
    if name.endswith("accuracy"):
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.6g} %"))
    if target is not None:
        axes.axhline(
            target, color=GREY, linestyle=(0, (5, 3)), linewidth=1.2, label=f"target {metric_text(name, target)}"
        )
    if drawn:
        split = _splits(rows)[0]
        steps, values = _series(rows, "eval", split, name)
        best = (max if HIGHER_IS_BETTER.get(name, False) else min)(values)
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
            axes.plot(steps, _smoothed(values), color=color, label=_literal(f"{name} (smoothed)"))
    axes.set_title("chosen by the optimizer")
    if axes.get_lines():
        axes.legend()


def _step_axis(axes: Axes, rows: Sequence[Row]) -> None:
    """Steps below and, when evaluations come at the ends of epochs, epochs above."""
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
