"""The layout of a CSV file and its notation of numbers, as options of a first recipe with reasons."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from momentum_cli.data.files.columns import UNITS, is_number, mark_of, numbers, unit_of, words
from momentum_cli.data.files.compression import inner_suffix, open_bytes
from momentum_cli.data.files.dates import fast_stamps
from momentum_cli.data.files.layout import DELIMITERS, find_layout, heading
from momentum_cli.data.files.reading import MISSING, NEGATIVE, PLAIN, WHITE_SPACE, Reading
from momentum_cli.errors import DataError
from momentum_cli.messages import counted

# Texts for a missing value in files of instruments, archives and spreadsheets, in lower case.
_MISSING = ("?", "-", "--", "---", ".", "..", "*", "n.a.", "n.a", "n.d.", "nd", "m", "missing", "#n/a", "#value!",
            "#div/0!", "<na>", "(null)", "\\n")  # fmt: skip
# Numbers that instruments write for missing measurements.
_SENTINELS = (-99.0, -200.0, -999.0, -9999.0, -99999.0, 999.0, 9999.0, 99999.0)
_SAMPLE = 1 << 16
# Rows that are enough to recognise a column of plain numbers.
_PLAIN_ROWS = 1000


def guess_layout(path: Path) -> tuple[Reading, list[str]]:
    """Return how a CSV file is laid out, and why.

    Raises:
        DataError: It is neither UTF-8 nor Windows text, or has no columns.
    """
    reading, reasons = PLAIN, []
    if not _decodes(path, PLAIN):
        reading = replace(reading, encoding="cp1252")
        if not _decodes(path, reading):
            raise DataError(f"{path}: neither UTF-8 nor Windows text; save it as CSV UTF-8")
        reasons.append("csv.encoding: the file is not UTF-8; it is read as cp1252, the encoding of Windows in the West")
    if inner_suffix(path) == ".arff":
        find_layout(path, reading)
        return reading, reasons
    every = _lines(path, reading)
    lines = [line for line in every if line.strip()]
    comments = list(itertools.takewhile(lambda line: line.startswith("#"), lines))
    if comments and not _is_heading(comments[-1], lines[len(comments) :]):
        lines = lines[len(comments) :]
        reading = replace(reading, comment="#")
        reasons.append("csv.comment: lines that begin with # are skipped")
    first = find_layout(path, replace(reading, header=False))
    if first.delimiter != WHITE_SPACE and len(first.names) == 1 and len({len(line.split()) for line in lines}) == 1:
        if len(lines[0].split()) > 1:
            reading = replace(reading, delimiter=WHITE_SPACE)
            reasons.append("csv.delimiter: columns are separated by white space")
    else:
        skipped = _preamble(lines, every)
        if skipped:
            reading = replace(reading, skip_rows=skipped)
            reasons.append(f"csv.skip_rows: {counted(skipped, 'line')} on top with fewer cells than the others")
    if all(is_number(cell) or not cell for cell in heading(path, reading)):
        reading = replace(reading, header=False)
        reasons.append("csv.header: the first row holds numbers, so the columns are called c1, c2, …")
    return reading, reasons


def _is_heading(line: str, after: list[str]) -> bool:
    """Return True if a line that begins like a comment names the columns of the row below it."""
    for delimiter in DELIMITERS:
        cells, below = ([cell.strip() for cell in text.split(delimiter)] for text in (line, after[0] if after else ""))
        if len(cells) == len(below) > 1:
            return any(map(is_number, below)) and not any(map(is_number, cells))
    return False


def guess_values(columns: dict[str, Any], reading: Reading, delimiter: str) -> tuple[Reading, list[str]]:
    """Return the notation of numbers in text columns, and why; `columns` excludes dates and times."""
    texts = {name: found for name, values in columns.items() if (found := _texts(values, reading))}
    styles: list[tuple[str, str | None]] = [(".", ","), (",", None)] if delimiter == "," else [(",", None), (".", ",")]
    styles = [(".", None), *styles, (",", "."), (".", " "), (",", " "), (".", "'")]
    unknown = tuple(dict.fromkeys([*MISSING, *_MISSING]))
    best, most, numeric = reading, -1, list[str]()
    every = [text for found in texts.values() for text in found]
    own = {unit: 1.0 for found in texts.values() if (unit := _common_unit(found, unknown)) is not None}
    marks = {mark: 1.0 for text in every if (mark := mark_of(text)) is not None}
    known_units = {**own, **marks, **UNITS}
    negative = next((name for name, form in NEGATIVE.items() if any(_is_negative(text, form) for text in every)), None)
    for decimal, thousands in styles:
        tried = replace(
            reading,
            decimal=decimal,
            thousands=thousands,
            negative=negative,
            units=tuple(known_units.items()),
            missing_values=unknown,
        )
        good = [name for name, found in texts.items() if _all_numbers(found, tried)]
        if len(good) > most:
            best, most, numeric = tried, len(good), good
    reasons = _why_style(best, texts, numeric)
    negatives = [
        text for name in numeric for text in texts[name] if negative and _is_negative(text, NEGATIVE[negative])
    ]
    if negatives:
        reasons.append(f"csv.negative: {negatives[0]} is a negative number")
    used = {unit for name in numeric for text in texts[name] for unit in known_units if _has_unit(text, unit)}
    if used & UNITS.keys():
        reasons.append(f"csv.units: {' '.join(sorted(used & UNITS.keys()))} are factors of the numbers before them")
    if used - UNITS.keys():
        reasons.append(f"csv.units: {' '.join(sorted(used - UNITS.keys()))} is left out behind numbers")
    missing, why = _guess_missing(columns, texts, numeric, best)
    units = tuple((unit, factor) for unit, factor in known_units.items() if unit in used)
    best = replace(best, negative=negative if negatives else None, units=units, missing_values=missing)
    return best, reasons + why


def without_numbers(columns: dict[str, Any], layout: Reading, delimiter: str) -> dict[str, Any]:
    """Return the columns with numbers in unusual notation converted, so that 1.234 is not read as a date."""
    reading, _ = guess_values(columns, layout, delimiter)
    if reading.is_plain and reading.missing_values is None:
        return columns
    import pyarrow as pa

    found = {}
    for name, values in columns.items():
        known, bad = numbers(values, reading)
        found[name] = values if bad or np.isnan(known).all() else pa.array(known, from_pandas=True)
    return found


def options_of(reading: Reading, delimiter: str | None) -> dict[str, Any]:
    """Return the options ``csv`` and ``missing_values`` that differ from their defaults."""
    found: dict[str, Any] = {}
    for name in ("encoding", "skip_rows", "comment", "header", "decimal", "thousands", "negative"):
        if getattr(reading, name) != getattr(PLAIN, name):
            found[name] = getattr(reading, name)
    if reading.delimiter is not None or delimiter not in (None, ","):
        found = {"delimiter": reading.delimiter or delimiter, **found}
    if reading.units:
        found["units"] = dict(reading.units)
    options: dict[str, Any] = {"csv": found} if found else {}
    if reading.missing_values is not None:
        options["missing_values"] = list(reading.missing_values)
    return options


def _decodes(path: Path, reading: Reading) -> bool:
    import codecs

    try:
        encoding = find_layout(path, replace(reading, header=False)).encoding
    except DataError as error:
        if "not UTF-8" in str(error) or "text (byte" in str(error):
            return False
        raise
    decoder = codecs.getincrementaldecoder(encoding)()
    with open_bytes(path) as file:
        try:
            while data := file.read(1 << 20):
                decoder.decode(data)
        except UnicodeDecodeError:
            return False
    return True


def _lines(path: Path, reading: Reading) -> list[str]:
    encoding = find_layout(path, replace(reading, header=False)).encoding
    with open_bytes(path) as file:
        text = file.read(_SAMPLE).decode(encoding, errors="ignore")
    lines = re.split(r"\r\n|\n|\r", text.lstrip("\ufeff"))
    # The last one may be incomplete.
    return lines[:-1] or lines


def _preamble(lines: list[str], every: list[str]) -> int:
    """Return the number of lines before the header: a title or facts of the instrument, with fewer cells than data."""
    import csv

    if not lines or re.fullmatch(r"\s*sep=.\s*", lines[0], re.IGNORECASE):
        return 0
    # The delimiter that splits most lines into the same number of cells.
    cut = {mark: [len(next(csv.reader([line], delimiter=mark))) for line in lines] for mark in DELIMITERS}
    common = {mark: max(set(widths), key=widths.count) for mark, widths in cut.items()}
    delimiter = max(cut, key=lambda mark: (common[mark] > 1, cut[mark].count(common[mark]), common[mark]))
    widths, usual = cut[delimiter], common[delimiter]
    if usual < 2 or (widths[0] == usual - 1 and set(widths[1:]) == {usual}):
        # One column, or a header without a name for the column of row names.
        return 0
    first = widths.index(usual)
    if any(_is_row(line, delimiter) for line in lines[:first]) and _is_row(lines[first], delimiter):
        # Rows without a heading that differ in length: shorter ones are no preamble.
        return 0
    return every.index(lines[first]) if first else 0


def _is_row(line: str, delimiter: str) -> bool:
    """Return True if the cells of a line are numbers; the first may be a word."""
    _, *cells = (cell.strip() for cell in line.split(delimiter))
    return any(cells) and all(is_number(cell) for cell in cells if cell)


def _texts(values: Any, reading: Reading) -> list[str]:
    """Return the distinct texts of a column, only a few if all are plain numbers; [] for other types and dates."""
    from pyarrow import types

    if not (types.is_string(values.type) or types.is_large_string(values.type)):
        return []
    if fast_stamps(values) is not None:
        return []
    if not numbers(values, reading)[1]:
        values = values.slice(0, _PLAIN_ROWS)
    return [text.strip() for text in values.drop_null().unique().to_pylist() if text.strip()]


def _all_numbers(texts: list[str], reading: Reading) -> bool:
    found, bad = numbers(texts, reading)
    return not bad and not bool(np.isnan(found).all())


def _is_negative(text: str, form: str) -> bool:
    return re.match(form, text) is not None and any(letter.isdigit() for letter in text)


def _common_unit(texts: list[str], missing: tuple[str, ...]) -> str | None:
    """Return the unit that all numbers of a column have, or None."""
    units = {unit_of(text) for text in texts if text.lower() not in missing}
    return units.pop() if len(units) == 1 else None


def _has_unit(text: str, unit: str) -> bool:
    return (text.startswith(unit) or text.endswith(unit)) and any(letter.isdigit() for letter in text)


def _why_style(reading: Reading, texts: dict[str, list[str]], numeric: list[str]) -> list[str]:
    reasons = []
    for option, mark in (("decimal", reading.decimal), ("thousands", reading.thousands)):
        if mark is None or (option == "decimal" and mark == "."):
            continue
        shown = next((text for name in numeric for text in texts[name] if mark in text), None)
        if shown is not None:
            reasons.append(f"csv.{option}: numbers are written like {shown}")
    return reasons


def _guess_missing(
    columns: dict[str, Any], texts: dict[str, list[str]], numeric: list[str], reading: Reading
) -> tuple[tuple[str, ...] | None, list[str]]:
    """Return the texts and numbers that mark missing values, None for the default, and why."""
    found: dict[str, str] = {}
    for name in numeric:
        for text in texts[name]:
            if text.lower() in _MISSING:
                found.setdefault(text, name)
    for name, values in columns.items():
        if name in texts and name not in numeric:
            continue
        known, bad = numbers(values, reading)
        known = known[~np.isnan(known)]
        for number in _SENTINELS if not bad else ():
            here = known == number
            others = known[~here]
            if here.sum() > 1 and len(others):
                width = max(float(np.ptp(others)), 1e-12)
                if number < others.min() - width or number > others.max() + width:
                    found.setdefault(f"{number:g}", name)
    if not found:
        return None, []
    reasons = [f"missing_values: {text!r} in {name!r} is read as a missing value" for text, name in found.items()]
    return (*MISSING, *found), reasons


def word_classes(values: Any) -> list[str]:
    """Return the classes of a column that would count as missing values by default, such as none."""
    every = words(values, replace(PLAIN, missing_values=()))
    return sorted({label for label in every.tolist() if label is not None and label.lower() in MISSING})
