"""Pictures of sequences of a data set."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from momentum_cli.pictures.style import PALETTE, drawing, literal

MOST_LINES = 8


def samples(sequences: Sequence[Any], titles: Sequence[str], path: Path, names: Sequence[str] = ()) -> None:
    """Draw some sequences: channels as lines with a legend, many channels as an image.

    Args:
        sequences: (T, D) arrays, at most a dozen.
        titles: Above each, such as its class.
        path: the picture; its ending (png, svg, pdf) is its format. It is written whole or not at all.
        names: Of the D channels, for the legend; none: there is no legend.

    Raises:
        RunError: drawing failed.
    """
    columns = min(3, len(sequences))
    rows = math.ceil(len(sequences) / columns)
    with drawing(path, 3.6 * columns, 0.4 + 2.3 * rows) as figure:
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, sequence, title in zip(panels, sequences, titles, strict=False):
            if sequence.shape[1] > MOST_LINES:
                axes.imshow(sequence.T, aspect="auto", origin="lower", interpolation="nearest", cmap="viridis")
                axes.set_ylabel("channel")
            else:
                for channel, colour in zip(range(sequence.shape[1]), itertools.cycle(PALETTE), strict=False):
                    mark = "o" if len(sequence) == 1 else ""
                    label = literal(names[channel]) if names else None
                    axes.plot(sequence[:, channel], color=colour, linewidth=1.2, marker=mark, label=label)
            axes.set_title(literal(title))
            axes.set_xlabel("step")
            axes.xaxis.get_major_locator().set_params(integer=True)
        if names and len(names) <= MOST_LINES:
            panels[0].legend(fontsize="small", loc="best")
        for axes in panels[len(sequences) :]:
            axes.set_axis_off()
