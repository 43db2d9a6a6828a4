"""Tables read in blocks of rows: CSV, Parquet, and JSON Lines with one step per line.

A block keeps the values as the file has them; `momentum_cli.data.files.rows` makes sequences of blocks.
"""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from momentum_cli.data.files.columns import Values, is_number
from momentum_cli.data.problems import Problems
from momentum_cli.errors import DataError, RecipeError

CELLS = 1 << 20
"""Cells of a block: 8 MB as numbers, some ten times that as texts of a CSV file."""
DELIMITERS = (",", ";", "\t", "|")


@dataclass
class Block:
    """Some rows of a table.

    Args:
        columns: The values of each column that was asked for.
        rows: (m,) int64, the number of each row in the file.
    """

    columns: dict[str, Values]
    rows: np.ndarray


def rows_of_block(columns: int) -> int:
    """Return the number of rows of so many columns that are read together."""
    return max(64, CELLS // max(columns, 1))


def csv_columns(path: Path) -> list[str]:
    """Return the header of a CSV file.

    Raises:
        DataError: It is missing, or has a name twice.
    """
    with _open_csv(path) as reader:
        heading = [name.strip() for name in next(reader, [])]
    if not heading:
        raise DataError(f"{path}: the file is empty")
    if all(is_number(name) for name in heading):
        raise DataError(f"{path}: expected a header row with column names, got numbers")
    _no_twice(path, heading)
    return heading


def csv_blocks(path: Path, names: Sequence[str], problems: Problems) -> Iterator[Block]:
    """Yield the columns `names`; rows are numbered as an editor does, the header is row 1."""
    with _open_csv(path) as reader:
        heading = [name.strip() for name in next(reader)]
        places = [heading.index(name) for name in names]
        number = 1
        while lines := list(itertools.islice(reader, rows_of_block(len(heading)))):
            kept, rows = [], []
            for cells in lines:
                number += 1
                if len(cells) == len(heading):
                    kept.append(cells)
                    rows.append(number)
                elif cells:  # an empty line is nothing
                    text = f"the row does not have {len(heading)} cells like the header"
                    problems.add("cells", text, [number])
            yield Block({n: [c[p] for c in kept] for n, p in zip(names, places, strict=True)}, np.array(rows, np.int64))


def parquet_columns(path: Path) -> list[str]:
    """Return the columns of a Parquet file.

    Raises:
        RecipeError: pyarrow is not installed.
        DataError: It is no Parquet file.
    """
    return list(_open_parquet(path).schema_arrow.names)


def parquet_blocks(path: Path, names: Sequence[str]) -> Iterator[Block]:
    """Yield the columns `names`, a part of a row group at a time; rows are numbered from 0, as pandas does."""
    file = _open_parquet(path)
    number = 0
    wanted = list(dict.fromkeys(names))
    # Asked for all row groups at once, pyarrow keeps what it has read of them until the last one.
    for group in range(file.num_row_groups):
        for batch in file.iter_batches(rows_of_block(len(wanted)), row_groups=[group], columns=wanted):
            columns = {name: _plain(column) for name, column in zip(batch.schema.names, batch.columns, strict=True)}
            yield Block(columns, np.arange(number, number + batch.num_rows))
            number += batch.num_rows


def json_objects(path: Path, problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield number and content of each line that is not empty; lines are numbered from 1.

    Raises:
        DataError: The file is not UTF-8.
    """
    with open(path, encoding="utf-8-sig") as file:
        try:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    content = json.loads(line)
                except ValueError as error:
                    problems.add("not_json", f"the line is not JSON ({error})", [number])
                    continue
                if isinstance(content, dict):
                    yield number, content
                else:
                    problems.add("not_json", "the line is not a JSON object", [number])
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from error


def json_blocks(path: Path, names: Sequence[str], problems: Problems) -> Iterator[Block]:
    """Yield the columns `names` of lines that are steps; a name that a line lacks is a missing value."""
    lines = json_objects(path, problems)
    while block := list(itertools.islice(lines, rows_of_block(len(names)))):
        columns: dict[str, Values] = {name: [content.get(name) for _, content in block] for name in names}
        yield Block(columns, np.array([number for number, _ in block], np.int64))


def require_pyarrow() -> Any:
    """Return pyarrow's module for Parquet.

    Raises:
        RecipeError: It is not installed.
    """
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise RecipeError("Parquet files need pyarrow: pip install 'momentumrnn[files]'") from error
    return pyarrow.parquet


def _open_parquet(path: Path) -> Any:
    parquet = require_pyarrow()
    from pyarrow import ArrowInvalid

    try:
        return parquet.ParquetFile(path, pre_buffer=False)
    except (ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file ({error})") from error


def _plain(column: Any) -> Values:
    """Return an Arrow column as numpy when it is numbers or times, else as a list."""
    from pyarrow import types

    if types.is_floating(column.type) or types.is_integer(column.type) or types.is_timestamp(column.type):
        # A missing number becomes NaN (and integers floats), a missing time NaT.
        return np.asarray(column.to_numpy(zero_copy_only=False))
    return list(column.to_pylist())


@contextmanager
def _open_csv(path: Path) -> Iterator[Iterator[list[str]]]:
    """Open the rows of a CSV file, with the delimiter of its first line."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        try:
            first = file.readline()
        except UnicodeDecodeError:
            raise DataError(f"{path}: not UTF-8 text; save it as CSV UTF-8") from None
        file.seek(0)
        delimiter = max(DELIMITERS, key=lambda d: (first.count(d), d == ","))
        try:
            yield csv.reader(file, delimiter=delimiter)
        except (UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"{path}: cannot be read as CSV in UTF-8 ({error})") from error


def _no_twice(path: Path, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise DataError(f"{path}: the header has {', '.join(map(repr, twice))} more than once")
