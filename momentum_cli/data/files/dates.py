"""Dates and times: exact for the years 1 to 9999, in ISO 8601 or in a format such as `%d.%m.%Y %H:%M`.

A month, a quarter (`1990Q1`) and a week of ISO 8601 (`2024-W05`) are their first days.

Arrow reads ISO 8601 fast. Other formats, and texts that it refuses, are split by a regular expression and computed by
arithmetic on whole columns, because `strptime` of the C library knows neither `%f` nor `%z`, and reads the names of
months in one language, that of the computer.

Axes: n texts.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import numpy as np

from momentum_cli.data.files.months import MONTHS
from momentum_cli.errors import DataError

# The first and the last second that nanoseconds since 1970 can represent.
_NANOSECONDS = (-9_223_372_036, 9_223_372_035)
_ZONE = r"(?P<z>Z|UTC|GMT|[-+][0-9]{2}(?::?[0-9]{2})?)"
_YEAR = "(?P<Y>[0-9]{4})"
_DAY = (
    r"-(?P<m>[0-9]{1,2})(?:-(?P<d>[0-9]{1,2})"
    r"(?:[T ](?P<H>[0-9]{1,2}):(?P<M>[0-9]{2})(?::(?P<S>[0-9]{2})(?:[.,](?P<f>[0-9]{1,9}))?)?\s*"
    rf"{_ZONE}?)?)?"
)
# Quarters, weeks and months as statistical offices and Stata write them.
_PERIOD = r"[- :]?[Qq](?P<q>[1-4])|-?[Ww](?P<V>[0-9]{1,2})(?:-?(?P<u>[1-7]))?|[Mm](?P<n>[0-9]{1,2})"
_ISO = f"^{_YEAR}{_DAY}$"
_ISO_OR_PERIOD = f"^{_YEAR}(?:{_DAY}|{_PERIOD})$"
_LETTERS = "[A-Za-zÀ-ÖØ-öø-ÿ]"
# Formats of dates that are written as one number, by the number of its digits.
_COMPACT = {6: "%Y%m", 8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
# The supported directives of `datetime.strptime` and, for quarters, of `pandas.Period.strftime`; what each matches.
_DIRECTIVES = {
    "Y": r"(?P<Y>[0-9]{4})",
    "y": r"(?P<y>[0-9]{2})",
    "m": r"(?P<m>[0-9]{1,2})",
    "d": r"(?P<d>[0-9]{1,2})",
    "b": rf"(?P<b>{_LETTERS}{{3,12}})\.?",
    "B": rf"(?P<b>{_LETTERS}{{3,12}})\.?",
    "H": r"(?P<H>[0-9]{1,2})",
    "I": r"(?P<I>[0-9]{1,2})",
    "p": r"(?P<p>[AaPp]\.?[Mm]\.?)",
    "M": r"(?P<M>[0-9]{1,2})",
    "S": r"(?P<S>[0-9]{1,2})",
    "f": r"(?P<f>[0-9]{1,9})",
    "z": _ZONE,
    "a": rf"{_LETTERS}+\.?",
    "A": rf"{_LETTERS}+\.?",
    "q": r"(?P<q>[1-4])",
    "G": r"(?P<G>[0-9]{4})",
    "V": r"(?P<V>[0-9]{1,2})",
    "u": r"(?P<u>[1-7])",
    "%": "%",
}


def check_form(form: str) -> None:
    """Check a format such as ``%d.%m.%Y %H:%M``.

    Raises:
        ValueError: It has an unsupported directive, or one twice, or no year, or a week without the year of weeks, or
            a month or a day next to a quarter or a week.
    """
    pattern = _pattern(form)
    try:
        groups = re.compile(pattern).groupindex
    except re.error:
        raise ValueError(f"{form!r} has a directive twice") from None
    if not {"Y", "y", "G"} & set(groups):
        raise ValueError(f"{form!r} has no year, %Y or %y")
    within = {"m", "b", "d"} if {"q", "V"} & set(groups) else set()
    if within & set(groups) or {"q", "V"} <= set(groups):
        raise ValueError(f"{form!r}: a quarter, %q, and a week, %V, are times of their own, without %m, %b and %d")
    if ("G" in groups) != ("V" in groups) or ("u" in groups and "V" not in groups):
        raise ValueError(f"{form!r}: a week of ISO 8601 is written with both %G, its year, and %V, its number")


def looks_like(text: str, form: str) -> bool:
    """Return True if a text has the parts of a format; it may still not be a date, such as 30 February."""
    return re.match(_pattern(form), text.strip()) is not None


def compact_form(numbers: np.ndarray) -> str | None:
    """Return the format of whole numbers that all are dates of the years 1900 to 2199, such as 20240131; else None."""
    import pyarrow as pa

    if not len(numbers) or not np.isfinite(numbers).all() or (numbers % 1 != 0).any():
        return None
    digits = len(str(int(numbers.max())))
    years = numbers.min() // 10.0 ** (digits - 4), numbers.max() // 10.0 ** (digits - 4)
    if digits not in _COMPACT or years[0] < 1900 or years[1] > 2199:
        return None
    form = _COMPACT[digits]
    return form if parsed(pa.array(numbers.astype(np.int64).astype(str)), form)[2].all() else None


@lru_cache(maxsize=1024)
def _pattern(form: str) -> str:
    parts = []
    for piece in re.findall(r"%.?|\s+|[^%\s]", form):
        if piece.startswith("%"):
            if piece[1:] not in _DIRECTIVES:
                allowed = ", ".join(f"%{name}" for name in _DIRECTIVES)
                raise ValueError(f"{form!r}: unknown directive {piece!r} (allowed: {allowed})")
            parts.append(_DIRECTIVES[piece[1:]])
        else:
            parts.append(r"\s+" if piece.isspace() else re.escape(piece))
    return rf"^{''.join(parts)}$"


def parsed(texts: Any, form: str | None, zoned: bool | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read texts as dates and times.

    Args:
        texts: Arrow array of texts.
        form: As `check_form` takes it; None: ISO 8601.
        zoned: True: they must have a time zone; False: they must not; None: all or none of them.

    Returns:
        (n,) seconds since 1970 in UTC, int64; (n,) nanoseconds, int64; (n,) bool, True if the text is a valid time.
    """
    from pyarrow import compute

    texts = compute.utf8_trim_whitespace(texts)
    fields = compute.extract_regex(texts, _ISO_OR_PERIOD if form is None else _pattern(form))
    good = np.asarray(fields.is_valid().to_numpy(zero_copy_only=False), bool)
    names = [fields.type.field(index).name for index in range(fields.type.num_fields)]
    parts = {name: fields.field(name) for name in names}

    def of(name: str, default: int = 0) -> np.ndarray:
        return _whole(parts[name], default) if name in parts else np.full(len(texts), default, np.int64)

    year = of("G" if "G" in parts else "Y")
    if "y" in parts:
        year = of("y") + np.where(of("y") < 69, 2000, 1900)
    month = _month(parts["b"]) if "b" in parts else of("m", 1)
    if "n" in parts:
        month = np.where(of("n", -1) < 0, month, of("n"))
    if "q" in parts:
        month = np.where(of("q") == 0, month, 3 * of("q") - 2)
    hour = of("H")
    if "I" in parts:
        hour = of("I")
        good &= (hour >= 1) & (hour <= 12)
        hour = hour % 12 + 12 * (_text_starts(parts["p"], "p") if "p" in parts else 0)
    day, minute, second = of("d", 1), of("M"), of("S")
    good &= (year >= 1) & (month >= 1) & (month <= 12)
    months = (np.where(good, year, 1970) - 1970) * 12 + np.where(good, month, 1) - 1
    first = months.astype("M8[M]").astype("M8[D]")
    length = ((months + 1).astype("M8[M]").astype("M8[D]") - first).astype(np.int64)
    good &= (day >= 1) & (day <= length) & (minute < 60) & (second < 60)
    # 24:00 is the end of a day.
    good &= (hour < 24) | ((hour == 24) & (minute == 0) & (second == 0))
    nanoseconds = _fraction(parts["f"]) if "f" in parts else np.zeros(len(texts), np.int64)
    offset, named = _zone(parts["z"]) if "z" in parts else (0, np.zeros(len(texts), bool))
    if zoned is None and (named & good).any():
        zoned = True
    if zoned is not None:
        good &= named == zoned
    days = first.astype(np.int64) + day - 1
    if "V" in parts:
        week, here = of("V", -1), of("V", -1) >= 0
        monday = _first_monday(days) + 7 * (week - 1)
        # A week belongs to the year of its Thursday.
        good &= ~here | ((week >= 1) & (_year(monday + 3) == year))
        days = np.where(here, monday + of("u", 1) - 1, days)
    seconds = days * 86400 + hour * 3600 + minute * 60 + second - offset
    return np.where(good, seconds, 0), np.where(good, nanoseconds, 0), good


def fast_stamps(texts: Any, zoned: bool | None = None) -> np.ndarray | None:
    """Return texts in ISO 8601 as `assembled` does if Arrow reads all of them, else None."""
    import pyarrow as pa
    from pyarrow import compute

    if not len(texts) or texts.null_count:
        return None
    # A conversion that fails takes ten times as long as one that succeeds, so the first text is checked beforehand.
    parts = re.match(_ISO, texts[0].as_py())
    if parts is None or (zoned is not None and zoned != bool(parts["z"])):
        return None
    ends = compute.min_max(texts).as_py()
    held = ends["min"] >= "1678" and ends["max"] < "2262"
    unit = "ns" if held else "us"
    try:
        ticks = compute.cast(texts, pa.timestamp(unit, "UTC" if parts["z"] else None)).cast(pa.int64())
    except pa.ArrowInvalid:
        return None
    found: np.ndarray = ticks.to_numpy(zero_copy_only=False).astype(f"M8[{unit}]")
    # Arrow accepts the year 0, which does not exist.
    return np.where(found >= np.datetime64("0001-01-01"), found, np.datetime64("NaT"))


def assembled(seconds: np.ndarray, nanoseconds: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Return (n,) datetime64 in nanoseconds, or in microseconds if a year requires it; NaT where not good.

    Raises:
        DataError: A year requires microseconds, but a time has more digits.
    """
    unit, size = "ns", 10**9
    if len(seconds) and (seconds.min() < _NANOSECONDS[0] or seconds.max() > _NANOSECONDS[1]):
        unit, size = "us", 10**6
        if (nanoseconds % 1000).any():
            raise DataError("times before 1678 or after 2261 are stored in microseconds, but some have more digits")
    found = (seconds * size + nanoseconds // (10**9 // size)).astype(f"M8[{unit}]")
    found[~good] = np.datetime64("NaT")
    return np.asarray(found)


def stamps_of(array: Any) -> np.ndarray:
    """Return an Arrow array of dates or timestamps as datetime64, in UTC if it has a time zone."""
    import pyarrow as pa
    from pyarrow import compute, types

    if types.is_date(array.type):
        array = compute.cast(array, pa.timestamp("s"))
    return np.array(array.to_numpy(zero_copy_only=False))


def localised(stamps: np.ndarray, zone: str) -> tuple[np.ndarray, np.ndarray]:
    """Return clock times of a time zone in UTC.

    The hour that is repeated in autumn is the first one until the clock goes back.

    Args:
        stamps: (n,) datetime64, in the order of the file, ascending or descending.
        zone: A name such as ``"Europe/Berlin"``.

    Returns:
        (n,) datetime64 in UTC; (n,) bool, True if the clock time exists in the zone: in spring an hour is skipped.

    Raises:
        DataError: The zone is unknown.
    """
    import pyarrow as pa
    from pyarrow import compute

    steps = np.diff(stamps)
    down = (steps < np.timedelta64(0)).sum() > (steps > np.timedelta64(0)).sum()
    ordered = stamps[::-1] if down else stamps

    def utc(ambiguous: str, nonexistent: str) -> np.ndarray:
        try:
            assumed = compute.assume_timezone(pa.array(ordered), zone, ambiguous=ambiguous, nonexistent=nonexistent)
        except pa.ArrowInvalid as error:
            raise DataError(f"task.order_timezone: {zone!r} is not a known time zone ({error})") from error
        return np.array(assumed.cast(pa.timestamp(assumed.type.unit, "UTC")).to_numpy(zero_copy_only=False))

    first, second = utc("earliest", "earliest"), utc("latest", "latest")
    exists = utc("earliest", "latest") == first
    twice = (first != second) & exists
    found = first.copy()
    back = False
    for place in np.flatnonzero(twice):
        if not place or not twice[place - 1]:
            back = False
        elif ordered[place] <= ordered[place - 1]:
            back = True
        if back:
            found[place] = second[place]
    exists |= np.isnat(ordered)
    return (found[::-1], exists[::-1]) if down else (found, exists)


def _first_monday(days: np.ndarray) -> np.ndarray:
    """Return the Monday of week 1 of ISO 8601, that of 4 January, for years given by their first day, since 1970."""
    fourth = days + 3
    # 1 January 1970 was a Thursday.
    return np.asarray(fourth - (fourth + 3) % 7)


def _year(days: np.ndarray) -> np.ndarray:
    return np.asarray(days.astype("M8[D]").astype("M8[Y]").astype(np.int64) + 1970)


def _whole(texts: Any, default: int) -> np.ndarray:
    import pyarrow as pa
    from pyarrow import compute

    empty = compute.equal(texts, "")
    filled = compute.if_else(empty, pa.scalar(str(default), texts.type), texts).fill_null(str(default))
    return np.array(compute.cast(filled, pa.int64()).to_numpy(zero_copy_only=False))


def _month(texts: Any) -> np.ndarray:
    """Return the number of each month by its name, 0 for other words."""
    import pyarrow as pa
    from pyarrow import compute

    bare = compute.replace_substring_regex(compute.utf8_normalize(texts, "NFKD"), "[\u0300-\u036f]", "")
    place = compute.index_in(compute.utf8_lower(bare), pa.array(list(MONTHS), bare.type))
    numbers = np.array([*MONTHS.values(), 0], np.int64)
    return numbers[np.asarray(place.fill_null(len(MONTHS)).to_numpy(False), np.int64)]


def _text_starts(texts: Any, letter: str) -> np.ndarray:
    from pyarrow import compute

    return np.asarray(compute.starts_with(compute.utf8_lower(texts), letter).fill_null(False).to_numpy(False), np.int64)


def _fraction(texts: Any) -> np.ndarray:
    """Return the digits after the decimal point in nanoseconds."""
    from pyarrow import compute

    return _whole(compute.utf8_rpad(texts, 9, "0"), 0)


def _zone(texts: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the offset of each zone from UTC in seconds, and True where there is a zone."""
    from pyarrow import compute

    texts = texts.fill_null("")
    named = np.asarray(compute.not_equal(texts, "").to_numpy(False), bool)
    parts = compute.extract_regex(texts, r"^(?P<s>[-+])(?P<h>[0-9]{2}):?(?P<m>[0-9]{2})?$")
    ahead = _whole(parts.field("h"), 0) * 3600 + _whole(parts.field("m"), 0) * 60
    minus = np.asarray(compute.equal(parts.field("s"), "-").fill_null(False).to_numpy(False), bool)
    return np.where(minus, -ahead, ahead), named
