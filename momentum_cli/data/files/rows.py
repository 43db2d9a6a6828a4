"""Tables with one step or one sequence per row, made into pieces of sequences.

Axes: m rows of a block, t steps of a piece, D features, K targets.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from momentum_cli.data.files.columns import not_a_number, numbers, times, words
from momentum_cli.data.files.schema import Piece, Schema, Source
from momentum_cli.data.files.tables import (
    Block,
    csv_blocks,
    csv_columns,
    json_blocks,
    json_objects,
    parquet_blocks,
    parquet_columns,
)
from momentum_cli.data.problems import Problems
from momentum_cli.errors import DataError

WHOLE = "all"
"""Name of the only sequence of a table without a column of names."""


def open_table(path: Path, schema: Schema, problems: Problems, *, whole: bool) -> Source:
    """Open a table.

    Args:
        path: CSV, Parquet or JSON lines.
        schema: What its columns mean.
        problems: Receives every mistake.
        whole: Read all of it before the first piece, so that the rows of a sequence may be anywhere. Otherwise it is
            read in blocks, and a sequence whose rows are apart comes in pieces that are apart.

    Raises:
        DataError: It cannot be read, or a column is missing.
        RecipeError: An optional package is missing.
    """
    blocks: Callable[..., Iterator[Block]]
    if schema.format == "csv":
        present, blocks = csv_columns(path), csv_blocks
    elif schema.format == "parquet":
        present = parquet_columns(path)

        def blocks(path: Path, names: list[str], _: Problems) -> Iterator[Block]:
            return parquet_blocks(path, names)
    else:
        first = next(json_objects(path, Problems()), None)
        if first is None:
            raise DataError(f"{path}: no line is a JSON object")
        present, blocks = list(first[1]), json_blocks
    features = schema.feature_names(present, str(path))
    extra = [schema.sequence, schema.order, schema.split_column, *schema.target]
    names = list(dict.fromkeys([*features, *(name for name in extra if name is not None)]))
    read = blocks(path, names, problems)
    if schema.wide:
        if schema.order is not None:
            raise DataError(f"{path}: task.order={schema.order!r} needs names of sequences; give task.sequence")
        return Source(str(path), features, _wide_pieces(read, schema, features, problems), 1)
    if whole:
        read = iter([_joined(list(read), names)])
    return Source(str(path), features, _long_pieces(read, schema, features, problems, whole=whole), len(features))


def read_features(block: Block, names: tuple[str, ...], problems: Problems) -> np.ndarray:
    """Return (m, D) float64; a value that is not a finite number is a problem and becomes NaN."""
    found = np.empty((len(block.rows), len(names)))
    for column, name in enumerate(names):
        found[:, column], bad = numbers(block.columns[name])
        for place in bad:
            text = f"column {name!r}: {not_a_number(block.columns[name][place])}"
            problems.add("not_a_number", text, [block.rows[place]], column=name)
    return found


def read_target(block: Block, schema: Schema, problems: Problems) -> np.ndarray | None:
    """Return (m,) words, or (m, K) numbers, or None without a target."""
    if not schema.target:
        return None
    if schema.target_is_class:
        return words(block.columns[schema.target[0]])
    return read_features(block, schema.target, problems)


def _wide_pieces(
    blocks: Iterator[Block], schema: Schema, names: tuple[str, ...], problems: Problems
) -> Iterator[Piece]:
    for block in blocks:
        steps, target = read_features(block, names, problems), read_target(block, schema, problems)
        split = None if schema.split_column is None else words(block.columns[schema.split_column])
        for place, row in enumerate(block.rows):
            here = slice(place, place + 1)
            # A shorter sequence leaves its last columns empty.
            present = np.flatnonzero(~np.isnan(steps[place]))
            length = int(present[-1]) + 1 if len(present) else 0
            yield Piece(
                str(row),
                steps[place, :length, None],
                block.rows[here],
                None,
                None if target is None else target[here],
                None if split is None else split[here],
            )


def _long_pieces(
    blocks: Iterator[Block], schema: Schema, names: tuple[str, ...], problems: Problems, *, whole: bool
) -> Iterator[Piece]:
    for read in blocks:
        if not len(read.rows):
            continue
        block = read
        keys, starts = _runs(block, schema, problems)
        if whole and schema.sequence is not None:
            block, keys, starts = _together(block, keys, starts)
        steps, target = read_features(block, names, problems), read_target(block, schema, problems)
        order = split = None
        if schema.order is not None:
            order, bad = times(block.columns[schema.order])
            rows = block.rows[bad]
            if len(rows):
                text = f"column {schema.order!r}: neither a number nor a date and time such as 2024-01-31T12:00:00"
                problems.add("not_a_time", text, rows, column=schema.order)
        if schema.split_column is not None:
            split = words(block.columns[schema.split_column])
        for key, start, stop in zip(keys, starts[:-1], starts[1:], strict=True):
            if key is None:
                continue
            here = slice(start, stop)
            yield Piece(
                key,
                steps[here],
                block.rows[here],
                None if order is None else order[here],
                None if target is None else target[here],
                None if split is None else split[here],
            )


def _runs(block: Block, schema: Schema, problems: Problems) -> tuple[list[str | None], list[int]]:
    """Return the name of each run of rows of one sequence, and where runs begin, with the end of the block."""
    count = len(block.rows)
    if schema.sequence is None:
        return [WHOLE], [0, count]
    raw: Any = block.columns[schema.sequence]
    # Numbers are compared as they are: only one name a run is made into a text.
    compared = raw if isinstance(raw, np.ndarray) else words(raw)
    starts = [0, *(np.flatnonzero(compared[1:] != compared[:-1]) + 1).tolist()]
    keys = words(compared[starts]).tolist()
    for key, start, stop in zip(keys, starts, [*starts[1:], count], strict=True):
        if key is None:
            text = f"column {schema.sequence!r}: the name of the sequence is missing"
            problems.add("missing", text, block.rows[start:stop], column=schema.sequence)
    return keys, [*starts, count]


def _together(block: Block, keys: list[str | None], starts: list[int]) -> tuple[Block, list[str | None], list[int]]:
    """Return the block with the rows of each sequence together, sequences in the order of their first rows."""
    numbers_of: dict[str | None, int] = {}
    codes = np.array([numbers_of.setdefault(key, len(numbers_of)) for key in keys], np.int64)
    lengths = np.diff(starts)
    totals = np.bincount(codes, weights=lengths).astype(np.int64)
    sorted_starts = [0, *np.cumsum(totals).tolist()]
    if len(numbers_of) == len(keys):
        return block, keys, starts
    order = np.argsort(np.repeat(codes, lengths), kind="stable")
    columns: dict[str, Any] = {}
    for name, values in block.columns.items():
        columns[name] = values[order] if isinstance(values, np.ndarray) else [values[place] for place in order]
    return dataclasses.replace(block, columns=columns, rows=block.rows[order]), list(numbers_of), sorted_starts


def _joined(blocks: list[Block], names: list[str]) -> Block:
    columns: dict[str, Any] = {}
    for name in names:
        parts = [block.columns[name] for block in blocks]
        arrays = [part for part in parts if isinstance(part, np.ndarray)]
        if len(arrays) == len(parts) and parts:
            columns[name] = np.concatenate(arrays)
        else:
            columns[name] = [value for part in parts for value in part]
    rows = [block.rows for block in blocks]
    return Block(columns, np.concatenate(rows) if rows else np.empty(0, np.int64))
