"""Tables with one step or one sequence per row, converted to pieces of sequences.

Axes: m rows of a block, t steps of a piece, D features, K targets.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from momentum_cli.data.files.columns import (
    joined_texts,
    joined_words,
    not_a_number,
    numbers,
    times,
    value_at,
    words,
)
from momentum_cli.data.files.dates import localised
from momentum_cli.data.files.layout import is_row_number
from momentum_cli.data.files.many_files import added_columns, row_name, short_names, table_files
from momentum_cli.data.files.parquet import RowGroup
from momentum_cli.data.files.parts import complete_blocks, joined
from momentum_cli.data.files.pieces import Piece, Pieces, Source, chosen
from momentum_cli.data.files.reading import PLAIN, Reading
from momentum_cli.data.files.schema import Schema
from momentum_cli.data.files.tables import Block, table_blocks, table_columns
from momentum_cli.data.problems import ROW_BITS, Problems
from momentum_cli.errors import DataError
from momentum_cli.messages import unknown

WHOLE = "all"
"""Name of the only sequence of a table without a column of names."""
# At most this many different texts per column are reported one by one.
_NAMED = 20


def open_table(path: Path, schema: Schema, problems: Problems, *, whole: bool, together: bool = False) -> Source:
    """Open a table.

    Args:
        path: CSV, Parquet or JSON Lines.
        schema: Meaning of its columns.
        problems: Receives every mistake.
        whole: Read all of it before the first piece, so that the rows of a sequence may be anywhere. Otherwise it is
            read in blocks, and a sequence with scattered rows comes in separate pieces.
        together: With `whole`, the rows of each sequence are together, so that only whole sequences need to be read
            before the first piece.

    Raises:
        DataError: It cannot be read, or a column is missing.
    """
    files = table_files(path, schema.format)
    present = table_columns(files[0], schema.format, schema.reading)
    features = schema.feature_names(present, str(path), list(added_columns(files[0], path)))
    names = _names(schema, features)
    read = _blocks(path, files, names, schema, problems)
    whole_rows = not schema.sequence and schema.kind in ("classification", "regression") and not schema.windowed
    if schema.kind == "labelling" and not schema.sequence:
        raise DataError(f"{path}: name the column of sequences in task.sequence; labelling splits whole sequences")
    if whole_rows or schema.wide_series:
        if schema.order:
            raise DataError(f"{path}: task.order={schema.order_name!r} needs names of sequences; give task.sequence")
        short = short_names(files)
        pieces = _wide_pieces(read, schema, features, problems, short)
        return Source(str(path), features, pieces, 1, wide=True, numbered=not schema.sequence and not short)
    if together:
        read = complete_blocks(read, schema.sequence)
    elif whole:
        read = _as_one(read, names)
    categories: dict[str, list[str]] = {name: [] for name in schema.categorical}
    pieces = _long_pieces(read, schema, features, problems, categories, whole=whole)
    return Source(str(path), features, pieces, len(features), {"categories": categories} if categories else {})


def open_rows(group: RowGroup, path: Path, files: list[str], schema: Schema, problems: Problems) -> Source:
    """Open a row group of a table whose rows are sequences and whose features are the steps.

    Args:
        group: The row group.
        path: The table: a file, a folder, or a pattern.
        files: Short names of its files.
        schema: Meaning of its columns.
        problems: Receives every mistake.

    Raises:
        DataError: It cannot be read, or a column is missing.
    """
    present = table_columns(group.file, schema.format, schema.reading)
    features = schema.feature_names(present, str(group.file), list(added_columns(group.file, path)))
    read = _blocks_of_file(path, group.file, group.place, _names(schema, features), schema, problems, group)
    return Source(str(path), features, _wide_pieces(read, schema, features, problems, files), 1, wide=True)


def _names(schema: Schema, features: Sequence[str]) -> list[str]:
    """Return the columns to read."""
    extra = [*schema.sequence, *schema.order, schema.split_column, *schema.group, *schema.target]
    return list(dict.fromkeys([*features, *(name for name in extra if name is not None)]))


def left_out(path: Path, schema: Schema) -> list[str]:
    """Return the columns of a table that are no features because they have no name and number the rows."""
    if schema.features is not None or schema.format not in ("csv", "parquet"):
        return []
    named = {*schema.sequence, *schema.order, schema.split_column, *schema.group, *schema.target}
    present = table_columns(table_files(path, schema.format)[0], schema.format, schema.reading)
    return [name for name in present if is_row_number(name) and name not in named]


def _blocks(path: Path, files: list[Path], names: list[str], schema: Schema, problems: Problems) -> Iterator[Block]:
    """Yield the blocks of one or several files, with the columns from their paths."""
    for place, file in enumerate(files):
        yield from _blocks_of_file(path, file, place, names, schema, problems)


def _blocks_of_file(
    path: Path,
    file: Path,
    place: int,
    names: list[str],
    schema: Schema,
    problems: Problems,
    group: RowGroup | None = None,
) -> Iterator[Block]:
    import pyarrow as pa

    present = table_columns(file, schema.format, schema.reading)
    added = {name: text for name, text in added_columns(file, path).items() if name not in present}
    for name in names:
        if name not in present and name not in added:
            raise DataError(f"{file}: {unknown('column', name, present)}")
    own = [name for name in names if name not in added]
    for block in table_blocks(file, schema.format, own, schema.reading, problems, group):
        count = len(block.rows)
        for name in names:
            if name in added:
                block.columns[name] = pa.array([added[name]]).take(pa.array(np.zeros(count, np.int64)))
        yield Block(block.columns, block.rows + (place << ROW_BITS))


def read_categories(values: Any, reading: Reading, met: list[str]) -> np.ndarray:
    """Return the number of each word, (m,) float64, NaN for a missing one; new words are added to those met."""
    found = words(values, reading)
    numbers_of = {word: number for number, word in enumerate(met)}
    codes = [np.nan if word is None else numbers_of.setdefault(word, len(numbers_of)) for word in found.tolist()]
    met[:] = numbers_of
    return np.array(codes, np.float64)


def read_features(
    block: Block,
    names: tuple[str, ...],
    reading: Reading,
    problems: Problems,
    categories: dict[str, list[str]] | None = None,
) -> np.ndarray:
    """Return (m, D) float64; a value that is not a finite number is a problem and becomes NaN."""
    found = np.empty((len(block.rows), len(names)))
    for place, name in enumerate(names):
        if categories is not None and name in categories:
            found[:, place] = read_categories(block.columns[name], reading, categories[name])
            continue
        found[:, place], bad = numbers(block.columns[name], reading)
        for row in bad:
            # A thousand numbers with a comma are one problem, solved by one option.
            mistake = f"column {name!r}: more texts that are not finite numbers"
            group = mistake
            if problems.different("not_a_number", name) < _NAMED:
                mistake, group = not_a_number(value_at(block.columns[name], row), reading)
                mistake, group = f"column {name!r}: {mistake}", f"column {name!r}: {group}"
            problems.add("not_a_number", mistake, [block.rows[row]], column=name, group=group)
    return found


def read_target(
    block: Block, schema: Schema, names: tuple[str, ...], steps: np.ndarray, problems: Problems
) -> np.ndarray | None:
    """Return (m,) words, or (m, K) numbers, or None without a target; what is a feature has been read in `steps`."""
    if not schema.target:
        return None
    if schema.target_is_class:
        return words(block.columns[schema.target[0]], schema.reading)
    if set(schema.target) <= set(names):
        return steps[:, [names.index(name) for name in schema.target]]
    return read_features(block, schema.target, schema.reading, problems)


def _wide_pieces(
    blocks: Iterator[Block], schema: Schema, names: tuple[str, ...], problems: Problems, files: list[str]
) -> Iterator[Piece | Pieces]:
    for block in blocks:
        steps = read_features(block, names, schema.reading, problems)
        target = read_target(block, schema, names, steps, problems)
        keys = _words_of(block, schema.sequence, PLAIN)
        split = _words_of(block, schema.split_columns, PLAIN)
        group = _words_of(block, schema.group, schema.reading)
        # The last columns of a shorter sequence are empty.
        present = ~np.isnan(steps)
        lengths = np.where(present.any(1), steps.shape[1] - present[:, ::-1].argmax(1), 0)
        if keys is None:
            keys = np.array([row_name(row, files) for row in block.rows.tolist()], dtype=object)
        for place in np.flatnonzero(keys == np.array(None)):
            text = f"column {schema.sequence_name!r}: the name of the sequence is missing"
            problems.add("missing", text, block.rows[place : place + 1], column=schema.sequence_name)
        full, empty = np.flatnonzero(lengths), np.flatnonzero(lengths == 0)
        own = steps[full][np.arange(steps.shape[1]) < lengths[full, None]][:, None]
        starts = np.concatenate(([0], np.cumsum(lengths[full])))
        aims = own if schema.wide_series else chosen(target, full)
        yield Pieces(keys[full], starts, own, block.rows[full], None, aims, chosen(split, full), chosen(group, full))
        for place in empty:
            here = np.array([place])
            own = np.empty((0, 1))
            aims = own if schema.wide_series else chosen(target, here)
            if keys[place] is not None:
                yield Piece(keys[place], own, block.rows[here], None, aims, chosen(split, here), chosen(group, here))


def _words_of(block: Block, names: Sequence[str], reading: Reading) -> np.ndarray | None:
    """Return (m,) words of a column, or of several together, or None without one."""
    return joined_words({name: block.columns[name] for name in names}, reading) if names else None


def _long_pieces(
    blocks: Iterator[Block],
    schema: Schema,
    names: tuple[str, ...],
    problems: Problems,
    categories: dict[str, list[str]],
    *,
    whole: bool,
) -> Iterator[Pieces]:
    for read in blocks:
        if not len(read.rows):
            continue
        block = read
        keys, starts = _runs(block, schema, problems)
        if whole and schema.sequence:
            block, keys, starts = _together(block, keys, starts)
        steps = read_features(block, names, schema.reading, problems, categories)
        target = read_target(block, schema, names, steps, problems)
        order = _in_utc(_order(block, schema, problems), starts, block.rows, schema, problems) if schema.order else None
        split = _words_of(block, schema.split_columns, PLAIN)
        group = _words_of(block, schema.group, schema.reading)
        named = np.array(keys, dtype=object)
        yield Pieces(named, np.array(starts, np.int64), steps, block.rows, order, target, split, group)


def _order(block: Block, schema: Schema, problems: Problems) -> np.ndarray:
    texts = joined_texts([block.columns[name] for name in schema.order])
    found, bad = times(texts, schema.order_format, schema.reading)
    for place in bad:
        value = value_at(texts, place)
        text = f"column {schema.order_name!r}: "
        if value is None or (isinstance(value, str) and not value.strip()):
            problems.add("not_a_time", f"{text}missing value", [block.rows[place]], column=schema.order_name)
            continue
        shown = f"{str(value)[:40]!r} is not a date or time"
        if schema.order_format is not None:
            text += f"{shown} in the format {schema.order_format!r}"
        else:
            text += f"{shown} such as 2024-01-31T12:00:00, nor a number; set its format in task.order_format"
        problems.add("not_a_time", text, [block.rows[place]], column=schema.order_name)
    return found


def _in_utc(order: np.ndarray, starts: list[int], rows: np.ndarray, schema: Schema, problems: Problems) -> np.ndarray:
    if schema.order_timezone is None or order.dtype.kind != "M":
        return order
    parts = []
    for start, stop in itertools.pairwise(starts):
        found, exists = localised(order[start:stop], schema.order_timezone)
        parts.append(found)
        if not exists.all():
            text = f"column {schema.order_name!r}: a clock time that {schema.order_timezone} skips in spring"
            problems.add("not_a_time", text, rows[start:stop][~exists], column=schema.order_name)
    return np.concatenate(parts)


def _runs(block: Block, schema: Schema, problems: Problems) -> tuple[list[str | None], list[int]]:
    """Return the name of each run of rows of one sequence, and the beginnings of the runs and the end of the block."""
    count = len(block.rows)
    if not schema.sequence:
        return [WHOLE], [0, count]
    raw = joined_words({name: block.columns[name] for name in schema.sequence})
    starts = [0, *(np.flatnonzero(raw[1:] != raw[:-1]) + 1).tolist()]
    keys = raw[starts].tolist()
    for key, start, stop in zip(keys, starts, [*starts[1:], count], strict=True):
        if key is None:
            text = f"column {schema.sequence_name!r}: the name of the sequence is missing"
            problems.add("missing", text, block.rows[start:stop], column=schema.sequence_name)
    return keys, [*starts, count]


def _together(block: Block, keys: list[str | None], starts: list[int]) -> tuple[Block, list[str | None], list[int]]:
    """Return the block with the rows of each sequence adjacent, sequences in the order of their first rows."""
    numbers_of: dict[str | None, int] = {}
    codes = np.array([numbers_of.setdefault(key, len(numbers_of)) for key in keys], np.int64)
    lengths = np.diff(starts)
    totals = np.bincount(codes, weights=lengths).astype(np.int64)
    sorted_starts = [0, *np.cumsum(totals).tolist()]
    if len(numbers_of) == len(keys):
        return block, keys, starts
    import pyarrow as pa

    order = np.argsort(np.repeat(codes, lengths), kind="stable")
    columns: dict[str, Any] = {}
    for name, values in block.columns.items():
        columns[name] = values.take(pa.array(order))
    return dataclasses.replace(block, columns=columns, rows=block.rows[order]), list(numbers_of), sorted_starts


def _as_one(blocks: Iterator[Block], names: Sequence[str]) -> Iterator[Block]:
    yield joined(list(blocks), names)
