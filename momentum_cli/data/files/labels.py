"""Classes of a file: a number for each label, and labels that may mean the same class."""

from __future__ import annotations

import numpy as np

from momentum_cli.data.files.columns import is_number
from momentum_cli.data.problems import Problems


class Labels:
    """Numbers labels as they occur; at the end they are sorted.

    Args:
        similar: Labels that differ only in case or in the notation of a number: ``"refuse"``, ``"fold"`` into one
            class, or ``"keep"``.
        column: Name of their column, for messages.
    """

    def __init__(self, similar: str, column: str) -> None:
        self._similar, self._column = similar, column
        self._codes: dict[str, int] = {}
        self._rows: dict[str, int] = {}

    def code(self, label: str, row: int) -> int:
        """Return the number of the label in a row."""
        if self._similar == "fold":
            label = folded(label)
        if label not in self._codes:
            self._rows[label] = row
        return self._codes.setdefault(label, len(self._codes))

    def sorted(self) -> tuple[tuple[str, ...], np.ndarray]:
        """Return the labels, numbers by value and before words, and the new number of each code."""
        labels = tuple(sorted(self._codes, key=label_order))
        places = np.empty(len(labels), np.int64)
        for place, label in enumerate(labels):
            places[self._codes[label]] = place
        return labels, places

    def find_similar(self, problems: Problems) -> None:
        """Add labels that differ only in case or in the notation of a number to the problems."""
        groups: dict[str, list[str]] = {}
        for label in self._codes if self._similar == "refuse" else ():
            groups.setdefault(folded(label), []).append(label)
        for labels in groups.values():
            if len(labels) > 1:
                shown = " and ".join(map(repr, labels))
                text = (
                    f"target {self._column!r}: {shown} are different classes; set task.similar_labels to fold, which "
                    "makes them one, or to keep"
                )
                problems.add("similar_labels", text, [self._rows[label] for label in labels], column=self._column)


def folded(label: str) -> str:
    """Return a label in lower case; a number in its shortest notation."""
    return f"{float(label):.15g}" if is_number(label) else label.casefold()


def label_order(label: str) -> tuple[int, float, str]:
    """Return a sort key: numbers by value, before words."""
    return (0, float(label), label) if is_number(label) else (1, 0.0, label)
