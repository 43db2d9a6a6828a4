"""Pictures of forecasts: over the truth, and their errors by horizon.

Axes: w steps of the past, h horizon.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from momentum_cli.errors import RunError
from momentum_cli.pictures.style import GREY, PALETTE, caption, drawing, literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TRUTH, FORECAST, NAIVE = "#222222", PALETTE[0], PALETTE[1]
_MOST_TICKS = 6
_PANEL_TICKS = 3
# Inches: on a telephone about 12 pixels for a letter.
NARROW = 4.7


@dataclass(frozen=True)
class Forecast:
    """A forecast of one target, in its unit.

    Args:
        values: h values.
        past: w values before the first of them.
        truth: h values, or none if they are unknown.
        naive: h values of the naive forecast, or none.
        low, high: h lower and upper ends of an interval, or none.
        place: Number of the first step of the forecast in its series.
        times: Time of each of the w + h steps, None where it is unknown; or none.
        title: Above the panel.
        ahead: The h steps, rising and counted from the last one of the past; none: 1 to h.
    """

    values: Sequence[float]
    past: Sequence[float] = ()
    truth: Sequence[float] = ()
    naive: Sequence[float] = ()
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    place: int = 0
    times: Sequence[Any] = ()
    title: str = ""
    ahead: Sequence[int] = ()

    @property
    def steps(self) -> list[int]:
        """The steps, counted from the last one of the past."""
        return list(self.ahead or range(1, len(self.values) + 1))

    @property
    def places(self) -> list[int]:
        """Numbers of the steps in their series."""
        return [self.place + step - self.steps[0] for step in self.steps]

    @property
    def marker(self) -> str:
        """Of each value, where no line would tell it from the next."""
        return "o" if len(self.values) == 1 or self.ahead else ""


@dataclass(frozen=True)
class Words:
    """Words of a picture of forecasts.

    Args:
        target: Name of the target.
        naive: Name of the naive forecast, or "".
        interval: Name of the interval, such as ``"80 % interval"``, or "".
        title: Above the forecasts in a row.
    """

    target: str
    naive: str = ""
    interval: str = ""
    title: str = field(default="")


def interval_name(levels: Sequence[float]) -> str:
    """Return the name of the widest interval between quantiles of rising levels; "" without any."""
    return f"{100 * (levels[-1] - levels[0]):.4g} % interval" if levels else ""


def short_time(time: str) -> str:
    """Return a time of ISO 8601 without seconds, or the hour, that are 0: ``2024-01-31 12:00``, ``2024-01-31``."""
    return time.replace("T", " ").removesuffix(" 00:00:00").removesuffix(":00")


Others = Mapping[str, Sequence[Forecast]]
"""Forecasts in a row of further targets, by their names."""


def read_forecasts(plain: Mapping[str, Any]) -> tuple[list[Forecast], list[Forecast], Others, Words]:
    """Return the arguments of `forecasts` but for the path, from plain mappings with the fields of their classes."""

    def read(rows: Sequence[Mapping[str, Any]]) -> list[Forecast]:
        return [Forecast(**one) for one in rows]

    # Files of earlier versions have one target.
    others = {name: read(rows) for name, rows in plain.get("others", {}).items()}
    return read(plain["row"]), read(plain["apart"]), others, Words(**plain["words"])


def forecasts(
    in_a_row: Sequence[Forecast],
    apart: Sequence[Forecast],
    others: Others,
    words: Words,
    path: Path,
    *,
    narrow: bool = False,
) -> None:
    """Draw forecasts over the truth.

    Args:
        in_a_row: Consecutive forecasts of one series, for one wide panel; none: no such panel.
        apart: Forecasts with their past, one panel for each, such as the worst ones; three in a row.
        others: A wide panel below the first for each further target.
        words: Words of the picture.
        path: The picture; its ending (png, svg, pdf) is its format. It is written whole or not at all.
        narrow: For small screens: the panels below each other.

    Raises:
        RunError: There is nothing to draw, or drawing failed.
    """
    if not in_a_row and not apart:
        raise RunError(f"could not draw {path}: there are no forecasts")
    columns = 1 if narrow else min(3, max(1, len(apart)))
    lines = -(-len(apart) // columns)
    wide = [3.2] * bool(in_a_row) + [2.2] * len(others)
    heights = wide + [2.6] * lines
    width = NARROW if narrow else 10.0 if in_a_row else 3.6 * columns
    with drawing(path, width, 0.4 + sum(heights)) as figure:
        grid = figure.add_gridspec(len(heights), columns, height_ratios=heights)
        axes: Axes | None = None
        if in_a_row:
            axes = figure.add_subplot(grid[0, :])
            ticks = _MOST_TICKS // 2 if narrow else _MOST_TICKS
            _row(axes, in_a_row, words, ticks)
            if narrow:  # a title that is wider than the picture would make everything smaller
                axes.set_title(caption(words.title, 40, 3), fontsize=10)
            for number, (name, row) in enumerate(others.items(), start=1):
                _row(figure.add_subplot(grid[number, :]), row, replace(words, target=name, title=""), ticks)
        for number, one in enumerate(apart):
            panel = figure.add_subplot(grid[number // columns + len(wide), number % columns])
            _panel(panel, one, words)
            if not in_a_row and number % columns == 0:
                panel.set_ylabel(caption(words.target, 28), fontsize=9)
            axes = axes or panel
        assert axes is not None
        handles, labels = axes.get_legend_handles_labels()
        unique = dict(zip(labels, handles, strict=True))
        figure.legend(unique.values(), unique.keys(), loc="outside lower center", ncols=2 if narrow else 4)


def errors_by_step(
    rows: Sequence[Mapping[str, Any]],
    naive: Sequence[Mapping[str, Any]],
    name: str,
    path: Path,
    *,
    narrow: bool = False,
) -> None:
    """Draw the mean absolute error of each step of the horizon, a panel for each target.

    Args:
        rows: Result of `momentum_cli.inference.by_target.ByTarget.rows`, with ``steps``.
        naive: Those of the naive forecast, in the same order; or none.
        name: Name of the naive forecast.
        path, narrow: As for `forecasts`.

    Raises:
        RunError: Drawing failed.
    """
    columns = 1 if narrow else min(3, len(rows))
    lines = -(-len(rows) // columns)
    with drawing(path, 4.2 * columns, 0.4 + 2.9 * lines) as figure:
        panels = figure.subplots(lines, columns, squeeze=False).ravel()
        for number, row in enumerate(rows):
            axes = panels[number]
            if naive:
                _steps(axes, naive[number]["steps"], NAIVE, "--", name)
            _steps(axes, row["steps"], FORECAST, "-", "model")
            axes.set_title(caption(f"mean absolute error of {row['target']}", 40))
            axes.set_xlabel("steps ahead")
            axes.set_ylim(bottom=0)
            axes.xaxis.get_major_locator().set_params(integer=True)
        panels[0].legend()
        for axes in panels[len(rows) :]:
            axes.set_axis_off()


def values(predicted: Sequence[float], wanted: Sequence[float], name: str, path: Path) -> None:
    """Draw predicted values over the true ones, each sequence a point on or off the diagonal.

    Args:
        predicted, wanted: Values of one target.
        name: Name of the target.
        path: As for `forecasts`.

    Raises:
        RunError: Drawing failed.
    """
    with drawing(path, 4.6, 4.4) as figure:
        axes = figure.subplots()
        ends = [min(wanted), max(wanted)]
        axes.plot(ends, ends, color=GREY, linewidth=1.0, linestyle="--", label="exact")
        axes.plot(wanted, predicted, linestyle="", marker="o", markersize=3, alpha=0.5, color=FORECAST)
        axes.set_title(caption(name, 44))
        axes.set_xlabel("true")
        axes.set_ylabel("predicted")
        axes.legend()


def _steps(axes: Axes, steps: Sequence[Mapping[str, Any]], color: str, line: str, label: str) -> None:
    marker = "o" if len(steps) <= 30 else ""
    axes.plot(
        [one["step"] for one in steps],
        [one["mae"] for one in steps],
        line,
        color=color,
        marker=marker,
        markersize=3,
        label=literal(label),
    )


def _row(axes: Axes, parts: Sequence[Forecast], words: Words, ticks: int) -> None:
    for part in parts:
        steps = part.places
        _interval(axes, steps, part, words)
        if part.naive:
            axes.plot(steps, part.naive, "--", color=NAIVE, linewidth=1.1, label=literal(words.naive))
        axes.plot(steps, part.truth, color=TRUTH, linewidth=1.3, label="true")
        axes.plot(steps, part.values, color=FORECAST, marker=part.marker, markersize=3, linewidth=1.6, label="forecast")
        if len(part.values) > 1:
            axes.axvline(part.place, color=GREY, linewidth=0.5, linestyle=":")
    axes.set_title(caption(words.title, 92))
    axes.set_ylabel(caption(words.target, 34))
    first, last = parts[0], parts[-1]
    known = [pair for part in parts for pair in zip(part.places, part.times[len(part.past) :], strict=False)]
    axes.set_xlim(first.place, last.places[-1] or 1)
    _time_axis(axes, known, (known[-1][0] - known[0][0]) / ticks if known else 0)


def _panel(axes: Axes, one: Forecast, words: Words) -> None:
    behind = range(-len(one.past) + 1, 1)
    ahead = one.steps
    axes.plot(behind, one.past, color=TRUTH, linewidth=1.1, alpha=0.6)
    # From the last known value on, so that a single step is a line too.
    last = list(one.past[-1:])
    joined = [0, *ahead] if last else ahead
    _interval(axes, ahead, one, words)
    if one.naive:
        axes.plot(joined, [*last, *one.naive], "--", color=NAIVE, linewidth=1.1, label=literal(words.naive))
    if one.truth:
        axes.plot(joined, [*last, *one.truth], color=TRUTH, linewidth=1.3, label="true")
    axes.plot(joined, [*last, *one.values], color=FORECAST, linewidth=1.6, label="forecast")
    if one.ahead:
        axes.plot(ahead, one.values, color=FORECAST, linestyle="", marker=one.marker, markersize=3)
    axes.axvline(0, color=GREY, linewidth=0.8, linestyle=":")
    axes.set_title(caption(one.title, 44), fontsize=9)
    dates = [pair for pair in zip([*behind, *ahead], one.times, strict=False) if isinstance(pair[1], str)]
    if dates:
        # The first and the last label are centred below the ends of a narrow panel.
        _time_axis(axes, dates, (ahead[-1] - min(0, *behind)) / (_PANEL_TICKS - 1))
    else:
        axes.set_xlabel("steps ahead", fontsize=9)


def _interval(axes: Axes, steps: Sequence[int], part: Forecast, words: Words) -> None:
    if not part.low:
        return
    label = literal(words.interval)
    if len(steps) == 1:
        axes.vlines(steps, part.low, part.high, color=FORECAST, alpha=0.35, linewidth=3, label=label)
    else:
        axes.fill_between(steps, part.low, part.high, color=FORECAST, alpha=0.2, linewidth=0, label=label)


def _time_axis(axes: Axes, known: Sequence[tuple[int, Any]], apart: float) -> None:
    """Label steps that are at least so many steps apart with their times, if these are known."""
    if not known:
        axes.set_xlabel("step")
        return
    shown = known[:1]
    for one in known[1:]:
        if one[0] - shown[-1][0] >= apart:
            shown = [*shown, one]
    axes.set_xticks([step for step, _ in shown], [_time_text(time) for _, time in shown], fontsize=8)


def _time_text(time: Any) -> str:
    if not isinstance(time, str):
        return f"{time:.12g}"
    return time.replace("T", "\n").removesuffix("\n00:00:00").removesuffix(":00")
