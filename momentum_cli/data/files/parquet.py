"""Parquet files, read one row group at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from momentum_cli.errors import DataError


@dataclass(frozen=True)
class RowGroup:
    """A row group of one of the files of a table.

    Args:
        file: The file.
        place: Place of the file among the files of the table, from 0.
        number: Number in the file, from 0.
        first: Number of its first row in the file, from 0.
        rows: Number of rows, >= 1.
    """

    file: Path
    place: int
    number: int
    first: int
    rows: int


def row_groups(file: Path, place: int) -> list[RowGroup]:
    """Return the row groups of a file in order, without empty ones; only the end of the file is read.

    Args:
        file: The file.
        place: As for `RowGroup`.

    Raises:
        DataError: It is not a Parquet file.
    """
    found: list[RowGroup] = []
    first, opened = 0, open_parquet(file)
    with opened:
        for number in range(opened.num_row_groups):
            rows = opened.metadata.row_group(number).num_rows
            if rows:
                found.append(RowGroup(file, place, number, first, rows))
            first += rows
    return found


def open_parquet(path: Path) -> Any:
    """Open a Parquet file.

    Raises:
        DataError: It is not a Parquet file.
    """
    from pyarrow import parquet

    with _readable(path):
        return parquet.ParquetFile(path, pre_buffer=False)


def parquet_batches(
    path: Path, rows: int, columns: Sequence[str] | None = None, group: RowGroup | None = None
) -> Iterator[Any]:
    """Yield the record batches of a Parquet file.

    Args:
        path: The file.
        rows: Most rows of a batch, >= 1.
        columns: Names of those that are read; None for all.
        group: The row group that is read; None for all of them.

    Raises:
        DataError: It is not a Parquet file, or is damaged.
    """
    file = open_parquet(path)
    # With all row groups in one call, pyarrow would keep those it has read until the last one.
    for number in range(file.num_row_groups) if group is None else [group.number]:
        batches = file.iter_batches(rows, row_groups=[number], columns=columns)
        while True:
            with _readable(path):
                batch = next(batches, None)
                if batch is None:
                    break
                # A value may lie outside a column's dictionary, which would be found out far from here.
                batch.validate(full=True)
            yield batch


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    from pyarrow import ArrowException

    try:
        yield
    except (ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file ({error})") from error
