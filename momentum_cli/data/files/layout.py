"""The layout of a CSV file: its encoding, its delimiter, the names of its columns, and its first row of data."""

from __future__ import annotations

import codecs
import csv
import re
from dataclasses import dataclass
from pathlib import Path

from momentum_cli.data.files.columns import is_number
from momentum_cli.data.files.compression import inner_suffix, open_bytes
from momentum_cli.data.files.reading import WHITE_SPACE, Reading
from momentum_cli.errors import DataError

DELIMITERS = (",", ";", "\t", "|")
# Bytes at the beginning of a file from which the layout is determined.
_SAMPLE = 1 << 20
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


@dataclass(frozen=True)
class Layout:
    """The layout of a CSV file.

    Args:
        names: One name for each cell of a row; a column without a name is called ``(column 3)``.
        delimiter: One character, or ``"whitespace"``.
        encoding: Such as ``"utf-8"``.
        mark: Byte order mark in front of the text.
        first: Lines before the first row of data.
        comment: Prefix of lines to skip, or None.
        ragged: Rows may have fewer cells than names: a file without a header whose sequences differ in length.
    """

    names: tuple[str, ...]
    delimiter: str
    encoding: str
    mark: int
    first: int
    comment: str | None
    ragged: bool = False


def unnamed(place: int) -> str:
    """Return the name for an unnamed column by its place, counted from 1."""
    return f"(column {place})"


def is_row_number(name: str) -> bool:
    """Return True for names of columns that programs add to number rows, which are never features by default."""
    return bool(re.fullmatch(r"\s*|#|\(column \d+\)|Unnamed: \d+|__index_level_\d+__", name))


@dataclass(frozen=True)
class _Beginning:
    """The first lines of a file, its header row, and its delimiter."""

    lines: list[str]
    first: int
    delimiter: str
    encoding: str
    mark: int

    @property
    def heading(self) -> list[str]:
        return _cells(self.lines[self.first], self.delimiter)


def heading(path: Path, reading: Reading) -> list[str]:
    """Return the cells of the first row.

    Raises:
        DataError: There is none, or the encoding is wrong.
    """
    return _begin(path, reading).heading


def find_layout(path: Path, reading: Reading) -> Layout:
    """Find the layout of a CSV file, or of an ARFF file, whose columns are declared.

    Raises:
        DataError: It has no header row with distinct names, or its encoding is wrong.
    """
    if inner_suffix(path) == ".arff":
        return _arff(path, *_read(path, reading))
    found = _begin(path, reading)
    cells, delimiter, comment = found.heading, found.delimiter, reading.comment
    after = [_cells(line, delimiter) for line in found.lines[found.first + 1 : found.first + 50] if line.strip()]
    if not reading.header:
        names = tuple(f"c{index}" for index in range(1, max(map(len, [cells, *after])) + 1))
        return Layout(names, delimiter, found.encoding, found.mark, found.first, comment, ragged=True)
    if all(is_number(name) or not name for name in cells):
        remedy = "for data without one set task.csv.header=false, which calls the columns c1, c2, …"
        shown = found.lines[found.first][:60]
        raise DataError(f"{path}: expected a header row with column names, got {shown!r}; {remedy}")
    return Layout(_names(path, cells, after), delimiter, found.encoding, found.mark, found.first + 1, comment)


def _begin(path: Path, reading: Reading) -> _Beginning:
    lines, encoding, mark = _read(path, reading)
    first, delimiter, comment = reading.skip_rows, reading.delimiter, reading.comment
    while first < len(lines) and (not lines[first].strip() or (comment and lines[first].startswith(comment))):
        first += 1
    if first >= len(lines):
        raise DataError(f"{path}: no row after {reading.skip_rows} skipped lines")
    told = re.fullmatch(r"\s*sep=(.)\s*", lines[first], re.IGNORECASE)
    if told is not None:
        # The line sep=… with which spreadsheets declare the delimiter.
        delimiter, first = delimiter or told[1], first + 1
        if first == len(lines):
            raise DataError(f"{path}: the file holds no rows")
    below = next((line for line in lines[first + 1 :] if line.strip()), "")

    def likely(candidate: str) -> tuple[bool, int, bool]:
        # A heading in quotes may hold other delimiters; R writes row names without a heading.
        count = len(_cells(lines[first], candidate))
        agree = count > 1 and len(_cells(below, candidate)) in (count, count + 1)
        return agree, count, candidate == ","

    delimiter = delimiter or max(DELIMITERS, key=likely)
    return _Beginning(lines, first, delimiter, encoding, mark)


def _read(path: Path, reading: Reading) -> tuple[list[str], str, int]:
    """Return the first lines of a file, its encoding, and the length of its byte order mark."""
    with open_bytes(path) as file:
        sample = file.read(_SAMPLE)
    if not sample.strip():
        raise DataError(f"{path}: the file is empty")
    encoding, mark = _encoding(sample, reading)
    return _lines(path, sample[mark:], encoding, len(sample) < _SAMPLE), encoding, mark


def _names(path: Path, heading: list[str], after: list[list[str]]) -> tuple[str, ...]:
    """Return the names of the columns; the header row may have one cell more or fewer than the rows below it."""
    widths = {len(cells) for cells in after}
    if len(widths) == 1:
        (width,) = widths
        if width < len(heading) and not any(heading[width:]):
            heading = heading[:width]
        elif width == len(heading) + 1:
            # R writes row names without a header, and some programs end each row with a delimiter.
            ends = not any(cells[-1] for cells in after)
            heading = [*heading, ""] if ends else ["", *heading]
    names = tuple(name or unnamed(place) for place, name in enumerate(heading, start=1))
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path}: the header has {', '.join(map(repr, twice))} more than once; rename one of them")
    return names


def _encoding(sample: bytes, reading: Reading) -> tuple[str, int]:
    for mark, name in _MARKS:
        if sample.startswith(mark):
            return name, len(mark)
    return reading.encoding or "utf-8", 0


def _lines(path: Path, sample: bytes, encoding: str, whole: bool) -> list[str]:
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(sample, whole)
    except UnicodeDecodeError as error:
        raise not_text(path, encoding, sample[error.start : error.start + 1], sample[: error.start]) from error
    lines = re.split(r"\r\n|\n|\r", text)
    # The last line of a sample may be incomplete.
    return lines if whole or len(lines) == 1 else lines[:-1]


def not_text(path: Path, encoding: str, byte: bytes, before: bytes) -> DataError:
    """Return the error for a file in another encoding."""
    line = before.count(b"\n") + 1
    remedy = "set task.csv.encoding, such as cp1252 for files of Windows"
    return DataError(f"{path}: not {encoding.upper()} text (byte 0x{byte.hex()} in line {line}); {remedy}")


def _cells(line: str, delimiter: str) -> list[str]:
    if delimiter == WHITE_SPACE:
        return line.split()
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]


def _arff(path: Path, lines: list[str], encoding: str, mark: int) -> Layout:
    names = []
    for number, line in enumerate(lines):
        declared = re.match(r"\s*@attribute\s+(?:'([^']*)'|\"([^\"]*)\"|(\S+))\s+(.*)", line, re.IGNORECASE)
        if declared:
            if declared[4].strip().lower().startswith("relational"):
                raise DataError(f"{path}: ARFF sequences with several channels are not supported; use the .ts file")
            names.append(declared[1] or declared[2] or declared[3])
        elif line.strip().lower() == "@data":
            if any(after.lstrip().startswith("{") for after in lines[number + 1 : number + 2]):
                raise DataError(f"{path}: sparse ARFF is not supported; save it as CSV")
            return Layout(_names(path, names, []), ",", encoding, mark, number + 1, "%")
    raise DataError(f"{path}: not an ARFF file: it has no @data line")
