"""The picture of the attention of a translation model: where it looks while it reads a reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from momentum_cli.pictures.style import drawing
from momentum_cli.wording import printable

_CELL, _MARGIN = 0.24, 1.3
# Longer sentences are cut: their pieces would be too small to read.
_MOST = 32


def draw_attention(entry: Mapping[str, Any], path: Path) -> None:
    """Draw a map for each sentence: a row for each piece of the target, a column for each piece of the source.

    Of a longer sentence only the first 32 pieces are drawn, and its axis says how many there are.

    Args:
        entry: A result of `momentum_cli.inspection.gradients.measurement.measure` with ``attention``.
        path: The PNG file.

    Raises:
        RunError: It could not be drawn.
    """
    maps = entry["attention"]
    widths = [min(len(each["source"]), _MOST) for each in maps]
    heights = [min(len(each["target"]), _MOST) for each in maps]
    columns = min(2, len(maps))
    rows = -(-len(maps) // columns)
    wide = [max(widths[column::columns]) for column in range(columns)]
    high = [max(heights[row * columns : (row + 1) * columns]) for row in range(rows)]
    size = (_CELL * sum(wide) + _MARGIN * columns, _CELL * sum(high) + _MARGIN * rows + 0.6)
    with drawing(path, *size) as figure:
        panels = figure.subplots(
            rows, columns, squeeze=False, gridspec_kw={"width_ratios": wide, "height_ratios": high}
        )
        for axes, each in zip(panels.flat, maps, strict=False):
            source, target = ([_shown(piece) for piece in each[key][:_MOST]] for key in ("source", "target"))
            weights = [line[:_MOST] for line in each["weights"][:_MOST]]
            image = axes.imshow(weights, vmin=0.0, vmax=1.0, cmap="Blues", aspect="equal")
            axes.grid(visible=False)
            axes.set_anchor("NW")
            axes.xaxis.tick_top()
            axes.set_xticks(range(len(source)), source, rotation=90, fontsize=8)
            axes.set_yticks(range(len(target)), target, fontsize=8)
            axes.tick_params(length=0)
            axes.set_xlabel(_cut(each["source"]), fontsize=8)
            axes.set_ylabel(_cut(each["target"]), fontsize=8)
        for axes in list(panels.flat)[len(maps) :]:
            axes.set_visible(False)
        figure.colorbar(image, ax=panels, shrink=0.5, aspect=30, label="weight")
        words = {"initial": "at initialisation", "trained": "after training"}[entry["stage"]]
        label = printable(entry["label"]).replace("$", r"\$")
        figure.suptitle(f"{label}, attention {words}: source across, reference down", x=0.01, ha="left", fontsize=11)


def _cut(pieces: Sequence[str]) -> str:
    """Return the words for an axis that does not have all pieces, "" for one that has."""
    return "" if len(pieces) <= _MOST else f"the first {_MOST} of {len(pieces)} pieces"


def _shown(piece: str) -> str:
    """Return a piece as text that matplotlib does not take for mathematics."""
    return printable(piece).replace("$", r"\$")
