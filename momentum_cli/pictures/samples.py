"""Pictures of sequences of a data set."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from momentum_cli.pictures.style import PALETTE, caption, drawing, shortened

MOST_LINES = 8
# Channels get their own scales if the range of all exceeds the range of one by this factor.
_APART = 10


def samples(
    sequences: Sequence[Any],
    titles: Sequence[str],
    path: Path,
    names: Sequence[str] = (),
    *,
    images: bool = False,
    unit: str = "",
) -> None:
    """Draw some sequences: channels as lines with a legend, many channels as an image.

    Args:
        sequences: (T, D) arrays, at most a dozen.
        titles: Title above each, such as its class.
        path: the picture; its ending (png, svg, pdf) is its format. It is written whole or not at all.
        names: Names of the D channels for the legend; empty for no legend.
        images: True if the sequences are grey images, (height, width), with the first row on top.
        unit: Unit of the values, shown next to them.

    Raises:
        RunError: drawing failed.
    """
    sequences, labels = _comparable(sequences, names)
    columns = min(3, len(sequences))
    rows = math.ceil(len(sequences) / columns)
    with drawing(path, 3.6 * columns, 0.4 + 2.3 * rows) as figure:
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, sequence, title in zip(panels, sequences, titles, strict=False):
            if images:
                axes.imshow(sequence, interpolation="nearest", cmap="gray_r")
                axes.set_axis_off()
            elif sequence.shape[1] > MOST_LINES:
                axes.imshow(sequence.T, aspect="auto", origin="lower", interpolation="nearest", cmap="viridis")
                axes.set_ylabel("channel")
                axes.grid(visible=False)
            else:
                for channel, colour in zip(range(sequence.shape[1]), itertools.cycle(PALETTE), strict=False):
                    mark = "o" if len(sequence) == 1 else ""
                    label = caption(labels[channel], 80, 1) if labels else None
                    axes.plot(sequence[:, channel], color=colour, linewidth=1.2, marker=mark, label=label)
            axes.set_title(caption(title, 36), fontsize=10)
            axes.set_xlabel("step")
            axes.xaxis.get_major_locator().set_params(integer=True)
        if labels and len(labels) <= MOST_LINES:
            handles, shown = panels[0].get_legend_handles_labels()
            # 3.6 inches of each panel hold about 44 characters, the sample of the line included.
            across = max(1, 44 * columns // (8 + max(map(len, shown))))
            figure.legend(handles, shown, loc="outside lower center", fontsize="small", ncols=min(4, across))
        for axes in panels[len(sequences) :]:
            axes.set_axis_off()
        if unit:
            figure.supylabel(unit, fontsize="small")


def _range(low: float, high: float) -> str:
    """Return the ends of a range, with so many digits that they differ."""
    lost = math.log10(max(abs(low), abs(high)) / (high - low)) if high > low else 0.0
    digits = min(15, max(6, 3 + math.ceil(lost)))
    return f"{low:.{digits}g} to {high:.{digits}g}"


def _comparable(sequences: Sequence[Any], names: Sequence[str]) -> tuple[Sequence[Any], list[str]]:
    """Return sequences and the texts of their legend.

    Channels of very different ranges, such as a pressure and a temperature, are each scaled to [0, 1], and the legend
    gives their ranges.
    """
    if not 1 < len(names) <= MOST_LINES:
        return sequences, list(names)
    low = [min(float(one[:, channel].min()) for one in sequences) for channel in range(len(names))]
    high = [max(float(one[:, channel].max()) for one in sequences) for channel in range(len(names))]
    widths = [top - bottom for bottom, top in zip(low, high, strict=True)]
    known = [width for width in widths if width > 0]
    if not known or max(high) - min(low) <= _APART * min(known):
        return sequences, list(names)
    scales = [width or 1.0 for width in widths]
    words = [
        f"{shortened(name, 40)}: {_range(bottom, top)}" for name, bottom, top in zip(names, low, high, strict=True)
    ]
    return [(one - low) / scales for one in sequences], words
