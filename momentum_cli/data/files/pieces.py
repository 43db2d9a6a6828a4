"""What every reader yields: pieces of sequences.

Axes: t steps of a piece, n sequences, S steps of all of them, D features, K targets.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class Piece:
    """Consecutive steps of one sequence; a sequence may come in several pieces, in order.

    Args:
        sequence: Its name.
        features: (t, D) float64, NaN for missing values.
        rows: (t,) int64, the row of each step in the file; (1,) if the whole sequence is one row.
        order: (t,) float64 or int64, or None if steps come in order.
        target: (t, …), or (1, …) for one target of the sequence: object words or float64 (…, K); None without a target.
        split: (t,) or (1,) object words, or None.
        group: Likewise.
    """

    sequence: str
    features: np.ndarray
    rows: np.ndarray
    order: np.ndarray | None = None
    target: np.ndarray | None = None
    split: np.ndarray | None = None
    group: np.ndarray | None = None

    def picked(self, places: np.ndarray) -> Piece:
        """Return some of the steps, with the values of the whole sequence unchanged."""
        steps = len(self.features)

        def of(values: Any) -> Any:
            return values if values is None or len(values) != steps or len(values) == 1 != steps else values[places]

        rows, order, target, split, group = map(of, (self.rows, self.order, self.target, self.split, self.group))
        return Piece(self.sequence, self.features[places], rows, order, target, split, group)


@dataclass
class Pieces:
    """Several sequences one after the other, so that many short ones are not treated one by one.

    Args:
        names: (n,) object words; None for a missing name, whose steps are left out.
        starts: (n + 1,) int64, the first step of each, and S; no sequence is empty.
        features, rows, order, target, split, group: Those of the pieces together, with S entries if a piece has one for
            each of its steps, or with n.
    """

    names: np.ndarray
    starts: np.ndarray
    features: np.ndarray
    rows: np.ndarray
    order: np.ndarray | None = None
    target: np.ndarray | None = None
    split: np.ndarray | None = None
    group: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Piece]:
        """Yield those with a name one by one."""
        bounds = self.starts.tolist()
        for number, name in enumerate(self.names.tolist()):
            if name is not None:
                yield self._piece(number, name, slice(bounds[number], bounds[number + 1]))

    def between(self, first: int, last: int) -> Pieces:
        """Return the pieces `first` … `last` - 1."""
        low, high = int(self.starts[first]), int(self.starts[last])

        def of(values: Any) -> Any:
            return values if values is None else values[low:high] if self._by_step(values) else values[first:last]

        rows, order, target, split, group = map(of, (self.rows, self.order, self.target, self.split, self.group))
        starts = self.starts[first : last + 1] - low
        return Pieces(self.names[first:last], starts, self.features[low:high], rows, order, target, split, group)

    def firsts(self, values: np.ndarray) -> np.ndarray:
        """Return (n, …), the value at the first step of each sequence."""
        return values[self.starts[:-1]] if self._by_step(values) else values

    def is_constant(self, values: np.ndarray) -> bool:
        """Return True if the values of each sequence are equal; NaN and None are not equal to themselves."""
        if not self._by_step(values):
            return bool(np.all(_same(values, values)))
        same = np.ones(len(values), bool)
        same[1:] = _same(values[1:], values[:-1])
        firsts = self.starts[:-1]
        same[firsts] = _same(values[firsts], values[firsts])
        return bool(same.all())

    def is_increasing(self, values: np.ndarray) -> bool:
        """Return True if the values, one for each step, increase strictly within each sequence."""
        later = np.ones(len(values), bool)
        later[1:] = values[1:] > values[:-1]
        later[self.starts[:-1]] = True
        return bool(later.all())

    def _by_step(self, values: np.ndarray) -> bool:
        # If S is n, every sequence has one step, and its entry is that of its step.
        return len(values) == len(self.features)

    def _piece(self, number: int, name: str, here: slice) -> Piece:
        def of(values: Any) -> Any:
            return values if values is None else values[here if self._by_step(values) else slice(number, number + 1)]

        rows, order, target, split, group = map(of, (self.rows, self.order, self.target, self.split, self.group))
        return Piece(name, self.features[here], rows, order, target, split, group)


def _same(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return (n,) bool, where values are present and equal."""
    found = np.asarray(values == others)
    if values.dtype == object:
        found = found & (values != np.array(None))
    return np.asarray(found if found.ndim == 1 else found.all(1))


def chosen(values: np.ndarray | None, places: slice | np.ndarray) -> np.ndarray | None:
    """Return some of the values, or None without any."""
    return None if values is None else values[places]


@dataclass(frozen=True)
class Source:
    """An opened file.

    Args:
        path: Its name in messages.
        features: Names of the D features; for a wide table the names of its steps.
        pieces: The sequences in the order of the file.
        channels: D.
        facts: Further facts that predict needs, such as the sample rate.
        columns: Names of the columns or arrays with the features; () for the names of the features.
        dtype: Type that represents every value of the file exactly.
        most_steps: Steps that there are at most, for which memory is taken at once; None: not known.
        numbered: True if the name of each sequence is the number of its row, which no other sequence has.
        wide: True if a row of a table is a whole sequence, with its feature columns as steps.
    """

    path: str
    features: tuple[str, ...]
    pieces: Iterator[Piece | Pieces]
    channels: int
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)
    columns: tuple[str, ...] = ()
    dtype: type[np.floating[Any]] = np.float64
    most_steps: int | None = None
    numbered: bool = False
    wide: bool = False
