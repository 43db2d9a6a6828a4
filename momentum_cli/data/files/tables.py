"""Tables read in blocks of rows: CSV, Parquet, and JSON Lines with one step per line.

A block keeps the values as the file has them; `momentum_cli.data.files.rows` makes sequences of blocks.

Axes: m rows of a block.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from momentum_cli.data.files.columns import column
from momentum_cli.data.files.compression import open_bytes
from momentum_cli.data.files.csv_blocks import csv_blocks, csv_columns
from momentum_cli.data.files.parquet import RowGroup, open_parquet, parquet_batches
from momentum_cli.data.files.reading import Reading
from momentum_cli.data.problems import Problems
from momentum_cli.errors import DataError
from momentum_cli.reading import parse_json

CELLS = 1 << 20
"""Cells per block: 8 MB as numbers."""


@dataclass
class Block:
    """Some rows of a table.

    Args:
        columns: (m,) Arrow arrays, one for each requested column.
        rows: (m,) int64, the number of each row in the file.
    """

    columns: dict[str, Any]
    rows: np.ndarray


def rows_of_block(columns: int) -> int:
    """Return the number of rows to read at once for this number of columns."""
    return max(64, CELLS // max(columns, 1))


def table_columns(path: Path, format: str, reading: Reading) -> list[str]:
    """Return the columns of a table; for JSON Lines the keys of the first line.

    Raises:
        DataError: It cannot be read, or has no columns.
    """
    if format == "csv":
        return csv_columns(path, reading)
    if format == "parquet":
        return list(open_parquet(path).schema_arrow.names)
    first = next(json_objects(path, Problems()), None)
    if first is None:
        raise DataError(f"{path}: no line is a JSON object")
    return list(first[1])


def table_blocks(
    path: Path,
    format: str,
    names: Sequence[str],
    reading: Reading,
    problems: Problems,
    group: RowGroup | None = None,
) -> Iterator[Block]:
    """Yield the columns `names` of a table; with a row group, those of a Parquet file there.

    Rows are numbered as the file's own tools do: lines of CSV and JSON Lines from 1, rows of Parquet from 0.
    """
    if format == "csv":
        for columns, rows in csv_blocks(path, names, reading, problems):
            yield Block(columns, rows)
    elif format == "parquet":
        yield from _parquet_blocks(path, names, group)
    else:
        yield from _json_blocks(path, names, problems)


def _parquet_blocks(path: Path, names: Sequence[str], group: RowGroup | None) -> Iterator[Block]:
    number = 0 if group is None else group.first
    wanted = list(dict.fromkeys(names))
    for batch in parquet_batches(path, rows_of_block(len(wanted)), wanted, group):
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        yield Block(columns, np.arange(number, number + batch.num_rows))
        number += batch.num_rows


def json_objects(path: Path, problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number, from 1, and the content of each line that is not empty.

    Raises:
        DataError: The file is not UTF-8.
    """
    with open_bytes(path) as binary, io.TextIOWrapper(binary, encoding="utf-8-sig") as file:
        try:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    content = parse_json(line)
                except ValueError as error:
                    problems.add("not_json", f"the line is not JSON ({error})", [number])
                    continue
                if isinstance(content, dict):
                    yield number, content
                else:
                    problems.add("not_json", "the line is not a JSON object", [number])
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from error


def _json_blocks(path: Path, names: Sequence[str], problems: Problems) -> Iterator[Block]:
    """Yield the columns `names` of lines that are steps; a name absent from a line is a missing value."""
    lines = json_objects(path, problems)
    while block := list(itertools.islice(lines, rows_of_block(len(names)))):
        columns = {name: column([content.get(name) for _, content in block]) for name in names}
        yield Block(columns, np.array([number for number, _ in block], np.int64))
