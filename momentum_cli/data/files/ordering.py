"""Steps in the order of their times: sorting, duplicate times, and gaps.

Axes: t steps of a piece.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from momentum_cli.data.files.dates import compact_form
from momentum_cli.data.files.pieces import Piece
from momentum_cli.data.files.schema import Schema
from momentum_cli.data.problems import Problems

GAP = 10
"""A step of more than this multiple of a series' usual spacing (the median) is a gap."""
_EXACT = 2**53
"""All whole numbers of a float64 up to this one are different."""
_SORTED = "files too large for memory must be sorted by sequence and time"


@dataclass
class Clock:
    """The last time of a sequence, and the usual spacing of its steps.

    Attributes:
        last: A number, or nanoseconds since 1970; None before the first step.
        spacing: The median of the first piece, in the same unit; None before it is known.
        even: All steps so far have the usual spacing.
        months: Calendar months of every step so far, such as 12 for years, whose days differ; 0: they are not such
            steps; None before that is known.
        anchors: With months, the times are at the same moment after the beginning of a month (0), before its end (1),
            or both.
        is_date: The last time is a date or time, not a number.
    """

    last: Any = None
    spacing: float | None = None
    even: bool = True
    months: int | None = None
    anchors: tuple[int, ...] = (0, 1)
    is_date: bool = False

    @property
    def regular(self) -> bool:
        """True if the times of later steps are known."""
        return self.last is not None and self.spacing is not None and (self.even or bool(self.months))

    def text(self, steps: int = 0) -> str | float:
        """Return the time of a step after the last one, if steps are regular; 0 is the last one itself."""
        if not self.is_date:
            return plain_number(self.last + steps * (self.spacing or 0))
        if self.months:
            return time_text(_months_later(self.last, steps * self.months, self.anchors[0]))
        return time_text(self.last + steps * round(self.spacing or 0))


class Ordering:
    """Sorts the steps of pieces and checks their times.

    Args:
        schema: Meaning of the columns.
        whole: True if each piece is a whole sequence, so that its steps may be sorted.
        problems: Receives every mistake.
    """

    def __init__(self, schema: Schema, whole: bool, problems: Problems) -> None:
        self._schema, self._whole, self._problems = schema, whole, problems
        self._column = schema.order_name

    def sorted(self, piece: Piece, clock: Clock, even: Callable[[Piece], Piece]) -> tuple[Piece, np.ndarray]:
        """Return a piece in order of time, and (t,) bool, the steps before which a window must end."""
        assert piece.order is not None
        if self._whole and bool((piece.order[1:] < piece.order[:-1]).any()):
            piece = piece.picked(np.argsort(piece.order, kind="stable"))
        order = piece.order
        assert order is not None
        if not len(order):
            return piece, np.zeros(0, bool)
        first = exact(order[0])
        same = np.concatenate(([first == clock.last], order[1:] == order[:-1]))
        back = np.concatenate(([clock.last is not None and first < clock.last], order[1:] < order[:-1]))
        if same.any():
            self._report_twice(piece, same)
        if back.any():
            text = f"sequence {piece.sequence!r}: {self._column} must increase; {_SORTED}"
            self._add("unordered", text, piece, back)
        piece = even(piece)
        order = piece.order
        assert order is not None
        gaps = self._gaps(piece, clock) if self._schema.is_series else np.zeros(len(order), bool)
        clock.last, clock.is_date = exact(order[-1]), order.dtype.kind == "M"
        return piece, gaps

    def _report_twice(self, piece: Piece, same: np.ndarray) -> None:
        assert piece.order is not None
        text = f"sequence {piece.sequence!r}: the same {self._column} twice"
        if not self._schema.sequence:
            text += "; if these are several series, name the column of their names in task.sequence"
        if piece.order.dtype.kind == "M" and self._schema.order_timezone is None:
            text += "; if it is the hour that is repeated in autumn, name the time zone in task.order_timezone"
        # Both rows of a pair, if they are in this piece.
        self._add("duplicate_time", text, piece, same | np.append(same[1:], False))

    def _gaps(self, piece: Piece, clock: Clock) -> np.ndarray:
        """Return (t,) bool, the steps after a gap, which is a problem or a break."""
        order = piece.order
        assert order is not None
        before = 0.0 if clock.last is None else float(exact(order[0]) - clock.last)
        steps = np.concatenate(([before], np.diff(order).astype(np.float64) * _nanoseconds(order.dtype)))
        forward = steps[steps > 0]
        if clock.spacing is None and len(forward) > 2:
            clock.spacing = float(np.median(forward))
        clock.even = clock.even and bool((forward == clock.spacing).all())
        if order.dtype.kind == "M" and clock.months != 0:
            _count_months(order, clock)
        gaps = steps > GAP * clock.spacing if clock.spacing is not None else np.zeros(len(steps), bool)
        if self._schema.gaps == "ignore":
            return np.zeros(len(steps), bool)
        if self._schema.gaps == "refuse" and gaps.any() and clock.spacing is not None:
            longest, usual = _span(float(steps.max()), order.dtype), _span(clock.spacing, order.dtype)
            text = (
                f"sequence {piece.sequence!r}: {self._column} jumps by up to {longest}, and usually by {usual}; set "
                "task.gaps to split, so that no window spans a gap, or to ignore"
            )
            form = None if order.dtype.kind == "M" else compact_form(order.astype(np.float64))
            if form is not None:
                text += f"; if they are dates, such as {order[0]:.0f}, set task.order_format={form!r}"
            self._add("gap", text, piece, gaps)
        return np.asarray(gaps)

    def _add(self, code: str, text: str, piece: Piece, where: np.ndarray) -> None:
        self._problems.add(code, text, piece.rows[where], column=self._column, sequence=piece.sequence)


def exact(time: Any) -> Any:
    """Return a number unchanged, and a time as integer nanoseconds, which Python represents for every year."""
    return int(time.astype(np.int64)) * _nanoseconds(time.dtype) if time.dtype.kind == "M" else time.item()


def time_text(nanoseconds: int) -> str:
    """Return nanoseconds since 1970 as ISO 8601, for any year."""
    moment = datetime(1970, 1, 1) + timedelta(microseconds=nanoseconds // 1000)
    return moment.isoformat() + (f"{nanoseconds % 1000:03}" if nanoseconds % 1000 else "")


def time_texts(order: np.ndarray) -> list[str | float]:
    """Return the times of steps, dates as ISO 8601, and numbers as `plain_number`."""
    return [time_text(exact(time)) if order.dtype.kind == "M" else plain_number(time) for time in order]


def plain_number(number: float) -> float:
    """Return a whole number as an int, which is shown without ``.0``, and another one as a float."""
    value = float(number)
    return int(value) if value.is_integer() and abs(value) < _EXACT else value


def _count_months(order: np.ndarray, clock: Clock) -> None:
    """Set the `months` and `anchors` of a clock for further times."""
    if clock.last is not None:
        before = np.array([clock.last // _nanoseconds(order.dtype)], np.int64)
        order = np.concatenate((before.view(order.dtype), order))
    numbers = order.astype("M8[M]").astype(np.int64)
    steps = np.diff(numbers)
    if not len(steps):
        return
    same = steps[0] > 0 and (steps == steps[0]).all() and clock.months in (None, steps[0])
    if same:
        moments = [(one, order - _month_starts(numbers + one, order.dtype)) for one in clock.anchors]
        clock.anchors = tuple(one for one, since in moments if (since == since[0]).all())
    clock.months = int(steps[0]) if same and clock.anchors else 0


def _months_later(nanoseconds: int, months: int, anchor: int) -> int:
    """Return a time some months later, with an anchor as in `Clock`."""
    seconds = np.datetime64(nanoseconds // 10**9, "s")
    number = seconds.astype("M8[M]").astype(np.int64) + anchor
    ends = _month_starts(np.array([number, number + months]), seconds.dtype)
    return nanoseconds + int(np.diff(ends)[0].astype(np.int64)) * 10**9


def _month_starts(numbers: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """Return the beginnings of months, counted from January 1970."""
    return np.asarray(numbers, np.int64).astype("M8[M]").astype(dtype)


def _nanoseconds(dtype: np.dtype[Any]) -> int:
    if dtype.kind != "M":
        return 1
    return {"D": 86_400 * 10**9, "s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[np.datetime_data(dtype)[0]]


def _span(step: float, dtype: np.dtype[Any]) -> str:
    return f"{step:g}" if dtype.kind != "M" else str(timedelta(microseconds=step / 1000)).removesuffix(", 0:00:00")
