"""Pictures of an inspection: gradient norms, spectra, impulse responses; one colour per cell in all of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from momentum_cli.pictures.style import GREY, PALETTE, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Entry = Mapping[str, Any]
# Dashes of different spacing, so that overlapping lines are both visible.
LINES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)), "-.")
TITLES = {
    "h": "‖∂L/∂h_t‖: state",
    "c": "‖∂L/∂c_t‖: cell of the LSTM",
    "d": "‖∂L/∂d_t‖: driven input, after the dynamics",
    "u": "‖∂L/∂u_t‖: projected input, before the dynamics",
    "x": "‖∂L/∂x_t‖: input",
}
_WIDTH = 9.0


def draw_gradients(entries: Sequence[Entry], stage: str, path: Path) -> None:
    """Draw the gradient norms over time, one panel per quantity, cells overlaid: median and quartiles over the batch.

    Args:
        entries: Results of `momentum_cli.inspection.gradients.measurement.measure` of one stage.
        stage: Its name, for the title.
        path: The PNG file.

    Raises:
        RunError: It could not be drawn.
    """
    order = list(dict.fromkeys(name for entry in entries for name in entry["gradients"]))
    names = sorted(order, key=lambda name: [*TITLES].index(name) if name in TITLES else 1)
    rows = -(-len(names) // 2)
    with drawing(path, _WIDTH, 0.6 + 2.5 * rows) as figure:
        panels = figure.subplots(rows, 2, squeeze=False, sharex=True)
        for axes, name in zip(panels.flat, names, strict=False):
            for number, entry in enumerate(entries):
                if name in entry["gradients"]:
                    _curve(axes, entry["gradients"][name], number, entry["label"])
            _log_axis(axes)
            axes.set_title(TITLES.get(name, f"‖∂L/∂{name}_t‖"), fontsize=10)
        for axes in list(panels.flat)[len(names) :]:
            axes.set_visible(False)
        for column in range(2):
            shown = [axes for axes in panels[:, column] if axes.get_visible()]
            shown[-1].set_xlabel("step t")
            shown[-1].xaxis.set_tick_params(labelbottom=True)
        words = {"initial": "at initialisation", "trained": "after training"}.get(stage, stage)
        figure.suptitle(f"gradient norms {words}: median and quartiles over the batch", x=0.01, ha="left", fontsize=11)
        handles, labels = panels.flat[0].get_legend_handles_labels()
        # In the free panel if there is one, else below.
        place = {"loc": "center", "bbox_to_anchor": (0.77, 0.16)} if len(names) % 2 else {"loc": "outside lower center"}
        figure.legend(handles, labels, ncols=1 if len(names) % 2 else len(labels), **place)


def draw_spectra(entries: Sequence[Entry], path: Path) -> None:
    """Draw the eigenvalue moduli of the recurrent Jacobian by rank: one row per stage, one column per step.

    Args:
        entries: Results of `momentum_cli.inspection.gradients.measurement.measure`.
        path: The PNG file.

    Raises:
        RunError: It could not be drawn.
    """
    stages = list(dict.fromkeys(entry["stage"] for entry in entries))
    columns = max(len(entry["jacobian"]) for entry in entries)
    with drawing(path, _WIDTH, 0.6 + 2.5 * len(stages)) as figure:
        panels = figure.subplots(len(stages), columns, squeeze=False, sharey=True)
        for row, stage in zip(panels, stages, strict=True):
            mine = [entry for entry in entries if entry["stage"] == stage]
            for column, axes in enumerate(row):
                for number, entry in enumerate(mine):
                    moduli = entry["jacobian"][column]["moduli"]
                    ranks = [100 * (rank + 0.5) / len(moduli) for rank in range(len(moduli))]
                    axes.plot(ranks, moduli, linestyle=LINES[number % len(LINES)], color=_color(number))
                axes.axhline(1.0, color=GREY, linestyle=(0, (5, 3)), linewidth=1.0)
                axes.set_title(f"{stage}, t = {mine[0]['jacobian'][column]['t']}", fontsize=10)
            row[0].set_ylabel("modulus")
        panels[0][0].set_ylim(0, None)  # all panels share it
        for axes in panels[-1]:
            axes.set_xlabel("rank in %")
        figure.suptitle("eigenvalues of the recurrent Jacobian, largest first", x=0.01, ha="left", fontsize=11)
        _legend_below(figure, [entry["label"] for entry in entries])


def draw_impulses(impulses: Sequence[Entry], path: Path) -> None:
    """Draw the impulse responses: their values at short lags, and their size relative to the peak at all lags.

    Args:
        impulses: Result of `momentum_cli.inspection.gradients.measurement.measure_impulses`.
        path: The PNG file.

    Raises:
        RunError: It could not be drawn.
    """
    from matplotlib.ticker import MaxNLocator

    lags = len(impulses[0]["response"])
    longest = max(entry["forgotten_after"] or lags for entry in impulses)
    short = min(lags, max(8, 2 * longest), 40)
    with drawing(path, _WIDTH, 3.2) as figure:
        left, right = figure.subplots(1, 2)
        for number, entry in enumerate(impulses):
            response = entry["response"]
            style: dict[str, Any] = {"color": _color(number), "linestyle": LINES[number % len(LINES)]}
            left.plot(range(short), response[:short], marker="osD^vP*X"[number % 8], markersize=3.5, **style)
            peak = max(map(abs, response))
            size = [abs(value) / peak for value in response]
            right.plot(range(1, lags + 1), [value if value > 0 else math.nan for value in size], **style)
            if sum(value > 0 for value in size) == 1:  # a line of one point would be invisible
                right.plot([1], [1], marker="o", color=_color(number))
        left.set_xlabel("lag τ")
        left.set_title(f"response r(τ) to an impulse at t = {impulses[0]['arrival']}", fontsize=10)
        left.axhline(0.0, color=GREY, linewidth=0.8)
        if lags > 20:
            right.set_xscale("log")
        for axes in (left, *([right] if lags <= 20 else [])):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _log_axis(right)
        right.set_ylim(1e-6, 2.0)
        right.axhline(0.05, color=GREY, linestyle=(0, (5, 3)), linewidth=1.0)
        right.set_xlabel("τ + 1")
        right.set_title("|r(τ)| relative to its peak; dashed: 5 %", fontsize=10)
        _legend_below(figure, [f"{entry['label']}: memory {entry['memory']:.3g} steps" for entry in impulses])


def _curve(axes: Axes, curve: Mapping[str, Sequence[float]], number: int, label: str) -> None:
    """Draw a median and its band, with gaps at zeros, which a log scale cannot show."""
    times = range(1, len(curve["median"]) + 1)
    middle, low, high = ([v if v > 0 else math.nan for v in curve[key]] for key in ("median", "lower", "upper"))
    mark: dict[str, Any] = {"marker": "osD^vP*X"[number % 8], "markersize": 3.5} if len(times) <= 16 else {}
    style: dict[str, Any] = {"color": _color(number), "linestyle": LINES[number % len(LINES)], "linewidth": 1.4}
    axes.plot(times, middle, label=label.replace("$", r"\$"), **style, **mark)
    axes.fill_between(times, low, high, color=_color(number), alpha=0.15, linewidth=0)


def _log_axis(axes: Axes) -> None:
    """Set a log scale whose labels are readable over one decade or hundreds of them."""
    from matplotlib.ticker import LogFormatterSciNotation, LogLocator, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(numticks=7))
    axes.yaxis.set_major_formatter(LogFormatterSciNotation())
    low, high = axes.get_ylim()
    if high / low < 100:
        axes.yaxis.set_minor_formatter(LogFormatterSciNotation(minor_thresholds=(1.5, 0.5)))
    else:
        axes.yaxis.set_minor_formatter(NullFormatter())


def _legend_below(figure: Any, labels: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    names = list(dict.fromkeys(labels))
    handles = [Line2D([], [], color=_color(k), linestyle=LINES[k % len(LINES)]) for k in range(len(names))]
    words = [name.replace("$", r"\$") for name in names]
    figure.legend(handles, words, loc="outside lower center", ncols=min(4, len(names)))


def _color(number: int) -> str:
    return PALETTE[number % len(PALETTE)]
