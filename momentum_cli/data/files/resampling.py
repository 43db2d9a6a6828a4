"""Steps at even times: the mean of what was measured in each interval.

Axes: t steps of a piece, b intervals, D features.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from momentum_cli.data.files.pieces import Piece
from momentum_cli.errors import DataError
from momentum_cli.messages import Said, refuse

_UNITS = {"s": 10**9, "min": 60 * 10**9, "h": 3600 * 10**9, "d": 86_400 * 10**9, "w": 7 * 86_400 * 10**9}
# The most steps without a value in a sequence; more of them mean a mistake in the times or the interval.
_MOST = 10_000_000


def interval(text: str | float) -> tuple[float, bool]:
    """Return the length of an interval, in nanoseconds or as a plain number, and True if it is one of time.

    Args:
        text: Such as ``"15min"``, ``"1h"`` or ``"1d"``; or a number > 0, for an order of numbers.

    Raises:
        ValueError: It is neither.
    """
    must = f"be a number > 0, or one with {', '.join(_UNITS)} behind it, such as 15min"
    if isinstance(text, int | float) and not isinstance(text, bool):
        if not 0 < text < float("inf"):
            raise ValueError(refuse("resample", text, must))
        return float(text), False
    found = re.fullmatch(r"(\d+)\s*([a-z]+)", str(text).strip().lower())
    if found is None or found[2] not in _UNITS or int(found[1]) == 0:
        raise ValueError(refuse("resample", text, must))
    return float(int(found[1]) * _UNITS[found[2]]), True


def resampled(piece: Piece, every: str | float, words: Sequence[int]) -> Piece:
    """Return a sequence with one step for each interval from its first to its last one.

    Intervals begin at whole multiples of their length, counted from 1970-01-01T00:00 (of weeks from the Monday before)
    or from 0, and a step has the time at which its interval begins. A feature, or a value to predict, is the mean of
    the values that are not missing; of a class and of a categorical feature it is the last one. An interval without
    values has a missing value.

    Args:
        piece: A whole sequence in the order of its times.
        every: See `interval`.
        words: Places of the categorical features.

    Raises:
        DataError: Times and interval are of different kinds, or far more steps would result.
    """
    order = piece.order
    assert order is not None
    size, timed = interval(every)
    if timed != (order.dtype.kind == "M"):
        got = Said("numbers in task.order" if timed else "dates in task.order")
        raise DataError(refuse("task.resample", got, "be a number for an order of numbers, else a time such as 1h"))
    if not len(order):
        return piece
    # The epoch was a Thursday, and weeks begin on Monday.
    shift = -3 * _UNITS["d"] if timed and str(every).strip().lower().endswith("w") else 0
    if timed:
        unit = {"us": 1000, "ns": 1, "ms": 10**6, "s": 10**9, "D": _UNITS["d"]}[np.datetime_data(order.dtype)[0]]
        if size % unit:
            raise DataError(refuse("task.resample", every, "be a multiple of the unit of the times"))
        # Whole numbers of the unit that the file has, which hold the years 1 to 9999.
        places = (order.astype(np.int64) - shift // unit) // int(size // unit)
    else:
        places = np.floor(order.astype(np.float64) / size).astype(np.int64)
    count = int(places[-1] - places[0]) + 1
    if count > max(_MOST, 100 * len(order)):
        raise DataError(refuse("task.resample", every, f"be longer: it makes {count} steps of {len(order)}"))
    at = places - places[0]
    if timed:
        begins = ((np.arange(count) + places[0]) * int(size // unit) + shift // unit).astype(order.dtype)
    else:
        begins = (np.arange(count) + places[0]) * size
    last = np.searchsorted(at, np.arange(count), side="right") - 1
    there = np.bincount(at, minlength=count) > 0
    features = _means(piece.features, at, count)
    features[:, words] = np.where(there[:, None], piece.features[last][:, words], np.nan)

    def of(values: np.ndarray | None) -> np.ndarray | None:
        if values is None or len(values) == 1 != len(order):
            return values
        if values.dtype.kind == "f":
            return _means(values, at, count)
        return values[last]

    rows = piece.rows if len(piece.rows) == 1 else piece.rows[last]
    return Piece(piece.sequence, features, rows, begins, of(piece.target), of(piece.split), of(piece.group))


def _means(values: np.ndarray, at: np.ndarray, count: int) -> np.ndarray:
    """Return (b, D) means of the values of each interval that are not NaN, NaN without any."""
    found = np.full((count, values.shape[1]), np.nan)
    for column in range(values.shape[1]):
        known = ~np.isnan(values[:, column])
        own, places = values[known, column], at[known]
        number = np.bincount(places, minlength=count)
        # Relative to the first value, so that a mean of numbers near 1.6e9 keeps its digits.
        offset = own[0] if len(own) else 0.0
        total = np.bincount(places, own - offset, minlength=count)
        np.divide(total, number, out=found[:, column], where=number > 0)
        found[:, column] += offset
    return found
