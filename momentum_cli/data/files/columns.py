"""Columns as numbers, words and times, however the file stores them; unreadable values are reported, never guessed.

This is the only place where text is converted to values, for tables, JSON Lines and arrays. A column is an Arrow array.

Axes: n values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from momentum_cli.data.files.dates import assembled, fast_stamps, parsed, stamps_of
from momentum_cli.data.files.reading import JOINT, NEGATIVE, PLAIN, Reading
from momentum_cli.errors import DataError

Values = Any
"""A `pyarrow.Array`, or values that `column` converts to one."""

LARGEST = float(np.finfo(np.float32).max)
# As JSON and Python write numbers, in ASCII: not 1_000, and no full-width digits.
_NUMBER = r"^[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$"
_WHOLE = re.compile(r"^([-+]?[0-9]+)\.0*$")
_PLAIN_NUMBER = re.compile(_NUMBER)
# Spreadsheets put non-breaking spaces between thousands.
_SPACES = "[ \\x{00a0}\\x{202f}]"
_UNIT = re.compile(r"^[-+−]?[0-9][0-9.,' ]*?\s*([^\W\d_.,' ][^\d\s]{0,7}|[°µ][^\d\s]{0,7})$")
# Marks of a footnote or a flag behind a number, such as 1605.31*.
_MARK = re.compile(r"^[-+−]?[0-9][0-9.,' ]*?\s*([*†‡§#!?~^]{1,3})$")
# Units that `remedy` and `init` know, and their factors.
UNITS: dict[str, float] = {"%": 0.01, "K": 1e3, "k": 1e3, "M": 1e6, "B": 1e9, "$": 1, "€": 1, "£": 1}


def column(values: Values) -> Any:
    """Return values as an Arrow array: numbers, booleans and texts keep their type, a mixture becomes texts."""
    import pyarrow as pa

    if isinstance(values, pa.ChunkedArray):
        return values.combine_chunks() if values.num_chunks != 1 else values.chunk(0)
    if isinstance(values, pa.Array):
        return values
    if isinstance(values, np.ndarray) and values.dtype.kind not in "biufM":
        values = values.tolist()
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, TypeError, OverflowError, pa.ArrowNotImplementedError):
        return pa.array([None if value is None else str(value) for value in values], pa.string())


def unit_of(text: str) -> str | None:
    """Return the unit behind a number, such as ``kWh``, or None."""
    found = _UNIT.match(text.strip())
    return None if found is None else found[1]


def mark_of(text: str) -> str | None:
    """Return the mark of a footnote or a flag behind a number, such as ``*``, or None."""
    found = _MARK.match(text.strip())
    return None if found is None else found[1]


def is_number(text: str) -> bool:
    """Return True if a text is a finite number in ASCII, as Python and JSON write it, or nan or inf."""
    plain = text.strip()
    return bool(_PLAIN_NUMBER.match(plain)) or plain.lower().lstrip("+-") in ("nan", "inf", "infinity")


def numbers(values: Values, reading: Reading = PLAIN) -> tuple[np.ndarray, list[int]]:
    """Return values as numbers.

    Args:
        values: Texts, numbers or None.
        reading: The notation of numbers in texts.

    Returns:
        (n,) float64, NaN for missing values; and the places of values that are present but not finite numbers in the
        range of float32, in which a model computes (NaN, too).
    """
    from pyarrow import compute, types

    array = _decoded(column(values))
    if types.is_string(array.type) or types.is_large_string(array.type):
        return _numbers_of_texts(array, reading)
    if types.is_null(array.type):
        return np.full(len(array), np.nan), []
    if types.is_boolean(array.type):
        array = compute.cast(array, "uint8")
    if not (types.is_integer(array.type) or types.is_floating(array.type) or types.is_decimal(array.type)):
        return np.full(len(array), np.nan), np.flatnonzero(_valid(array)).tolist()
    found = _as_float(array)
    for number in reading.missing_numbers:
        found[found == number] = np.nan
    return _finite(found, [])


def _as_float(array: Any) -> np.ndarray:
    import pyarrow as pa
    from pyarrow import compute

    return np.array(compute.cast(array, pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)


def _decoded(array: Any) -> Any:
    from pyarrow import types

    return array.dictionary_decode() if types.is_dictionary(array.type) else array


def _valid(array: Any) -> np.ndarray:
    return np.asarray(array.is_valid().to_numpy(zero_copy_only=False), bool)


def _numbers_of_texts(texts: Any, reading: Reading) -> tuple[np.ndarray, list[int]]:
    import pyarrow as pa
    from pyarrow import compute

    if reading.is_plain:
        try:
            # One conversion in C, which accepts exactly `_NUMBER`, nan and inf; the slow way below finds the mistakes.
            found = _as_float(texts)
        except pa.ArrowInvalid:
            pass
        else:
            for number in reading.missing_numbers:
                found[found == number] = np.nan
            return _finite(found, [])
    texts = compute.utf8_trim_whitespace(texts)
    absent = missing_texts(texts, reading)
    plain, factor = _plain_numbers(texts, reading)
    good = _true(compute.match_substring_regex(plain, _NUMBER)) & ~absent
    found = _as_float(compute.if_else(pa.array(good), plain, pa.scalar(None, plain.type)))
    found *= factor
    found[np.isin(found, reading.missing_numbers)] = np.nan
    return _finite(found, np.flatnonzero(~good & ~absent).tolist())


def missing_texts(texts: Any, reading: Reading) -> np.ndarray:
    """Return (n,) bool, True for each trimmed text that marks a missing value."""
    import pyarrow as pa
    from pyarrow import compute

    words_of = pa.array(reading.missing_words, texts.type)
    return np.asarray(_true(compute.is_in(compute.utf8_lower(texts), value_set=words_of)) | ~_valid(texts))


def _true(array: Any) -> np.ndarray:
    return np.asarray(array.fill_null(False).to_numpy(zero_copy_only=False), bool)


def _plain_numbers(texts: Any, reading: Reading) -> tuple[Any, np.ndarray]:
    """Return texts with a decimal point and without units and thousands separators, and the factors of the units.

    A text in another notation becomes one that is not a number.
    """
    import pyarrow as pa
    from pyarrow import compute

    factor = np.ones(len(texts))
    if reading.negative is not None:
        here = _true(compute.match_substring_regex(texts, NEGATIVE[reading.negative]))
        factor[here] = -1.0
        bare = compute.utf8_trim(texts, characters="()- −")
        texts = compute.if_else(pa.array(here), bare, texts)
    # The longest first: the h of kWh is no unit of its own.
    for unit, size in sorted(reading.units, key=lambda unit: -len(unit[0])):
        ends = compute.or_(compute.ends_with(texts, unit), compute.starts_with(texts, unit))
        here = _true(ends)
        if here.any():
            factor[here] *= size
            quoted = re.escape(unit)
            bare = compute.replace_substring_regex(texts, rf"^{quoted}\s*|\s*{quoted}$", "")
            texts = compute.if_else(pa.array(here), bare, texts)
    decimal = re.escape(reading.decimal)
    if reading.thousands is not None:
        # Only between groups of three digits, so that 1,5 is not 15.
        between = _SPACES if reading.thousands.isspace() else re.escape(reading.thousands)
        grouped = rf"^[-+]?[0-9]{{1,3}}(?:{between}[0-9]{{3}})+(?:{decimal}[0-9]*)?$"
        here = _true(compute.match_substring_regex(texts, grouped))
        texts = compute.if_else(pa.array(here), compute.replace_substring_regex(texts, between, ""), texts)
    if reading.decimal != ".":
        point = _true(compute.match_substring(texts, "."))
        swapped = compute.replace_substring(texts, reading.decimal, ".")
        texts = compute.if_else(pa.array(point), pa.scalar("", texts.type), swapped)
    return texts, factor


def _finite(found: np.ndarray, bad: list[int]) -> tuple[np.ndarray, list[int]]:
    beyond = np.flatnonzero(np.abs(found) > LARGEST)
    if len(beyond):
        found[beyond] = np.nan
        bad = sorted({*bad, *beyond.tolist()})
    return found, bad


def value_at(values: Values, place: int) -> Any:
    """Return one value as a Python object."""
    value = values[place]
    return value.as_py() if hasattr(value, "as_py") else value


def not_a_number(value: object, reading: Reading = PLAIN) -> tuple[str, str]:
    """Return the mistake in a value that `numbers` rejected, and the part of it that similar mistakes share."""
    shown = f"{str(value)[:40]!r}"
    text = str(value).strip()
    if _PLAIN_NUMBER.match(text) and reading.is_plain and np.isfinite(float(text)):
        return f"{shown} is beyond the range of float32", "beyond the range of float32"
    option = remedy(text, reading)
    return f"{shown} is not a finite number{option}", option or shown


def remedy(text: str, reading: Reading) -> str:
    """Return "; …" with the option that reads a text as a number, or "" if there is none."""
    if text.lower().lstrip("+-") in ("inf", "infinity"):
        return ""
    found = []
    for option, changed in _alternatives(text, reading):
        good = numbers([text], changed)
        if not good[1] and not np.isnan(good[0][0]):
            found.append(option)
    mark = mark_of(text)
    if found and mark is not None:
        return f"; it is a number with the mark {mark!r}: set {' or '.join(found)} to read it without"
    if found:
        return f"; set {' or '.join(found)}"
    return f"; if it marks a missing value, add it to task.missing_values: [{text[:40]!r}]" if text else ""


def _alternatives(text: str, reading: Reading) -> list[tuple[str, Reading]]:
    """Return readings that may read a text and differ in one option, each with that option."""
    found = []
    if reading.decimal == ".":
        found.append(("task.csv.decimal=','", replace(reading, decimal=",", thousands=None)))
    else:
        found.append(("task.csv.decimal='.'", replace(reading, decimal=".", thousands=None)))
    for thousands in (",", ".", " ", "'"):
        if thousands not in (reading.decimal, reading.thousands):
            found.append((f"task.csv.thousands={thousands!r}", replace(reading, thousands=thousands)))
    for notation in NEGATIVE:
        found.append((f"task.csv.negative={notation}", replace(reading, negative=notation)))
    own = unit_of(text) or mark_of(text)
    for unit, factor in (UNITS if own is None else {own: 1.0, **UNITS}).items():
        if unit not in dict(reading.units):
            units = (*reading.units, (unit, factor))
            shown = ", ".join(f"{name!r}: {size:g}" for name, size in units)
            found.append((f"task.csv.units={{{shown}}}", replace(reading, units=units)))
    return found


def words(values: Values, reading: Reading = PLAIN) -> np.ndarray:
    """Return values as stripped texts, (n,) object, None for a missing one.

    Whole numbers are written without a decimal point, so the classes 1 and 1.0 are the same.
    """
    array = _decoded(column(values))
    encoded = array.dictionary_encode()
    missing = set(reading.missing_words)
    known = [_word(value, missing) for value in encoded.dictionary.to_pylist()]
    texts = np.empty(len(known) + 1, object)
    texts[:-1] = known
    texts[-1] = None
    found: np.ndarray = texts[encoded.indices.fill_null(len(known)).to_numpy(zero_copy_only=False)]
    return found


def _word(value: Any, missing: set[str]) -> str | None:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if not isinstance(value, str):
        return str(value)
    text = value.strip()
    if text.lower() in missing:
        return None
    whole = _WHOLE.match(text)
    return whole[1] if whole else text


def joined_words(columns: Mapping[str, Values], reading: Reading = PLAIN) -> np.ndarray:
    """Return the words of columns of names as one, ``shop / family``, (n,) object, None where one is missing.

    Raises:
        DataError: A word contains the separator, so that different words could have the same joined name.
    """
    if len(columns) == 1:
        return words(next(iter(columns.values())), reading)
    parts = {name: words(one, reading).tolist() for name, one in columns.items()}
    for name, found in parts.items():
        wrong = next((word for word in dict.fromkeys(found) if word is not None and JOINT in word), None)
        if wrong is not None:
            raise DataError(
                f"column {name!r}: {wrong!r} holds {JOINT!r}, which stands between the names of several columns; write "
                "it without"
            )
    names = {row: None if None in row else JOINT.join(row) for row in set(zip(*parts.values(), strict=True))}
    joined = np.empty(len(next(iter(parts.values()))), object)
    joined[:] = [names[row] for row in zip(*parts.values(), strict=True)]
    return joined


def times(
    values: Values, form: str | None = None, reading: Reading = PLAIN, *, zoned: bool | None = None
) -> tuple[np.ndarray, list[int]]:
    """Return the keys by which steps are ordered.

    Args:
        values: Numbers, dates and times, or texts of them.
        form: Format of dates and times in texts, or in whole numbers such as 20240131, as for `datetime.strptime`;
            None: ISO 8601, quarters such as 1990Q1, or numbers.
        reading: The notation of numbers in texts.
        zoned: True: texts must have a time zone; False: they must not; None: all or none of them.

    Returns:
        (n,) float64 or int64 numbers, or datetime64 in UTC, in nanoseconds or, if a year is outside 1678 to 2261, in
        microseconds; and the places of missing or invalid values.

    Raises:
        DataError: The dates cannot be represented exactly.
    """
    from pyarrow import types

    array = _decoded(column(values))
    if form is not None and types.is_integer(array.type):
        array = array.cast("string")
    if types.is_temporal(array.type) and not types.is_time(array.type) and not types.is_duration(array.type):
        stamps = stamps_of(array)
        return stamps, np.flatnonzero(np.isnat(stamps)).tolist()
    if not (types.is_string(array.type) or types.is_large_string(array.type)):
        return _ordering_numbers(array, reading)
    if form is None:
        fast = fast_stamps(array, zoned)
        if fast is not None:
            return fast, np.flatnonzero(np.isnat(fast)).tolist()
        found, bad = _ordering_numbers(array, reading)
        if not bad:
            return found, bad
        stamps = assembled(*parsed(array, None, zoned))
        # A column of numbers with a typo has many numbers; one of dates has at most bare years.
        if np.isfinite(found).sum() >= (~np.isnat(stamps)).sum():
            return found, bad
    else:
        stamps = assembled(*parsed(array, form, zoned))
    return stamps, np.flatnonzero(np.isnat(stamps)).tolist()


def _ordering_numbers(array: Any, reading: Reading) -> tuple[np.ndarray, list[int]]:
    """Return numbers, whole ones exactly, because a time in nanoseconds has more digits than a float64."""
    import pyarrow as pa
    from pyarrow import compute, types

    if types.is_integer(array.type) or types.is_string(array.type) or types.is_large_string(array.type):
        try:
            whole = compute.cast(array, pa.int64())
        except pa.ArrowInvalid:
            pass
        else:
            if not whole.null_count:
                return np.array(whole.to_numpy(zero_copy_only=False)), []
    found, bad = numbers(array, reading)
    return found, sorted({*bad, *np.flatnonzero(np.isnan(found)).tolist()})


def joined_texts(columns: Sequence[Values]) -> Any:
    """Join columns of texts with a space: a date and a time of day."""
    import pyarrow as pa
    from pyarrow import compute

    if len(columns) == 1:
        return columns[0]
    texts = [compute.utf8_trim_whitespace(compute.cast(_decoded(column(one)), pa.string())) for one in columns]
    return compute.binary_join_element_wise(*texts, " ")
