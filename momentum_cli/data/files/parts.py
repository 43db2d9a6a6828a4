"""Files read in parts, each of complete sequences, so that the memory they take does not grow with the file.

`predict` reads them so. A file whose sequences are not together, or may not be read alike in parts, is one part.

Axes: m rows of a block.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from momentum_cli.data.files import tables
from momentum_cli.data.files.columns import column, joined_texts, joined_words, times
from momentum_cli.data.files.compression import COMPRESSED
from momentum_cli.data.files.dates import fast_stamps
from momentum_cli.data.files.pieces import Piece, Pieces, Source
from momentum_cli.data.files.reading import PLAIN, Reading
from momentum_cli.data.files.row_sequences import has_lists
from momentum_cli.data.files.schema import TABLES, Schema
from momentum_cli.data.files.tables import Block, table_blocks, table_columns
from momentum_cli.data.problems import Problems
from momentum_cli.errors import DataError

# All whole numbers of a float64 up to this one are different.
_EXACT = 2**53
# Bytes. At this size parts are as fast as the whole and take a third less memory; smaller files lose time by them.
LARGE = 128 << 20
# A table of numbers is about this many times smaller when it is compressed.
_DENSE = 4
# What a sequence costs besides its steps, in numbers: its name, row, start and length.
_SEQUENCE = 8


def are_together(path: Path, schema: Schema) -> bool:
    """Return True if the rows of each sequence of a large table are together, and are read in parts as in the whole.

    The columns of names and times are read once for this; of each sequence eight bytes are kept.

    Args:
        path: One file that can be opened.
        schema: Meaning of its columns.

    Returns:
        False for a CSV file that is not `LARGE` too, and for all but CSV and Parquet.
    """
    if not schema.sequence or schema.format not in ("csv", "parquet"):
        return False
    if schema.format == "csv" and path.stat().st_size * (_DENSE if path.suffix.lower() in COMPRESSED else 1) <= LARGE:
        return False
    try:
        lists = has_lists(path, schema.format)
        order = () if lists else schema.order
        names = [*dict.fromkeys((*schema.sequence, *order))]
        if not set(names) <= set(table_columns(path, schema.format, schema.reading)):
            return False  # a name from the path of the file
        blocks = table_blocks(path, schema.format, names, schema.reading, Problems())
        return _are_together(blocks, schema, order, schema.reading if lists else PLAIN)
    except DataError:
        return False  # reading reports it


def _are_together(blocks: Iterator[Block], schema: Schema, order: Sequence[str], reading: Reading) -> bool:
    found: list[np.ndarray] = []
    kinds: set[Any] = set()
    last: Any = ()  # equal to no name
    for block in blocks:
        if not len(block.rows):
            continue
        words = joined_words({name: block.columns[name] for name in schema.sequence}, reading)
        begins = np.concatenate(([words[0] != last], words[1:] != words[:-1]))
        # Equal hashes of different names would only cost memory: the file is then read as a whole.
        found.append(np.fromiter(map(hash, words[begins].tolist()), np.int64))
        last = words[-1]
        if order:
            kinds.add(_kind_of_times(block, schema, order))
            if None in kinds or len(kinds) > 1:
                return False
    codes = np.concatenate(found) if found else np.empty(0, np.int64)
    codes.sort()
    return not bool((codes[1:] == codes[:-1]).any())


def _kind_of_times(block: Block, schema: Schema, order: Sequence[str]) -> Any:
    """Return what the times of a block are, or None if that may depend on the other blocks.

    A column of texts has one kind: 2024 is a number beside 2025, and a mistake beside 2025-01-01.
    """
    from pyarrow import types

    texts = joined_texts([block.columns[name] for name in order])
    if texts.null_count or types.is_dictionary(texts.type):
        return None
    if schema.order_format is not None or not (types.is_string(texts.type) or types.is_large_string(texts.type)):
        return "each by itself"
    for zoned in (False, True):
        stamps = fast_stamps(texts, zoned)
        if stamps is not None:
            return None if np.isnat(stamps).any() else (stamps.dtype.str, zoned)
    found, bad = times(texts, None, schema.reading)
    if bad or found.dtype.kind == "M":
        return None
    if np.abs(found).max() <= _EXACT:
        return "numbers"
    return "whole numbers" if found.dtype.kind == "i" else None


def complete_blocks(blocks: Iterator[Block], names: Sequence[str]) -> Iterator[Block]:
    """Yield the rows of blocks in blocks that end where a sequence ends.

    Args:
        blocks: Blocks in which the rows of each sequence are together.
        names: Columns that together name a sequence, at least one.
    """
    held: list[Block] = []
    last: Any = None
    for block in blocks:
        if not len(block.rows):
            continue
        begin = _last_run(block, names)
        if begin:
            yield joined([*held, _between(block, 0, begin)])
            held = [_between(block, begin, len(block.rows))]
        elif held and _word(block, names, 0) != last:
            yield joined(held)
            held = [block]
        else:
            held.append(block)
        last = _word(block, names, len(block.rows) - 1)
    if held:
        yield joined(held)


def _last_run(block: Block, names: Sequence[str]) -> int:
    """Return the first row of the last sequence of a block."""
    count, size = len(block.rows), 1024
    while True:
        first = max(0, count - size)
        changes = _changes(_between(block, first, count), names)
        if len(changes) or not first:
            return first + int(changes[-1]) if len(changes) else 0
        size *= 16


def _changes(block: Block, names: Sequence[str]) -> np.ndarray:
    words = joined_words({name: block.columns[name] for name in names})
    return np.flatnonzero(words[1:] != words[:-1]) + 1


def _word(block: Block, names: Sequence[str], place: int) -> Any:
    return joined_words({name: block.columns[name].slice(place, 1) for name in names})[0]


def _between(block: Block, first: int, last: int) -> Block:
    columns = {name: values.slice(first, last - first) for name, values in block.columns.items()}
    return Block(columns, block.rows[first:last])


def joined(blocks: Sequence[Block], names: Sequence[str] | None = None) -> Block:
    """Return blocks as one.

    Args:
        blocks: At least one, unless the names are given.
        names: Their columns; None for those of the first block.
    """
    import pyarrow as pa

    if len(blocks) == 1:
        return blocks[0]
    columns: dict[str, Any] = {}
    for name in blocks[0].columns if names is None else names:
        parts = [block.columns[name] for block in blocks]
        try:
            columns[name] = pa.concat_arrays(parts) if parts else pa.array([], pa.null())
        except pa.ArrowInvalid:
            # Blocks of JSON Lines may differ in type: integers in one, decimals or words in another.
            columns[name] = column([value for part in parts for value in part.to_pylist()])
    rows = [block.rows for block in blocks]
    return Block(columns, np.concatenate(rows) if rows else np.empty(0, np.int64))


def parts_of(source: Source, schema: Schema, together: bool) -> Iterator[Source]:
    """Yield the pieces of a file in parts of about `CELLS` numbers, at least one part; each must be read to its end.

    Args:
        source: The file.
        schema: Meaning of its columns.
        together: As `are_together` says.
    """
    # The number of a row names no other sequence. Either way, a sequence is in one piece.
    numbered = source.numbered or (not schema.sequence and bool(source.columns) and schema.format in TABLES)
    if not (together or numbered):
        yield source
        return
    pieces = iter(source.pieces)
    ahead = next(pieces, None)

    def part() -> Iterator[Piece | Pieces]:
        nonlocal ahead
        cells = 0
        while ahead is not None and cells < tables.CELLS:
            yield ahead
            cells += ahead.features.size + _SEQUENCE * (len(ahead) if isinstance(ahead, Pieces) else 1)
            ahead = next(pieces, None)

    for number in itertools.count():
        if ahead is None and number:
            return
        yield dataclasses.replace(source, pieces=part(), most_steps=None)


def in_blocks(places: np.ndarray, cells: int) -> Iterator[np.ndarray]:
    """Yield places some at a time, so many that what is read of them together is not large.

    Args:
        places: (n,) int64.
        cells: Numbers that are read of each, >= 1.
    """
    size = max(1, tables.CELLS // cells)
    for begin in range(0, len(places), size):
        yield places[begin : begin + size]
