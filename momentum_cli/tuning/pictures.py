"""The pictures of a search: its history, the importance of keys, all trials across the axes, and each axis alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from momentum_cli.metrics import METRICS
from momentum_cli.pictures.page import drawn_for_page
from momentum_cli.pictures.style import GREY, PALETTE, drawing, literal, plain_log
from momentum_cli.recipe.axes import Axis, Range, read_axis
from momentum_cli.tuning.results import short_names
from momentum_cli.wording import metric_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, NARROW = 7.2, 4.7
_GOOD, _BEST, _OTHER = PALETTE[0], PALETTE[1], GREY
_GOOD_PART = 0.2
"""Part of the trials that are drawn as good ones."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Picture:
    """One picture of a search.

    Args:
        title: Its title.
        caption: A sentence on reading it.
        needs: Returns True if the search has the data for it.
        draw: Draws the content of ``tune.json`` into a file, with a width in inches.
    """

    title: str
    caption: str
    needs: Callable[[Mapping[str, Any]], bool]
    draw: Callable[[Mapping[str, Any], Path, float], None]


def draw_search(content: Mapping[str, Any], folder: Path) -> None:
    """Write the pictures of a search, each as a PNG file.

    Raises:
        RunError: One could not be drawn.
    """
    for name, picture in PICTURES.items():
        path = folder / f"{name}.png"
        if picture.needs(content):
            picture.draw(content, path, WIDTH)
        else:
            path.unlink(missing_ok=True)


def svg_pictures(content: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return the pictures as elements of a page, each in a wide and a narrow form.

    Raises:
        RunError: One could not be drawn.
    """

    def element(name: str, picture: Picture, size: str, width: float) -> str:
        return drawn_for_page(lambda path: picture.draw(content, path, width), f"{name}-{size}", picture.title)

    return {
        name: (element(name, picture, "wide", WIDTH), element(name, picture, "narrow", NARROW))
        for name, picture in PICTURES.items()
        if picture.needs(content)
    }


def _timed(content: Mapping[str, Any]) -> bool:
    return bool(content["settings"]["objective"] != "metric")


def _label(content: Mapping[str, Any]) -> str:
    words = {"steps_to_target": "steps to the target", "seconds_to_target": "training seconds to the target"}
    return words.get(content["settings"]["objective"], literal(f"best {content['metric']}"))


def _score(content: Mapping[str, Any], row: Row) -> float | None:
    """Return the height of a trial: its score or, for a pruned one, the value it had reached; None without any."""
    if row["score"] is not None:
        return float(row["score"])
    value = row["best"]
    if _timed(content) or row["status"] != "pruned" or value is None or not math.isfinite(value):
        return None
    return float(value)


def _is_better(content: Mapping[str, Any], one: float, other: float) -> bool:
    return one > other if not _timed(content) and METRICS[content["metric"]].higher_is_better else one < other


def _sorted(content: Mapping[str, Any]) -> list[Row]:
    """Return the trials with a number, the best one last, so that it is drawn above the others."""
    rows = [row for row in content["trials"] if row["status"] == "done" and row["score"] is not None]
    higher = not _timed(content) and METRICS[content["metric"]].higher_is_better
    return sorted(rows, key=lambda row: row["score"], reverse=not higher)


def _colors(count: int) -> list[str]:
    """Return the colours of `count` trials in the order of `_sorted`."""
    good = max(1, round(_GOOD_PART * count))
    return [_OTHER] * (count - good) + [_GOOD] * (good - 1) + [_BEST] if count else []


def _scale(content: Mapping[str, Any], axes: Axes) -> None:
    """Label the vertical axis of scores with its unit."""
    from matplotlib.ticker import FuncFormatter

    metric = content["metric"]
    if not _timed(content) and METRICS[metric].fraction:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.6g} %"))


def _history(content: Mapping[str, Any], path: Path, width: float) -> None:
    from matplotlib.ticker import MaxNLocator

    kinds = {
        "done": ("o", _GOOD, _GOOD, "reached the target" if _timed(content) else "trial"),
        "missed": ("o", "none", _OTHER, "missed the target"),
        "pruned": ("v", _OTHER, _OTHER, "pruned"),
    }
    points: dict[str, list[tuple[int, float]]] = {kind: [] for kind in kinds}
    best: list[tuple[int, float]] = []
    for row in content["trials"]:
        height = _score(content, row)
        if height is None:
            continue
        kind = "missed" if row["status"] == "done" and _timed(content) and row["to_target"] is None else row["status"]
        points[kind].append((row["trial"], height))
        if kind == "done" and (not best or _is_better(content, height, best[-1][1])):
            best.append((row["trial"], height))
    with drawing(path, width, 3.6) as figure:
        axes = figure.add_subplot()
        for kind, (marker, face, edge, label) in kinds.items():
            if points[kind]:
                x, y = zip(*points[kind], strict=True)
                axes.scatter(x, y, marker=marker, s=28, label=label, facecolors=face, edgecolors=edge, zorder=3)
        if best:
            last = max(row["trial"] for row in content["trials"])
            x, y = zip(*best, (last, best[-1][1]), strict=True)
            axes.step(x, y, where="post", color=_BEST, label="best so far")
        own = content["own"]
        if own is not None and own["score"] is not None:
            axes.axhline(own["score"], color=GREY, linestyle=(0, (5, 3)), linewidth=1.2, label="the recipe as it is")
        axes.set_xlabel("trial")
        axes.set_ylabel(_label(content))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _scale(content, axes)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2 if width < WIDTH else 4, fontsize=9)


def _importance(content: Mapping[str, Any], path: Path, width: float) -> None:
    parts = content["importance"]
    names = short_names(content["keys"])
    with drawing(path, width, 0.9 + 0.34 * len(parts)) as figure:
        axes = figure.add_subplot()
        keys = list(parts)[::-1]
        axes.barh([literal(names.get(key, key)) for key in keys], [100 * parts[key] for key in keys], color=_GOOD)
        for place, key in enumerate(keys):
            axes.text(100 * parts[key], place, f" {100 * parts[key]:.0f} %", va="center", fontsize=9)
        axes.set_xlim(0, max(100 * part for part in parts.values()) * 1.12 + 1)
        axes.set_xlabel("part in what sets the better trials apart, %")
        axes.grid(visible=False, axis="y")


def _place(axis: Axis, value: Any) -> float:
    """Return the height of a value on its axis, 0 to 1."""
    if not isinstance(axis, Range):
        points = axis.points() or []
        return points.index(value) / max(1, len(points) - 1) if len(points) > 1 else 0.5
    if axis.log:
        return math.log(value / axis.low) / math.log(axis.high / axis.low)
    return float((value - axis.low) / (axis.high - axis.low))


def _ticks(axis: Axis) -> list[tuple[float, str]]:
    """Return heights on an axis and their labels: its ends, or all choices."""
    values = [axis.low, axis.high] if isinstance(axis, Range) else axis.points() or []
    return [(_place(axis, value), literal(_text(value))) for value in values]


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _parallel(content: Mapping[str, Any], path: Path, width: float) -> None:
    keys, rows = content["keys"], _sorted(content)
    names = short_names(keys)
    axes_of = {key: read_axis(content["settings"]["space"][key]) for key in keys}
    scores = [row["score"] for row in rows]
    low, high = min(scores), max(scores)
    metric = content["metric"]
    with drawing(path, width, 3.6) as figure:
        axes = figure.add_subplot()
        for row, color in zip(rows, _colors(len(rows)), strict=True):
            heights = [_place(axes_of[key], row["values"][key]) if key in row["values"] else math.nan for key in keys]
            heights.append((row["score"] - low) / (high - low) if high > low else 0.5)
            # A gap is where a key has no effect; a point alone between two of them still shows.
            thick, alpha = (2.4, 1.0) if color == _BEST else (1.1, 0.6)
            axes.plot(range(len(heights)), heights, color=color, marker="o", markersize=3, linewidth=thick, alpha=alpha)
        for place, key in enumerate(keys):
            axes.axvline(place, color=GREY, linewidth=0.8, zorder=0)
            for height, label in _ticks(axes_of[key]):
                axes.text(place + 0.03, height, label, fontsize=8, color=GREY, va="center")
        axes.axvline(len(keys), color=GREY, linewidth=0.8, zorder=0)
        for height, score in ((0.0, low), (1.0, high)):
            label = f"{score:.4g}" if _timed(content) else metric_text(metric, score)
            axes.text(len(keys) + 0.03, height, label, fontsize=8, color=GREY, va="center")
        labels = [literal(names[key]) for key in keys] + [_label(content).replace(" to the target", "")]
        crowded = len(labels) >= 6 or width < WIDTH
        turned: dict[str, Any] = {"rotation": 30, "ha": "right"} if crowded else {}
        axes.set_xticks(range(len(labels)), labels, fontsize=9, **turned)
        axes.set_yticks([])
        axes.set_xlim(-0.1, len(keys) + 0.45)
        axes.grid(visible=False)
        axes.spines[["left", "bottom"]].set_visible(False)


def _slices(content: Mapping[str, Any], path: Path, width: float) -> None:
    keys, rows = content["keys"], _sorted(content)
    names = short_names(keys)
    columns = min(len(keys), 3 if width == WIDTH else 2)
    lines = -(-len(keys) // columns)
    with drawing(path, width, 0.4 + 2.1 * lines) as figure:
        panels = list(figure.subplots(lines, columns, squeeze=False, sharey=True).flat)
        for panel in panels[len(keys) :]:
            panel.set_visible(False)
        for number, (key, panel) in enumerate(zip(keys, panels, strict=False)):
            axis = read_axis(content["settings"]["space"][key])
            colored = zip(rows, _colors(len(rows)), strict=True)
            with_key = [(row, color) for row, color in colored if key in row["values"]]
            x = [_across(axis, row["values"][key]) for row, _ in with_key]
            y = [row["score"] for row, _ in with_key]
            panel.scatter(x, y, c=[color for _, color in with_key], s=[40 if c == _BEST else 18 for _, c in with_key])
            panel.set_xlabel(literal(names[key]))
            if isinstance(axis, Range):
                # The whole range that was searched, so that an axis has labels however few of it was tried.
                low, high, edge = axis.low, axis.high, 0.04
                if axis.log:
                    panel.set_xscale("log")
                    plain_log(panel.xaxis, high / low, room=50.0)
                    panel.set_xlim(low * (low / high) ** edge, high * (high / low) ** edge)
                else:
                    panel.set_xlim(low - edge * (high - low), high + edge * (high - low))
            else:
                points = axis.points() or []
                panel.set_xticks(range(len(points)), [literal(_text(value)) for value in points])
                panel.set_xlim(-0.5, len(points) - 0.5)
            if number % columns == 0:
                panel.set_ylabel(_label(content))
            _scale(content, panel)


def _across(axis: Axis, value: Any) -> float:
    return float(value) if isinstance(axis, Range) else float((axis.points() or []).index(value))


def _has_rows(content: Mapping[str, Any]) -> bool:
    return bool(_sorted(content))


_COLOURS = "Orange the best trial, blue the other good ones (the best fifth), grey the rest."
PICTURES: dict[str, Picture] = {
    "history": Picture(
        "Trials in their order",
        "Each trial that has a number, and the best so far. Of a search for the fewest steps or seconds, a trial "
        "that missed the target is drawn above the budget that it used, the closer to it the closer it came.",
        lambda content: any(_score(content, row) is not None for row in content["trials"]),
        _history,
    ),
    "importance": Picture(
        "What mattered",
        "Part of each key in what sets the better trials apart, by PED-ANOVA. Keys that have an effect in some trials "
        "only are left out.",
        lambda content: bool(content["importance"]),
        _importance,
    ),
    "parallel": Picture(
        "All trials across the axes",
        f"One line per trial. {_COLOURS} A line has a gap where a key has no effect beside the drawn cell, optimizer "
        "or schedule.",
        _has_rows,
        _parallel,
    ),
    "slices": Picture("Each axis alone", f"One dot per trial. {_COLOURS}", _has_rows, _slices),
}
"""Pictures of a search by the names of their files."""
