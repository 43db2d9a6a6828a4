"""The meaning of the columns of a file, and the pieces of sequences that every reader yields.

Axes: t steps of a piece, D features, K targets.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from momentum_cli.errors import DataError
from momentum_cli.messages import unknown

Kind = Literal["classification", "regression", "labelling", "forecasting"]
Format = Literal["csv", "parquet", "jsonl", "npz", "npy", "wav", "text"]

SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".npz": "npz",
    ".npy": "npy",
}
TABLES = ("csv", "parquet", "jsonl")
FOLDERS = ("wav", "text")


@dataclass(frozen=True)
class Schema:
    """Meaning of the columns of a file; options as in `momentum_cli.data.files.Files`.

    Args:
        format: Of the file.
        kind: What is predicted.
        sequence, order, split_column, lengths: Names of columns or arrays, or None.
        features: Names of columns or arrays, or None for all without another role.
        target: Names of columns or arrays; () when targets are not read, as in `predict`.
        samples_per_step: For WAV.
    """

    format: Format
    kind: Kind
    sequence: str | None = None
    order: str | None = None
    features: tuple[str, ...] | None = None
    target: tuple[str, ...] = ()
    split_column: str | None = None
    lengths: str | None = None
    samples_per_step: int = 1

    @property
    def wide(self) -> bool:
        """True when a row of a table is a whole sequence, its feature columns the steps."""
        return self.format in TABLES and self.sequence is None and self.kind in ("classification", "regression")

    @property
    def target_is_class(self) -> bool:
        """True when the target is a word."""
        return self.kind in ("classification", "labelling")

    @property
    def target_every_step(self) -> bool:
        """True when every step has a target."""
        return self.kind in ("labelling", "forecasting")

    def feature_names(self, present: Sequence[str], path: str) -> tuple[str, ...]:
        """Return the features among the columns of a file, and check that every name of the schema is there.

        Raises:
            DataError: A column is not in the file, or no feature is left.
        """
        named = [self.sequence, self.order, self.split_column, self.lengths, *self.target, *(self.features or ())]
        for name in named:
            if name is not None and name not in present:
                raise DataError(f"{path}: {unknown('column', name, present)}")
        if self.features is not None:
            return self.features
        taken = {self.sequence, self.order, self.split_column, self.lengths}
        if self.kind != "forecasting":
            taken |= set(self.target)
        left = tuple(name for name in present if name not in taken)
        if not left:
            raise DataError(f"{path}: no column remains as a feature (columns: {', '.join(present)})")
        return left

    def with_features(self, found: Sequence[str]) -> Schema:
        """Return the schema with the features that were found, which other files must have as well."""
        if self.format not in (*TABLES, "npz") or self.features is not None:
            return self
        # A column of lists, or an array, gives the features name[0], name[1], …
        lists = self.format in ("jsonl", "npz")
        names = dict.fromkeys(name.partition("[")[0] if lists else name for name in found)
        return dataclasses.replace(self, features=tuple(names))

    def for_inputs(self, features: Sequence[str] | None) -> Schema:
        """Return the schema of files that have no targets and no splits, as `predict` reads them."""
        names = None if features is None else tuple(features)
        return dataclasses.replace(self, features=names, target=(), split_column=None)

    def dump(self) -> dict[str, Any]:
        """Return plain values; `Schema.of` reads them."""
        plain = dataclasses.asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}

    @classmethod
    def of(cls, plain: dict[str, Any]) -> Schema:
        """Return the schema that `dump` wrote."""
        options: dict[str, Any] = {}
        for name, value in plain.items():
            options[name] = tuple(value) if isinstance(value, list) else value
        return cls(**options)


@dataclass
class Piece:
    """Steps of one sequence that follow one another; a sequence may come in several pieces, in order.

    Args:
        sequence: Its name.
        features: (t, D) float64, NaN for what is missing.
        rows: (t,) int64, the row of each step in the file; (1,) when the whole sequence is one row.
        order: (t,) float64 or int64, or None when steps come in order.
        target: (t, …) or, one for the sequence, (1, …): object words or float64 (…, K); None without a target.
        split: (t,) or (1,) object words, or None.
    """

    sequence: str
    features: np.ndarray
    rows: np.ndarray
    order: np.ndarray | None = None
    target: np.ndarray | None = None
    split: np.ndarray | None = None


@dataclass(frozen=True)
class Source:
    """An opened file.

    Args:
        path: What it is called in messages.
        features: Names of the D features; of a wide table the names of its steps.
        pieces: An iterator of `Piece`.
        channels: D.
        dtype: Type that holds every value of the file exactly.
        facts: What else a reader found and predict has to know, such as the sample rate.
    """

    path: str
    features: tuple[str, ...]
    pieces: Any
    channels: int
    dtype: type[np.floating[Any]] = np.float64
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)
