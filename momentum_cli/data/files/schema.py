"""The meaning of the columns of a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from momentum_cli.data.files.compression import inner_suffix
from momentum_cli.data.files.layout import is_row_number
from momentum_cli.data.files.reading import JOINT, PLAIN, Reading
from momentum_cli.errors import DataError
from momentum_cli.messages import unknown

Kind = Literal["classification", "regression", "labelling", "forecasting"]
Format = Literal["csv", "parquet", "jsonl", "ts", "npz", "npy", "wav", "text"]

SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".psv": "csv",
    ".arff": "csv",
    ".ts": "ts",
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".npz": "npz",
    ".npy": "npy",
}
ANY_TEXT = (".txt", ".dat", ".data", "")
"""Endings of files that may hold a table like those of csv, or something else."""
TABLES = ("csv", "parquet", "jsonl", "ts")
FOLDERS = ("wav", "text")


def format_of(path: Path) -> Format | None:
    """Return the format by the ending of a file, or of the file in a compressed one; None for unknown endings."""
    return SUFFIXES.get(inner_suffix(path))


@dataclass(frozen=True)
class Schema:
    """Meaning of the columns of a file; options as in `momentum_cli.data.files.Files`.

    Args:
        format: Format of the file.
        kind: Kind of prediction.
        sequence: Names of the columns or arrays that together name a sequence; () for none.
        split_column, lengths: Names of columns or arrays, or None.
        order: Names of the column of times, or of those of a date and a time of day; () for none.
        features: Names of columns or arrays, or None for all without another role.
        target: Names of columns or arrays; () if targets are not read, as in `predict`.
        samples_per_step: For WAV.
        order_format, order_timezone: Format and time zone of times, or None.
        gaps, similar_labels: Their policy: ``"refuse"``, or another value of `Files`.
        reading: Notation of values.
        group: Names of the columns with the group of a sequence; () for none.
        wide_series: Each row of a table is a series to forecast, its features the steps.
    """

    format: Format
    kind: Kind
    sequence: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    features: tuple[str, ...] | None = None
    target: tuple[str, ...] = ()
    split_column: str | None = None
    lengths: str | None = None
    samples_per_step: int = 1
    order_format: str | None = None
    order_timezone: str | None = None
    gaps: str = "refuse"
    similar_labels: str = "refuse"
    reading: Reading = PLAIN
    windowed: bool = False
    categorical: tuple[str, ...] = ()
    date_features: tuple[str, ...] = ()
    resample: str | float | None = None
    each_scaled: bool = False
    known_future: tuple[str, ...] = ()
    group: tuple[str, ...] = ()
    wide_series: bool = False

    @property
    def order_name(self) -> str:
        """Names of the columns of times, for messages."""
        return " ".join(self.order)

    @property
    def split_columns(self) -> tuple[str, ...]:
        """Name of the column of splits, or none."""
        return () if self.split_column is None else (self.split_column,)

    @property
    def sequence_name(self) -> str:
        """Names of the columns of sequences, for messages."""
        return JOINT.join(self.sequence)

    @property
    def group_name(self) -> str:
        """Names of the columns of groups, for messages."""
        return JOINT.join(self.group)

    @property
    def target_is_class(self) -> bool:
        """True if the target is a class."""
        return self.kind in ("classification", "labelling")

    @property
    def target_every_step(self) -> bool:
        """True if every step has a target."""
        return self.kind in ("labelling", "forecasting") or self.windowed

    @property
    def is_series(self) -> bool:
        """True when windows are taken from sequences, which may then have any length."""
        return self.kind == "forecasting" or self.windowed

    def feature_names(self, present: Sequence[str], path: str, added: Sequence[str] = ()) -> tuple[str, ...]:
        """Return the features among the columns of a file, and check that every name of the schema is there.

        Args:
            present: The columns.
            path: For messages.
            added: Columns from the path of the file; they are features only if named.

        Raises:
            DataError: A column is not in the file, or no feature is left.
        """
        named = [*self.sequence, *self.order, self.split_column, self.lengths, *self.target, *(self.features or ())]
        named += [*self.categorical, *self.group]
        for name in named:
            if name is not None and name not in present and name not in added:
                raise DataError(f"{path}: {unknown('column', name, present)}")
        if self.features is not None:
            return self.features
        taken = {*self.sequence, *self.order, self.split_column, self.lengths, *self.group}
        if self.kind != "forecasting":
            taken |= set(self.target)
        # A row number, which often reveals the target, is a feature only if named.
        left = tuple(name for name in present if name not in taken and not is_row_number(name))
        if not left:
            raise DataError(f"{path}: no column remains as a feature (columns: {', '.join(present)})")
        return left

    def with_features(self, found: tuple[str, ...]) -> Schema:
        """Return the schema with the columns of the features that were found, which other files must have too."""
        # A row that is a series may be longer in another file.
        if self.format not in (*TABLES, "npz") or self.features is not None or self.wide_series:
            return self
        return dataclasses.replace(self, features=found)

    def for_inputs(self, features: Sequence[str] | None) -> Schema:
        """Return the schema for files without targets and splits, as `predict` reads them."""
        names = None if features is None else tuple(features)
        return dataclasses.replace(self, features=names, target=(), split_column=None)

    def dump(self) -> dict[str, Any]:
        """Return plain values; `Schema.of` reads them."""
        plain = dataclasses.asdict(self) | {"reading": self.reading.dump()}
        # Models of earlier versions have no such keys.
        plain = {name: value for name, value in plain.items() if name not in _LATER or value != _LATER[name]}
        # As in models of earlier versions, in which one column names a sequence.
        plain["sequence"] = next(iter(self.sequence), None) if len(self.sequence) < 2 else self.sequence
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}

    @classmethod
    def of(cls, plain: dict[str, Any]) -> Schema:
        """Return the schema that `dump` wrote."""
        options: dict[str, Any] = {}
        for name, value in plain.items():
            options[name] = tuple(value) if isinstance(value, list) else value
        # Models of earlier versions have one column of times, or None.
        for name in ("order", "sequence"):
            value = options.get(name)
            options[name] = value if isinstance(value, tuple) else () if value is None else (value,)
        if "reading" in options:
            options["reading"] = Reading.restored(options["reading"])
        return cls(**options)


_LATER: dict[str, Any] = {
    "windowed": False,
    "categorical": (),
    "date_features": (),
    "resample": None,
    "each_scaled": False,
    "known_future": (),
    "group": (),
    "wide_series": False,
}
"""Fields that are written down only where they differ from these defaults."""
