"""The first rows of a table in one or several files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from momentum_cli.data.files.many_files import short_names
from momentum_cli.data.files.reading import Reading
from momentum_cli.data.files.tables import table_blocks, table_columns
from momentum_cli.data.problems import Problems

# Rows that are read of all files together, and files that are read.
_ROWS = 200_000
_FILES = 64
# Names of files that are pieces of one table, as programs write them.
_PIECE = re.compile(
    r"(part|chunk|shard|batch|block|split|train|valid|val|test|all)\b|(part|chunk|shard|batch|block|split)", re.I
)


@dataclass
class Head:
    """The first rows of each file, one below the other.

    Attributes:
        columns: By name, each of m values.
        rows: (m,) their numbers in their file, as its own tools number them.
        files: (m,) the number of the file of each.
        names: The names of several files; [] for one.
    """

    columns: dict[str, Any]
    rows: np.ndarray
    files: np.ndarray
    names: list[str]

    def place(self, row: int) -> str:
        """Return where a row is: ``row 7``, or ``row 7 of b.csv``."""
        return f"row {self.rows[row]}" + (f" of {self.names[self.files[row]]}" if self.names else "")

    def files_are_sequences(self, stamps: np.ndarray) -> bool:
        """Return True if each file seems to hold a sequence of its own, not a piece of one table.

        Args:
            stamps: (m,) times of the rows; empty if there are none.
        """
        if len(self.names) < 2 or any(_PIECE.match(Path(name).name) for name in self.names):
            return False
        if not len(stamps):
            return True
        # Pieces of one series or table continue one another; sequences begin again.
        return len(np.unique(stamps)) < len(stamps) and self._times_are_once_a_file(stamps)

    def _times_are_once_a_file(self, stamps: np.ndarray) -> bool:
        return all(
            len(np.unique(own)) == len(own)
            for own in (stamps[self.files == number] for number in np.unique(self.files))
        )


def read_head(files: list[Path], found: str, layout: Reading) -> Head:
    """Read the first rows of the first files.

    Args:
        files: Of one table, at least one.
        found: Their format.
        layout: How the first is laid out.
    """
    import pyarrow as pa

    names = table_columns(files[0], found, layout)
    read = files[:_FILES]
    parts: list[tuple[dict[str, Any], np.ndarray, int]] = []
    for number, file in enumerate(read):
        if number and not set(names) <= set(table_columns(file, found, layout)):
            continue  # `data check` says so
        left = _ROWS // len(read)
        for block in table_blocks(file, found, names, layout, Problems()):
            count = min(left, len(block.rows))
            parts.append(({name: block.columns[name][:count] for name in names}, block.rows[:count], number))
            left -= count
            if not left:
                break
    try:
        columns = {name: pa.concat_arrays([part[0][name] for part in parts]) for name in names}
    except pa.ArrowInvalid:  # no rows, or columns of other types in other blocks
        parts = parts[:1]
        columns = parts[0][0] if parts else {name: pa.array([]) for name in names}
    rows = [part[1] for part in parts] or [np.empty(0, np.int64)]
    numbers = [np.full(len(part[1]), part[2]) for part in parts] or [np.empty(0, np.int64)]
    return Head(columns, np.concatenate(rows), np.concatenate(numbers), short_names(files))
