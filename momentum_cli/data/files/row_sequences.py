"""Files with one whole sequence in each row: JSON Lines and Parquet with columns of lists, and .ts files.

Axes: t steps, d values of a step, D features, K targets.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from momentum_cli.data.files.columns import column, joined_words, not_a_number, numbers, times, value_at, words
from momentum_cli.data.files.dates import localised
from momentum_cli.data.files.many_files import added_columns, row_name, short_names
from momentum_cli.data.files.parquet import RowGroup, open_parquet, parquet_batches
from momentum_cli.data.files.pieces import Piece, Pieces, Source
from momentum_cli.data.files.schema import Schema
from momentum_cli.data.files.tables import json_objects, rows_of_block
from momentum_cli.data.files.ts_lines import ts_rows
from momentum_cli.data.problems import ROW_BITS, Problems
from momentum_cli.errors import DataError
from momentum_cli.messages import counted, refuse

# Rows that are tried until one tells the widths of the features.
_TRIED = 1000

Row = Mapping[str, Any]
"""The values of a row by name; a sequence is a list or an Arrow array of numbers, or of lists of them."""


def has_lists(path: Path, format: str) -> bool:
    """Return True if each row of a file is a whole sequence, that is, if it has a column of lists."""
    if format == "ts":
        return True
    if format == "parquet":
        from pyarrow import types

        return any(_is_list(types, field.type) for field in open_parquet(path).schema_arrow)
    if format != "jsonl":
        return False
    first = next(json_objects(path, Problems()), None)
    return first is not None and any(isinstance(value, list) for value in first[1].values())


def sequence_rows(
    path: Path, format: str, problems: Problems, group: RowGroup | None = None
) -> Iterator[tuple[int, Row]]:
    """Yield the number and the values of each row; with a row group, of the rows of a Parquet file there."""
    if format == "ts":
        return ts_rows(path)
    return _parquet_rows(path, group) if format == "parquet" else json_objects(path, problems)


def list_columns(row: Row) -> list[str]:
    """Return the names of the columns of a row that are sequences."""
    return [name for name, value in row.items() if _listed(value)]


def sequence_shape(value: Any) -> tuple[int, int]:
    """Return the number of steps of a list, and the number of values per step.

    Raises:
        ValueError: It is not a list of numbers, or of lists of them.
    """
    steps, width = _matrix(value).shape
    return steps, width


def lacks_values(value: Any) -> bool:
    """Return True if a list of numbers has a missing one."""
    try:
        return bool(np.isnan(_matrix(value)).any())
    except ValueError:
        return False


def open_row_files(path: Path, files: list[Path], schema: Schema, problems: Problems) -> Source:
    """Open a table with one sequence in each row.

    Args:
        path: The file, folder or pattern.
        files: The files of the table, at least one.
        schema: Meaning of its columns.
        problems: Receives every mistake.

    Raises:
        DataError: A file cannot be read, has no list of numbers, or other features than the first.
    """
    names = short_names(files)
    first = open_row_sequences(files[0], schema, problems, files=names, added=added_columns(files[0], path))

    def pieces() -> Iterator[Piece | Pieces]:
        yield from first.pieces
        for place, file in enumerate(files[1:], start=1):
            added = added_columns(file, path)
            source = open_row_sequences(file, schema, problems, files=names, added=added, place=place)
            if source.features != first.features:
                must = f"be {', '.join(first.features)}, as in {files[0].name}"
                raise DataError(f"{file}: {refuse('the features', ', '.join(source.features), must)}")
            yield from source.pieces

    return dataclasses.replace(first, path=str(path), pieces=pieces())


def open_row_sequences(
    path: Path,
    schema: Schema,
    problems: Problems,
    group: RowGroup | None = None,
    files: Sequence[str] = (),
    added: Mapping[str, str] | None = None,
    place: int = 0,
) -> Source:
    """Open a file with one sequence in each row.

    Args:
        path: The file.
        schema: Meaning of its columns.
        problems: Receives every mistake.
        group: The row group of a Parquet file that is read; None for all of it.
        files: Short names of the files of a table that the row group belongs to.
        added: Columns from the path of the file.
        place: Place of a whole file among the files of a table.

    Raises:
        DataError: It cannot be read, or has no list of numbers.
    """
    more = {} if added is None else dict(added)
    found = sequence_rows(path, schema.format, problems, group)
    first = next(found, None)
    if first is None:
        raise DataError(f"{path}: the file holds no rows")
    names = _features(path, schema, more | dict(first[1]))
    head = _up_to_a_sequence(itertools.chain([first], itertools.islice(found, _TRIED)), names)
    # If none is a sequence, the mistake of the first one says why.
    told = head[-1] if _is_sequence(head[-1][1], names) else first
    widths = [_width(path, name, told) for name in names]
    above = place << ROW_BITS
    rows = ((above + row, {**more, **content}) for row, content in itertools.chain(head, found))
    return Source(
        str(path),
        tuple(
            name if width == 1 else f"{name}[{index}]"
            for name, width in zip(names, widths, strict=True)
            for index in range(width)
        ),
        _pieces(rows, schema, names, widths, problems, list(files)),
        sum(widths),
        columns=names,
    )


def _features(path: Path, schema: Schema, first: Row) -> tuple[str, ...]:
    if schema.features is not None:
        return schema.feature_names(list(first), str(path))
    schema.feature_names(list(first), str(path))
    taken = {*schema.sequence, *schema.order, schema.split_column, *schema.group}
    taken |= set() if schema.kind == "forecasting" else set(schema.target)
    names = tuple(name for name in list_columns(first) if name not in taken)
    if not names:
        raise DataError(f"{path}: the first row has no list of numbers to use as a feature")
    return names


def _up_to_a_sequence(rows: Iterator[tuple[int, Row]], names: Sequence[str]) -> list[tuple[int, Row]]:
    """Return the rows up to the first that is a sequence, which tells the width of each column; all if none is."""
    found = []
    for row in rows:
        found.append(row)
        if _is_sequence(row[1], names):
            break
    return found


def _is_sequence(row: Row, names: Sequence[str]) -> bool:
    try:
        # An empty list has no width.
        return all(sequence_shape(row.get(name))[0] > 0 for name in names)
    except ValueError:
        return False


def _width(path: Path, name: str, numbered: tuple[int, Row]) -> int:
    row, content = numbered
    try:
        return sequence_shape(content.get(name))[1]
    except ValueError as error:
        at = row & ((1 << ROW_BITS) - 1)
        raise DataError(f"{path}: {name!r} in row {at} is not a sequence: {error}") from error


def _pieces(
    numbered: Iterator[tuple[int, Row]],
    schema: Schema,
    names: tuple[str, ...],
    widths: list[int],
    problems: Problems,
    files: list[str],
) -> Iterator[Piece]:
    met: dict[Any, np.ndarray] = {}
    for row, content in numbered:
        here = np.array([row], np.int64)
        try:
            parts = [_matrix(content.get(name), schema) for name in names]
            if [part.shape[1] for part in parts] != widths or len({len(part) for part in parts}) != 1:
                raise ValueError("its lists differ in length, or in width from those of the first sequence")
            target = _target(content, schema, len(parts[0]), met)
            order = _order(content, schema, len(parts[0]))
        except (TypeError, ValueError) as error:
            problems.add("shape", f"the row is not a sequence: {error}", here, sequence=row_name(row, files))
            continue
        named, split, group = (
            joined_words({column: [content.get(column)] for column in columns}, schema.reading) if columns else None
            for columns in (schema.sequence, schema.split_columns, schema.group)
        )
        name = row_name(row, files) if named is None else named[0]
        if name is None:
            text = f"column {schema.sequence_name!r}: the name of the sequence is missing"
            problems.add("missing", text, here, column=schema.sequence_name)
            continue
        rows = np.full(len(parts[0]), row, np.int64)
        yield Piece(name, np.concatenate(parts, 1), rows, order, target, split, group)


def _order(content: Row, schema: Schema, steps: int) -> np.ndarray | None:
    if not schema.order:
        return None
    if len(schema.order) > 1:
        raise ValueError("task.order must be one list of times")
    value = content.get(schema.order[0])
    if not _listed(value):
        raise ValueError(f"{schema.order_name!r} is not a list of times")
    array = column(value)
    found, bad = times(array, schema.order_format, schema.reading)
    if bad:
        raise ValueError(f"{schema.order_name!r}: {str(value_at(array, bad[0]))[:40]!r} is neither a number nor a time")
    if len(found) != steps:
        raise ValueError(f"{schema.order_name!r} and the features differ in their number of steps")
    if schema.order_timezone is not None and found.dtype.kind == "M":
        found, exists = localised(found, schema.order_timezone)
        if not exists.all():
            raise ValueError(f"{schema.order_name!r} has a clock time that {schema.order_timezone} skips in spring")
    return found


def _target(content: Row, schema: Schema, steps: int, met: dict[Any, np.ndarray]) -> np.ndarray | None:
    if not schema.target:
        return None
    if schema.target_is_class:
        value = content.get(schema.target[0])
        if schema.target_every_step and _listed(value):
            found = words(value, schema.reading)
        else:
            # Most rows have a class that was met before, and to convert one word costs as much as to convert many.
            key = type(value), str(value)
            if key not in met:
                met[key] = words([value], schema.reading)
            found = met[key]
    elif schema.target_every_step and (_listed(content.get(schema.target[0])) or not schema.windowed):
        found = np.concatenate([_matrix(content.get(name), schema) for name in schema.target], 1)
    else:
        values = [content.get(name) for name in schema.target]
        found, bad = numbers(values, schema.reading)
        if bad:
            raise ValueError(f"{schema.target[bad[0]]!r}: {not_a_number(values[bad[0]], schema.reading)[0]}")
        found = found[None]
    # One target of the row is that of all its windows.
    whole = schema.windowed and len(found) == 1
    if schema.target_every_step and len(found) != steps and not whole:
        raise ValueError(f"the target has {counted(len(found), 'step')}, the features have {steps}")
    return found


def _listed(value: Any) -> bool:
    # An Arrow array holds the values of a column in one row.
    return isinstance(value, list) or hasattr(value, "to_pylist")


def _matrix(value: Any, schema: Schema | None = None) -> np.ndarray:
    """Return a list of numbers, or of lists of numbers, as (t, d)."""
    if not _listed(value):
        raise ValueError(f"expected a list, got {value!r}")
    steps = len(value)
    if isinstance(value, list):
        rows = [row if isinstance(row, list) else [row] for row in value]
        widths = {len(row) for row in rows}
        flat = column([cell for row in rows for cell in row])
    else:
        widths, flat = _flat(value)
    if len(widths) > 1:
        raise ValueError("the steps of a list have different numbers of values")
    found, bad = numbers(flat) if schema is None else numbers(flat, schema.reading)
    if bad:
        raise ValueError(not_a_number(value_at(flat, bad[0]), *(() if schema is None else (schema.reading,)))[0])
    return found.reshape(steps, -1) if steps else found.reshape(0, 1)


def _flat(value: Any) -> tuple[set[int], Any]:
    """Return the widths of the steps of an Arrow array, and its flattened numbers."""
    from pyarrow import compute, types

    if not _is_list(types, value.type):
        return {1}, value
    if value.null_count:
        raise ValueError("a step of a list is missing")
    return set(compute.list_value_length(value).to_pylist()), value.flatten()


def _is_list(types: Any, type: Any) -> bool:
    return bool(types.is_list(type) or types.is_large_list(type) or types.is_fixed_size_list(type))


def _parquet_rows(path: Path, group: RowGroup | None) -> Iterator[tuple[int, Row]]:
    from pyarrow import types

    number = 0 if group is None else (group.place << ROW_BITS) + group.first
    # A row is a whole sequence, whose length is unknown before it is read.
    size = min(256, rows_of_block(len(open_parquet(path).schema_arrow)))
    for batch in parquet_batches(path, size, group=group):
        lists = [_is_list(types, one.type) for one in batch.columns]
        for place in range(batch.num_rows):
            cells = (one[place] for one in batch.columns)
            yield (
                number,
                {
                    name: cell.values if listed and cell.is_valid else cell.as_py()
                    for name, listed, cell in zip(batch.schema.names, lists, cells, strict=True)
                },
            )
            number += 1
