"""A table of Parquet files, each of whose rows is a sequence, read one row group at a time.

Axes: n sequences of a row group.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from momentum_cli.data.batching import stream
from momentum_cli.data.files.gathered import Gathered
from momentum_cli.data.files.gathering import Gatherer
from momentum_cli.data.files.many_files import FILE, added_columns, short_names, table_files
from momentum_cli.data.files.parquet import RowGroup, row_groups
from momentum_cli.data.files.pieces import Source
from momentum_cli.data.files.row_sequences import has_lists, open_row_sequences
from momentum_cli.data.files.rows import open_rows
from momentum_cli.data.files.schema import Schema
from momentum_cli.data.files.splitting import SPLITS
from momentum_cli.data.problems import Problems
from momentum_cli.errors import DataError

# The most files that cannot be read that are named one by one.
_NAMED = 20


@dataclass(frozen=True)
class Holdout:
    """The part of the sequences that is not trained on.

    Args:
        validation, test: Fractions.
        seed: Determines which sequences are drawn.
    """

    validation: float
    test: float
    seed: int

    def draw(self, name: str, number: int, count: int) -> np.ndarray:
        """Draw the split of each sequence of a row group, (count,) int64: a place in `SPLITS`.

        Each is drawn by itself, from the seed and the place of the row group, so that other files change nothing.

        Args:
            name: Name of the file within the table.
            number: Number of the row group in the file.
            count: Its sequences.
        """
        import torch

        drawn = torch.rand(count, generator=stream("streamed", self.seed, name, number), dtype=torch.float64).numpy()
        return np.where(drawn < self.test, 2, np.where(drawn < self.test + self.validation, 1, 0))


@dataclass(frozen=True)
class Shards:
    """A table of Parquet files.

    Args:
        path: A file, a folder, or a pattern.
        schema: Meaning of its columns.
        missing: Policy for missing values.
        holdout: The splits, where no column has them.
    """

    path: Path
    schema: Schema
    missing: str
    holdout: Holdout

    @cached_property
    def files(self) -> list[Path]:
        """The files, sorted."""
        return table_files(self.path, "parquet")

    @cached_property
    def names(self) -> list[str]:
        """Their short names, for messages; [] for one file."""
        return short_names(self.files)

    def row_groups(self, problems: Problems) -> list[RowGroup]:
        """Return the row groups in order; files that are not Parquet files, or no rows, are added to the problems.

        Raises:
            DataError: There are no files.
        """
        found: list[RowGroup] = []
        for place, file in enumerate(self.files):
            with self.noting(file, problems):
                found += row_groups(file, place)
        if not found and not problems:
            problems.add("empty", "the files hold no rows")
        return found

    @contextmanager
    def noting(self, file: Path, problems: Problems) -> Iterator[None]:
        """Add an error about a file to the problems, so that the others are checked, too."""
        try:
            yield
        except DataError as error:
            before = problems.different("unreadable", None)
            if before < _NAMED:
                text = str(error).removeprefix(f"{file}: ")
                problems.add("unreadable", f"{self.name(file)}: {text}" if self.names else text)
            elif before == _NAMED:
                problems.add("unreadable", "more files cannot be read")

    def name(self, file: Path) -> str:
        """Return the short name of a file, as messages have it."""
        return self.names[self.files.index(file)] if self.names else file.name

    def with_features(self, columns: tuple[str, ...]) -> Shards:
        """Return the table with the columns of the features that one file has, and that the others must have too."""
        return replace(self, schema=self.schema.with_features(columns))

    def gather(self, group: RowGroup, problems: Problems) -> Gathered:
        """Read the sequences of a row group, and add their mistakes to the problems.

        Raises:
            DataError: It cannot be read, or its rows are not sequences.
        """
        source = self._open(group, problems)
        return Gatherer(self.schema, self.missing, source, problems, None, whole=True).gather()

    def splits(self, group: RowGroup, gathered: Gathered, problems: Problems) -> np.ndarray:
        """Return the split of each sequence, (n,) int64: a place in `SPLITS`; wrong words are added to the problems."""
        if gathered.splits is None:
            name = added_columns(group.file, self.path)[FILE]
            return self.holdout.draw(name, group.number, len(gathered))
        words = gathered.splits.astype(str)
        found = np.full(len(words), -1)
        for number, word in enumerate(SPLITS):
            found[words == word] = number
        for place in np.flatnonzero((found < 0) & (words != "")):
            text = f"the split {words[place][:40]!r} is not one of {', '.join(SPLITS)}"
            problems.add("split_name", text, [gathered.rows[place]])
        return found

    def _open(self, group: RowGroup, problems: Problems) -> Source:
        if has_lists(group.file, "parquet"):
            added = added_columns(group.file, self.path)
            return open_row_sequences(group.file, self.schema, problems, group, self.names, added)
        if self.schema.sequence or self.schema.order:
            must = "be left out for tables whose rows are steps"
            remedy = "write each sequence as one row with columns of lists"
            raise DataError(f"{group.file}: task.streamed must {must}; {remedy}")
        return open_rows(group, self.path, self.names, self.schema, problems)
