"""CSV files in blocks of rows: Arrow reads the cells as texts, and every row keeps its line number.

Axes: m rows of a block.
"""

from __future__ import annotations

import codecs
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import numpy as np

from momentum_cli.data.files.compression import open_bytes
from momentum_cli.data.files.layout import Layout, find_layout, not_text
from momentum_cli.data.files.reading import WHITE_SPACE, Reading
from momentum_cli.data.problems import Problems
from momentum_cli.errors import DataError

BYTES = 8 << 20
"""Bytes of a block; the texts of its cells take about twice as many."""
THREADS = min(4, os.cpu_count() or 1)
"""Blocks that are cut into cells at once."""
# A quotation mark that is never closed makes the rest of the file one cell.
_LONGEST_CELL = 64 << 20


def csv_columns(path: Path, reading: Reading) -> list[str]:
    """Return the names of the columns.

    Raises:
        DataError: See `find_layout`.
    """
    return list(_complete(path, find_layout(path, reading)).names)


def csv_blocks(
    path: Path, names: Sequence[str], reading: Reading, problems: Problems
) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """Yield the columns `names` as Arrow arrays of texts, and the line of each row, counted from 1.

    Empty rows are skipped; a row whose number of cells differs from the header is a problem.
    """
    layout = _complete(path, find_layout(path, reading))
    places = [layout.names.index(name) for name in names]
    line = layout.first + 1
    waiting: deque[tuple[Future[list[Any] | None], bytes, int, int]] = deque()

    def first() -> tuple[dict[str, Any], np.ndarray]:
        cells, block, line, lines = waiting.popleft()
        return _parse(cells.result(), block, line, lines, layout, list(names), places, problems)

    # Arrow cuts a block into cells in one thread, so several blocks keep all cores busy; they come in their order.
    with open_bytes(path) as file, ThreadPoolExecutor(THREADS) as pool:
        for block in _whole_lines(path, _as_utf8(path, file, layout), layout.first):
            lines = block.count(b"\n")
            waiting.append((pool.submit(_usual, block, lines, layout, places), block, line, lines))
            line += lines
            if len(waiting) > THREADS:
                yield first()
        while waiting:
            yield first()


def _complete(path: Path, layout: Layout) -> Layout:
    """Return a layout with a name for the last cell of the longest row, in a file without a header."""
    if not layout.ragged or layout.delimiter == WHITE_SPACE:
        return layout
    import dataclasses

    mark, longest = layout.delimiter.encode(), len(layout.names)
    with open_bytes(path) as file:
        for block in _whole_lines(path, _as_utf8(path, file, layout), layout.first):
            longest = max(longest, *(row.count(mark) + 1 for row in block.splitlines()))
    return dataclasses.replace(layout, names=tuple(f"c{index}" for index in range(1, longest + 1)))


def _as_utf8(path: Path, file: IO[bytes], layout: Layout) -> Iterator[bytes]:
    """Yield the text in UTF-8, with lines that end in LF or CR LF."""
    file.read(layout.mark)
    decoder = codecs.getincrementaldecoder(layout.encoding)()
    utf8 = codecs.lookup(layout.encoding).name == "utf-8"
    before, feeds = 0, None
    while True:
        data = file.read(BYTES)
        try:
            # Decoding also checks UTF-8; Arrow would not say where the mistake is.
            text = decoder.decode(data, not data)
        except UnicodeDecodeError as error:
            wrong = not_text(path, layout.encoding, error.object[error.start : error.start + 1], b"")
            line = before + error.object[: error.start].count(b"\n") + 1
            raise DataError(str(wrong).replace("in line 1", f"in line {line}")) from error
        if not data:
            break
        # The bytes of a character may be split between two chunks.
        encoded = data if utf8 and text.isascii() and len(text) == len(data) else text.encode()
        if feeds is None:
            feeds = b"\n" in encoded or b"\r" not in encoded
        encoded = encoded if feeds else encoded.replace(b"\r", b"\n")
        before += encoded.count(b"\n")
        yield encoded


def _whole_lines(path: Path, chunks: Iterator[bytes], skipped: int) -> Iterator[bytes]:
    """Yield blocks that end at the end of a line, outside quotation marks, after the first `skipped` lines."""
    rest = b""
    for chunk in chunks:
        rest += chunk
        while skipped and (end := rest.find(b"\n") + 1):
            rest, skipped = rest[end:], skipped - 1
        if skipped:
            continue
        end = rest.rfind(b"\n") + 1
        while end and rest.count(b'"', 0, end) % 2:
            end = rest.rfind(b"\n", 0, end - 1) + 1
        if not end:
            if len(rest) > _LONGEST_CELL:
                raise DataError(f"{path}: a quotation mark is never closed")
            continue
        yield rest[:end]
        rest = rest[end:]
    if rest.strip():
        yield rest if rest.endswith(b"\n") else rest + b"\n"


def _usual(block: bytes, lines: int, layout: Layout, places: list[int]) -> list[Any] | None:
    """Return columns as texts if each line is a row of the usual width; else None."""
    width = len(layout.names)
    mark = b"" if layout.delimiter == WHITE_SPACE else layout.delimiter.encode()
    if not mark or layout.comment is not None or layout.ragged:
        return None
    found = _cells(block, mark, width, places, None)
    if found is None or len(found[0]) != lines or _empty_rows(block, mark, width):
        return None
    return found


def _parse(
    usual: list[Any] | None,
    block: bytes,
    line: int,
    lines: int,
    layout: Layout,
    names: list[str],
    places: list[int],
    problems: Problems,
) -> tuple[dict[str, Any], np.ndarray]:
    width = len(layout.names)
    mark = b"" if layout.delimiter == WHITE_SPACE else layout.delimiter.encode()
    if usual is not None:
        return dict(zip(names, usual, strict=True)), np.arange(line, line + lines)
    # Something is unusual: empty rows, comments, line breaks in cells, or rows of another width.
    kept, numbers = _records(block, line, layout, mark)
    mark = mark or b"\t"
    if layout.ragged:
        kept = [row + mark * (width - 1 - row.count(mark)) for row in kept]
    wrong: list[int] = []
    found = _cells(b"\n".join(kept) + b"\n", mark, width, places, wrong) if kept else None
    rows = np.array(numbers, np.int64)
    if wrong:
        bad = np.array(wrong) - 1
        text = f"the row does not have {width} cells like the header"
        problems.add("cells", text, rows[bad].tolist())
        rows = np.delete(rows, bad)
    if found is None:
        import pyarrow as pa

        return {name: pa.array([], pa.string()) for name in names}, np.empty(0, np.int64)
    return dict(zip(names, found, strict=True)), rows


def _empty_rows(block: bytes, mark: bytes, width: int) -> bool:
    empty = mark * (width - 1)
    return any(block.startswith(empty + end) or b"\n" + empty + end in block for end in (b"\n", b"\r\n"))


def _records(block: bytes, line: int, layout: Layout, mark: bytes) -> tuple[list[bytes], list[int]]:
    """Return the rows that are not empty, and the line in which each begins."""
    comment = None if layout.comment is None else layout.comment.encode()
    kept: list[bytes] = []
    numbers: list[int] = []
    open_cell = False
    for number, raw in enumerate(block.split(b"\n")[:-1], start=line):
        row = raw.removesuffix(b"\r")
        if open_cell:
            kept[-1] += b"\n" + row
        elif (comment is not None and row.startswith(comment)) or not row.strip(b" \t" + mark):
            continue
        else:
            kept.append(row if mark else b"\t".join(row.split()))
            numbers.append(number)
        open_cell ^= row.count(b'"') % 2 == 1
    return kept, numbers


def _cells(block: bytes, mark: bytes, width: int, places: list[int], wrong: list[int] | None) -> list[Any] | None:
    """Return columns as texts, null for empty cells.

    Args:
        block: Complete rows.
        mark: The delimiter.
        width: Number of cells in a row.
        places: The columns to return.
        wrong: Receives the rows with another number of cells, counted from 1; if None, return None at the first.
    """
    import pyarrow as pa
    from pyarrow import csv

    if len(mark.decode()) > 1 or len(mark) > 1:
        raise DataError(f"task.csv.delimiter must be an ASCII character, got {mark.decode()!r}")
    met = False

    def skip(row: Any) -> str:
        nonlocal met
        met = True
        if wrong is not None:
            wrong.append(row.number)
        return "skip"

    keys = [str(place) for place in range(width)]
    table = csv.read_csv(
        pa.BufferReader(block),
        read_options=csv.ReadOptions(column_names=keys, use_threads=wrong is None, block_size=max(len(block), 1 << 16)),
        parse_options=csv.ParseOptions(
            delimiter=mark.decode(), newlines_in_values=b'"' in block, invalid_row_handler=skip
        ),
        convert_options=csv.ConvertOptions(
            include_columns=[keys[place] for place in places],
            column_types=dict.fromkeys(keys, pa.string()),
            strings_can_be_null=True,
            null_values=[""],
            check_utf8=False,
        ),
    )
    if met and wrong is None:
        return None
    return [table.column(index).combine_chunks() for index in range(len(places))]
