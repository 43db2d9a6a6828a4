"""Columns as numbers, words and times, however the file stores them; unreadable values are named, never guessed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

MISSING = frozenset(("", "na", "n/a", "nan", "null", "none"))
"""Words for a missing value in a text file, in lower case."""

Values = Sequence[Any] | np.ndarray


def is_number(text: str) -> bool:
    """Return whether a text is a number as Python reads it, nan and inf among them."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def is_missing(value: Any) -> bool:
    """Return whether a value is missing."""
    if value is None:
        return True
    if isinstance(value, str):
        return value.strip().lower() in MISSING
    return isinstance(value, float | np.floating) and bool(np.isnan(value))


LARGEST = float(np.finfo(np.float32).max)


def numbers(values: Values) -> tuple[np.ndarray, list[int]]:
    """Return values as numbers.

    Args:
        values: Texts, numbers or nothing.

    Returns:
        (n,) float64, NaN for what is missing; and the places of what is there and is no finite number in the range of
        float32, in which sequences are kept (NaN, too).
    """
    if isinstance(values, np.ndarray) and values.dtype.kind in "buif":
        found = values.astype(np.float64)
        return _finite(found, [])
    try:
        # One conversion in C; the slow way finds out what is wrong.
        return _finite(np.array(values, np.float64), [])
    except (TypeError, ValueError):
        pass
    found = np.full(len(values), np.nan)
    bad = []
    for place, value in enumerate(values):
        if is_missing(value):
            continue
        try:
            found[place] = float(value)
        except (TypeError, ValueError):
            bad.append(place)
    return _finite(found, bad)


def _finite(found: np.ndarray, bad: list[int]) -> tuple[np.ndarray, list[int]]:
    beyond = np.flatnonzero(np.abs(found) > LARGEST)
    if len(beyond):
        found[beyond] = np.nan
        bad = sorted([*bad, *beyond.tolist()])
    return found, bad


def not_a_number(value: object) -> str:
    """Return the mistake in a value that `numbers` did not accept."""
    shown = f"{str(value)[:40]!r}"
    try:
        large = np.isfinite(float(value))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        large = False
    return f"{shown} is beyond the range of float32" if large else f"{shown} is not a finite number"


def words(values: Values) -> np.ndarray:
    """Return values as texts, (n,) object, None for a missing one; a whole number has no decimal point."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "biu":
        return values.astype(str).astype(object)
    found = np.empty(len(values), object)
    for place, value in enumerate(values):
        if is_missing(value):
            found[place] = None
        elif isinstance(value, float | np.floating) and float(value).is_integer():
            found[place] = str(int(value))
        else:
            found[place] = str(value).strip()
    return found


def times(values: Values) -> tuple[np.ndarray, list[int]]:
    """Return the keys that order steps: numbers as they are, dates and times (ISO 8601) as nanoseconds.

    Returns:
        (n,) float64 or int64, and the places of what is missing or neither.
    """
    if isinstance(values, np.ndarray) and values.dtype.kind == "M":
        stamps = values.astype("datetime64[ns]")
        return stamps.astype(np.int64), np.flatnonzero(np.isnat(stamps)).tolist()
    found, bad = numbers(values)
    if not bad:
        return found, np.flatnonzero(np.isnan(found)).tolist()
    stamps = np.full(len(values), np.datetime64("NaT", "ns"))
    for place, value in enumerate(values):
        try:
            # numpy has no time zones; Z is what it takes every time to be in.
            stamps[place] = np.datetime64(str(value).strip().removesuffix("Z"), "ns")
        except ValueError:
            continue
    # A column of numbers with a slip in it has many numbers; one of dates has at most bare years.
    if np.isfinite(found).sum() >= (~np.isnat(stamps)).sum():
        return found, np.flatnonzero(np.isnan(found)).tolist()
    return stamps.astype(np.int64), np.flatnonzero(np.isnat(stamps)).tolist()
