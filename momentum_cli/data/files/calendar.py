"""Features of the calendar: where the time of each step is in its day, its week and its year.

Each is an angle as sine and cosine, so that 23:59 is next to 00:00.

Axes: t steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from momentum_cli.errors import DataError
from momentum_cli.messages import Said, refuse

_DAY = 86_400 * 10**6


def _of_day(moments: np.ndarray) -> np.ndarray:
    return np.asarray((moments.astype(np.int64) % _DAY) / _DAY)


def _of_week(moments: np.ndarray) -> np.ndarray:
    # 1970-01-01 was a Thursday, and a week begins on Monday.
    return np.asarray(((moments.astype(np.int64) + 3 * _DAY) % (7 * _DAY)) / (7 * _DAY))


def _of_year(moments: np.ndarray) -> np.ndarray:
    begin = moments.astype("M8[Y]")
    length = ((begin + 1).astype("M8[us]") - begin.astype("M8[us]")).astype(np.float64)
    return np.asarray((moments - begin.astype("M8[us]")).astype(np.float64) / length)


CALENDAR: dict[str, Callable[[np.ndarray], np.ndarray]] = {"hour": _of_day, "weekday": _of_week, "month": _of_year}
"""For times in microseconds the share in [0, 1) that has passed of the day, of the week from Monday, of the year."""


def calendar_names(wanted: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the features, two for each of `CALENDAR`."""
    return tuple(f"{name} {wave}" for name in wanted for wave in ("sin", "cos"))


def calendar_features(order: np.ndarray, wanted: Sequence[str], zone: str | None) -> np.ndarray:
    """Return the sine and cosine of each wanted angle, (t, 2 n) float64.

    Args:
        order: (t,) datetime64 in UTC, or as the file writes clock times without a zone.
        wanted: n keys of `CALENDAR`.
        zone: Time zone that UTC times are converted to first; None: times are taken as they are.

    Raises:
        DataError: The order of the steps is not one of dates and times.
    """
    if order.dtype.kind != "M":
        raise DataError(refuse("task.date_features", Said("numbers in task.order"), "be used with dates or times"))
    moments = order.astype("M8[us]")
    if zone is not None:
        import pyarrow as pa
        from pyarrow import compute

        there = pa.array(moments, pa.timestamp("us", "UTC")).cast(pa.timestamp("us", zone))
        moments = compute.local_timestamp(there).to_numpy(zero_copy_only=False).astype("M8[us]")
    angles = [2 * np.pi * CALENDAR[name](moments) for name in wanted]
    return np.stack([wave(angle) for angle in angles for wave in (np.sin, np.cos)], 1)
