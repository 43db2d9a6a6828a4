"""Pictures of sequences of a data set."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from momentum_cli.pictures.style import PALETTE, drawing, literal

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
            else:
                for channel, colour in zip(range(sequence.shape[1]), itertools.cycle(PALETTE), strict=False):
                    mark = "o" if len(sequence) == 1 else ""
                    label = literal(labels[channel]) if labels else None
                    axes.plot(sequence[:, channel], color=colour, linewidth=1.2, marker=mark, label=label)
            axes.set_title(literal(title))
            axes.set_xlabel("step")
            axes.xaxis.get_major_locator().set_params(integer=True)
        if labels and len(labels) <= MOST_LINES:
            panels[0].legend(fontsize="small", loc="best")
        for axes in panels[len(sequences) :]:
            axes.set_axis_off()
        if unit:
            figure.supylabel(unit, fontsize="small")


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
    words = [f"{name}: {bottom:.6g} to {top:.6g}" for name, bottom, top in zip(names, low, high, strict=True)]
    return [(one - low) / scales for one in sequences], words
