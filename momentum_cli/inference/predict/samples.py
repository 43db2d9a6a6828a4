"""The samples of a model, in columns: many short ones are treated together.

Axes: B samples, T time, D input.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

ARRAY = "array"
"""The source of samples that do not come from a file."""


@dataclass(frozen=True)
class Broken:
    """A file, or a row of it, that cannot be read.

    Args:
        source: Its file, or ``-``.
        row: Its number in the file from 0, or None for the whole file.
        reason: The problem in words.
    """

    source: str
    row: int | None
    reason: str

    def __str__(self) -> str:
        where = "" if self.row is None else f", row {self.row}"
        return f"{self.source}{where}: {self.reason}"


@dataclass(frozen=True)
class Places:
    """The origin of B samples.

    Args:
        sources: The file of each, or ``-``.
        rows: The number of each in its file from 0, or None if the file is one sample.
        names: The name of each sequence, or () without names.
        times: For a forecast the time of the last step, ``after``, and the ``times`` of the forecast steps; for labels
            the times of the steps; for a window the number of its last ``step`` in the sequence, and, if steps have
            times, its ``time``. Or () without any.
    """

    sources: Sequence[str]
    rows: Sequence[int | None]
    names: Sequence[str] = ()
    times: Sequence[dict[str, Any]] = ()

    def __len__(self) -> int:
        return len(self.sources)

    def between(self, first: int, last: int) -> Places:
        """Return those of the samples `first` … `last` - 1."""
        here = slice(first, last)
        return Places(self.sources[here], self.rows[here], self.names[here], self.times[here])

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield the keys of a record that give the origin of its prediction."""
        for number, (source, row) in enumerate(zip(self.sources, self.rows, strict=True)):
            named = {"sequence": self.names[number]} if self.names else {}
            yield {"source": source, "row": row, **named, **(self.times[number] if self.times else {})}


@dataclass(frozen=True)
class Samples:
    """B inputs of the model that have one length.

    Args:
        places: Their origin.
        inputs: (B, T, D) float32.
        wanted: The true values to compare the outputs with, (T, D) for each, or ().
        pasts: For a forecast the last values of each target that is among the inputs, in its unit; or ().
        groups: The group whose scale the values have, or () where there is one scale.
    """

    places: Places
    inputs: np.ndarray
    wanted: Sequence[np.ndarray] = ()
    pasts: Sequence[dict[str, list[float]]] = ()
    groups: Sequence[int] = ()

    @classmethod
    def one(cls, source: str, row: int | None, inputs: np.ndarray) -> Samples:
        """Return one sample, (T, D) float32."""
        return cls(Places([source], [row]), inputs[None])

    def __len__(self) -> int:
        return len(self.inputs)

    def between(self, first: int, last: int) -> Samples:
        """Return the samples `first` … `last` - 1."""
        here, places = slice(first, last), self.places.between(first, last)
        return Samples(places, self.inputs[here], self.wanted[here], self.pasts[here], self.groups[here])

    @classmethod
    def joined(cls, parts: Sequence[Samples]) -> Samples:
        """Return samples of one length and one reader as one, in order."""
        if len(parts) == 1:
            return parts[0]
        places = [part.places for part in parts]
        return cls(
            Places(*_chained((each.sources, each.rows, each.names, each.times) for each in places)),
            np.concatenate([part.inputs for part in parts]),
            *_chained((part.wanted, part.pasts, part.groups) for part in parts),
        )


def _chained(parts: Iterable[Sequence[Sequence[Any]]]) -> Iterator[list[Any]]:
    """Yield each column of some parts, one part after the other."""
    for columns in zip(*parts, strict=True):
        yield [*chain.from_iterable(columns)]
