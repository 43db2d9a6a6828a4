"""The confusion matrix as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from momentum_cli.errors import RunError
from momentum_cli.pictures.style import drawing, literal, shortened

MOST_NUMBERED_CLASSES = 20


MOST_NAMED_CLASSES = 60


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
    named = [literal(shortened(name, 20)) for name in names]
    longest = max(map(len, named))
    side = (2.0 + 0.45 * classes if classes <= MOST_NUMBERED_CLASSES else 9.0) + 0.08 * longest
    with drawing(path, side + 0.9, side) as figure:
        axes = figure.subplots()
        axes.grid(visible=False)
        # a root scale: confusions of a few percent, the point of the picture, would be white on a linear one
        image = axes.imshow(share, cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=1), aspect="equal")
        correct = np.trace(counts) / counts.sum() if counts.sum() else math.nan
        axes.set_title(literal(title or f"{100 * correct:.2f} % of {int(counts.sum()):,} correct"))
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
