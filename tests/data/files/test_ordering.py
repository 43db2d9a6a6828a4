"""Times of later steps agree with the calendar of Python's `datetime`."""

from __future__ import annotations

import calendar
import datetime
from collections.abc import Callable

import numpy as np
import pytest

from momentum_cli.data.files.ordering import Clock, Ordering
from momentum_cli.data.files.pieces import Piece
from momentum_cli.data.files.schema import Schema
from momentum_cli.data.problems import Problems


def in_month(day: int, months: int, begin: int = 0) -> Callable[[int], datetime.datetime]:
    """Return a function of the step: a day of each month, the last one if there are fewer."""

    def moment(step: int) -> datetime.datetime:
        year, month = divmod(12 * 1995 + begin + step * months, 12)
        last = calendar.monthrange(year, month + 1)[1]
        return datetime.datetime(year, month + 1, min(day, last), 6, 30)

    return moment


def clock_of(moments: list[datetime.datetime], cut: int, unit: str) -> Clock:
    """Return the clock of a series that is read in two pieces."""
    schema = Schema("csv", "forecasting", (), ("t",), ("x",), ("x",))
    ordering, clock = Ordering(schema, False, Problems()), Clock()
    for part in (moments[:cut], moments[cut:]):
        piece = Piece("a", np.zeros((len(part), 1)), np.arange(len(part)), np.array(part, f"M8[{unit}]"))
        ordering.sorted(piece, clock, lambda piece: piece)
    return clock


@pytest.mark.parametrize("unit", ["s", "us", "ns"])
@pytest.mark.parametrize(
    "moment",
    [
        in_month(1, 1),
        in_month(15, 1),
        in_month(28, 1),
        in_month(31, 1),
        in_month(31, 3, 2),
        in_month(1, 12),
        in_month(31, 12, 11),
        in_month(29, 12, 1),
        lambda step: datetime.datetime(2023, 12, 1) + datetime.timedelta(hours=3 * step),
    ],
    ids=["1st", "15th", "28th", "month ends", "quarter ends", "years", "year ends", "ends of February", "hours"],
)  # fmt: skip
def test_times_after_the_last_one(moment: Callable[[int], datetime.datetime], unit: str) -> None:
    # The last of the 28ths is in February, whose last day it is.
    count = 50
    clock = clock_of([moment(step) for step in range(count)], 20, unit)
    assert clock.regular
    later = [clock.text(step) for step in range(15)]
    assert later == [moment(count - 1 + step).isoformat() for step in range(15)]
    assert clock.text(-7) == moment(count - 8).isoformat()


@pytest.mark.parametrize(
    "moment",
    [
        in_month(30, 1),
        lambda step: in_month(1, 1)(step + (step > 30)),
        lambda step: in_month(1, 1)(step) + datetime.timedelta(days=step == 30),
        lambda step: datetime.datetime(1995, 1, 1) + datetime.timedelta(days=step * step),
    ],
    ids=["30ths", "a month is missing", "a day late", "growing steps"],
)
def test_uneven_times_say_nothing_about_later_ones(moment: Callable[[int], datetime.datetime]) -> None:
    assert not clock_of([moment(step) for step in range(50)], 20, "s").regular
