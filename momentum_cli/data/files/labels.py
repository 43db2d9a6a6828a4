"""Classes of a file: a number for each label, and labels that may be meant to be one."""

from __future__ import annotations

import numpy as np

from momentum_cli.data.files.columns import is_number
from momentum_cli.data.problems import Problems


class Labels:
    """Numbers labels as they are met; in the end they are sorted.

    Args:
        similar: Labels that differ in case alone, or in the way of writing a number: ``"refuse"``, ``"fold"``: one
            class, or ``"keep"``.
        column: Their column, for messages.
    """

    def __init__(self, similar: str, column: str) -> None:
        self._similar, self._column = similar, column
        self._codes: dict[str, int] = {}
        self._rows: dict[str, int] = {}

    def code(self, label: str, row: int) -> int:
        """Return the number of a label that is in a row."""
        if self._similar == "fold":
            label = folded(label)
        if label not in self._codes:
            self._rows[label] = row
        return self._codes.setdefault(label, len(self._codes))

    def sorted(self) -> tuple[tuple[str, ...], np.ndarray]:
        """Return the labels, numbers by value and before words, and the place of each code among them."""
        labels = tuple(sorted(self._codes, key=label_order))
        places = np.empty(len(labels), np.int64)
        for place, label in enumerate(labels):
            places[self._codes[label]] = place
        return labels, places

    def find_similar(self, problems: Problems) -> None:
        """Add the labels that differ in case alone, or in the way of writing a number, to the problems."""
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
    """Return a label in small letters; of a number, which is written in many ways, the shortest one."""
    return f"{float(label):.15g}" if is_number(label) else label.casefold()


def label_order(label: str) -> tuple[int, float, str]:
    """Sort numbers by value and before words."""
    return (0, float(label), label) if is_number(label) else (1, 0.0, label)
