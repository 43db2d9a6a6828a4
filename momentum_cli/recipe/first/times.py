"""Columns of dates and times and their format, for a first recipe."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from momentum_cli.data.files.columns import column, joined_texts, numbers, times
from momentum_cli.data.files.dates import assembled, check_form, compact_form, localised, looks_like, parsed
from momentum_cli.errors import DataError, RecipeError
from momentum_cli.recipe.first.guess import ORDER, named

_DATES = ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%y", "%d/%m/%y",
          "%m/%d/%y", "%d-%m-%y", "%m-%d-%y", "%b %d, %Y", "%b %d %Y", "%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%d. %b %Y",
          "%a, %d %b %Y", "%a %b %d %Y")  # fmt: skip
_WHOLE = ("%a %b %d %H:%M:%S %Y", "%Y%m%dT%H%M%S", "%Y%m%dT%H%M%S%z", "%Y%m%d %H:%M:%S", "%Y%m%d %H:%M")
_PERIODS = ("Q%q %Y", "Q%q-%Y", "Q%q/%Y", "%Y/Q%q", "%G W%V", "%G/W%V", "W%V %G", "W%V-%G", "W%V/%G")
_TIMES = ("%H:%M:%S", "%H:%M", "%H.%M.%S", "%H.%M", "%H:%M:%S.%f", "%I:%M:%S %p", "%I:%M %p", "%H:%M:%S%z",
          "%H:%M:%S %z", "%H:%M%z", "%H:%M %z")  # fmt: skip
# Names of columns that are a part of a time, from the largest part to the smallest, and the directive of each.
_PARTS = (
    (("year", "yr", "yyyy", "jahr", "annee", "ano", "anno"), "%Y"),
    (("month", "mo", "mm", "mon", "monat", "mois", "mes", "mese"), "%m"),
    (("day", "dd", "dy", "mday", "dom", "tag", "jour", "dia", "giorno"), "%d"),
    (("hour", "hr", "hh", "stunde", "heure", "hora", "ora"), "%H"),
    (("minute", "min", "mi"), "%M"),
    (("second", "sec", "ss"), "%S"),
)
_QUARTER = ("quarter", "qtr", "quartal", "trimestre", "kwartaal")
# Regions whose clocks go back at different hours or days.
_ZONES = ("Europe/Berlin", "Europe/London", "Europe/Helsinki", "America/New_York", "America/Chicago",
          "America/Denver", "America/Los_Angeles", "Australia/Sydney")  # fmt: skip
_TELLING = re.compile(r"date|time|datum|zeit|stamp|fecha|hora|jour|day|year", re.IGNORECASE)
_SAMPLE = 2000


@dataclass
class Times:
    """Columns of times.

    Attributes:
        columns: One, or several that are a time together; [] if there is none.
        form: As `momentum_cli.data.files.Files.order_format`; None: numbers or ISO 8601.
        stamps: (m,) keys of the rows.
        reasons: Reasons, one line each.
    """

    columns: list[str] = field(default_factory=list)
    form: str | None = None
    stamps: np.ndarray = field(default_factory=lambda: np.empty(0))
    reasons: list[str] = field(default_factory=list)


def guess_times(columns: dict[str, Any], path: Path, form: str | None = None) -> Times:
    """Find the columns by which rows are ordered.

    Args:
        columns: The first rows.
        path: For messages.
        form: The format of dates if known; None: guessed.

    Raises:
        RecipeError: Day and month cannot be told apart, or the format is wrong.
    """
    if form is not None:
        try:
            check_form(form)
        except ValueError as error:
            raise RecipeError(f"--order-format: {error}") from None
    by_name = named(columns, ORDER)
    first = [by_name] if by_name is not None else []
    likely = [name for name in columns if _TELLING.search(name) and name not in first]
    others = [name for name in columns if name not in first and name not in likely]
    for name in first:
        found = _of_column(columns, name, path, form, named=True)
        if found is not None:
            return found
    parts = _of_parts(columns) if form is None else None
    if parts is not None:
        return parts
    for name in [*likely, *others]:
        found = _of_column(columns, name, path, form, named=name in likely)
        if found is not None:
            return found
    if form is not None:
        raise RecipeError(f"--order-format: no column of {path.name} is written like {form!r}")
    return Times()


def not_a_time(values: Any) -> int | None:
    """Return the place of the first text that is no date or time in a column where most are; else None."""
    texts = column(values)
    if not _is_text(texts):
        return None
    forms = [None, *(form for form in _every_form() if looks_like(str(texts[0].as_py()), form))]
    good = max((parsed(texts, form)[2] for form in forms), key=lambda each: each.sum())
    return int(np.argmin(good)) if 2 * good.sum() > len(good) > good.sum() else None


def guess_zone(stamps: np.ndarray) -> str | None:
    """Return a time zone in which repeated clock times are the repeated hour of autumn, or None."""
    if stamps.dtype.kind != "M" or len(np.unique(stamps)) == len(stamps):
        return None
    for zone in _ZONES:
        found, exists = localised(stamps, zone)
        if exists.all() and len(np.unique(found)) == len(found):
            return zone
    return None


def _of_column(columns: dict[str, Any], name: str, path: Path, form: str | None, *, named: bool) -> Times | None:
    values = column(columns[name])
    if not len(values) or values.null_count == len(values):
        return None
    exactly = name.strip().lower() in ORDER
    if form is None and not _is_temporal(values) and _TELLING.search(name):
        compact = compact_form(_ordered(values))
        stamps = None if compact is None else _read([values], compact)
        if compact is not None and stamps is not None:
            return Times([name], compact, stamps, [f"order_format: {name!r} holds dates such as {_shown(values)}"])
    if form is not None and _is_whole(values):
        stamps = _read([values], form)
        return None if stamps is None else Times([name], form, stamps, [])
    if not _is_text(values):
        return _of_numbers(values, name, exactly) if named or _is_temporal(values) else None
    if form is not None:
        for names in ([name], *([name, other] for other in columns if other != name and _is_text(columns[other]))):
            stamps = _read([columns[one] for one in names], form)
            if stamps is not None:
                return Times(names, form, stamps, [])
        return None
    if not numbers(values)[1]:
        return _of_numbers(values, name, exactly) if named else None
    plain, bad = times(values)
    if not bad and plain.dtype.kind == "M":
        clock = _clock_column(columns, name)
        if clock is None:
            return Times([name], None, plain, [f"order: {name!r} holds dates or times such as {_shown(values)}"])
        stamps = _read([values, columns[clock[0]]], f"%Y-%m-%d {clock[1]}")
        if stamps is not None:
            return _two(name, clock[0], f"%Y-%m-%d {clock[1]}", stamps)
    forms = [form for form in _forms(values) if _read([values], form) is not None]
    if not forms:
        return None
    clock = None if any("%H" in form or "%I" in form for form in forms) else _clock_column(columns, name)
    texts = [values] if clock is None else [values, columns[clock[0]]]
    if clock is not None:
        forms = [f"{form} {clock[1]}" for form in forms]
    chosen, why = _chosen(texts, forms, name, path)
    stamps = _read(texts, chosen)
    if stamps is None:
        return None
    if clock is not None:
        return _two(name, clock[0], chosen, stamps, why)
    return Times([name], chosen, stamps, [f"order_format: {name!r} holds dates such as {_shown(values)}{why}"])


def _of_parts(columns: dict[str, Any]) -> Times | None:
    """Return the columns of year and month and whatever follows of day, hour and so on, or of year and quarter."""
    found = [(named(columns, names), directive) for names, directive in _PARTS]
    parts = list(itertools.takewhile(lambda part: part[0] is not None, found))
    names = [name for name, _ in parts if name is not None]
    forms = [" ".join(directive for _, directive in parts)]
    quarter = named(columns, _QUARTER)
    if len(names) == 1 and quarter is not None:
        names, forms = [*names, quarter], ["%Y %q", "%Y Q%q"]
    if len(names) < 2:
        return None
    for form in forms:
        stamps = _read([columns[name] for name in names], form)
        if stamps is not None:
            return Times(names, form, stamps, [f"order: {', '.join(map(repr, names))} are a time together"])
    return None


def _two(date: str, clock: str, form: str, stamps: np.ndarray, why: str = "") -> Times:
    return Times([date, clock], form, stamps, [f"order: {date!r} holds dates and {clock!r} times of the day{why}"])


def _ordered(values: Any) -> np.ndarray:
    """Return the numbers of a column; [] if one is missing or there are others than numbers."""
    found, bad = numbers(values)
    return np.empty(0) if bad else found


def _of_numbers(values: Any, name: str, exactly: bool) -> Times | None:
    stamps, bad = times(values)
    if bad:
        return None
    if not exactly and stamps.dtype.kind != "M":
        # Repeated values, such as the year, are not an order by themselves; others, such as a run time, are no times.
        steps = np.diff(stamps)
        if not ((steps > 0).all() or (steps < 0).all()):
            return None
    return Times([name], None, stamps, [f"order: {name!r} numbers the steps or gives their times"])


def _clock_column(columns: dict[str, Any], date: str) -> tuple[str, str] | None:
    """Return the column of times of day that belongs to a column of dates, and its format."""
    for name, values in columns.items():
        if name == date or not _is_text(values) or not numbers(values)[1]:
            continue
        import pyarrow as pa

        # A time of day has no date, so any date will do for a trial.
        day = pa.array(["2000-01-01"] * len(values))
        likely = [form for form in _TIMES if looks_like(str(values[0].as_py()), form)]
        for form in likely:
            if _read([day, values], f"%Y-%m-%d {form}") is not None:
                return name, form
    return None


def _forms(values: Any) -> list[str]:
    """Return the formats that read a sample of a column."""
    sample = values.slice(0, _SAMPLE)
    first = str(sample[0].as_py())
    return [form for form in _every_form() if looks_like(first, form) and _read([sample], form) is not None]


def _every_form() -> list[str]:
    dates = ("%Y-%m-%d", *_DATES)
    clocks = (f"{date}{gap}{time}" for date in dates for gap in (" ", "T", ", ") for time in _TIMES)
    return [*_DATES, *_PERIODS, *_WHOLE, *clocks]


def _read(texts: list[Any], form: str) -> np.ndarray | None:
    """Return the times of columns if every row has the given format, else None."""
    seconds, nanoseconds, good = parsed(joined_texts(texts).cast("string"), form)
    if not good.all() or not len(good):
        return None
    try:
        return assembled(seconds, nanoseconds, good)
    except DataError:
        return None


def _chosen(texts: list[Any], forms: list[str], name: str, path: Path) -> tuple[str, str]:
    """Return the format of a column, and why: of several possible ones, that with the most even steps.

    Raises:
        RecipeError: Day and month cannot be told apart.
    """
    if len(forms) == 1:
        swapped = forms[0].replace("%d", "%\0").replace("%m", "%d").replace("%\0", "%m")
        numbered = "%d" in forms[0] and "%m" in forms[0] and not forms[0].startswith("%Y")
        return forms[0], f", which {swapped!r} does not read" if numbered else ""
    spread = {form: _unevenness(_read(texts, form)) for form in forms}
    best, second = sorted(forms, key=lambda form: spread[form])[:2]
    apart = spread[best][0] < spread[second][0], spread[best][1] * 3 < spread[second][1]
    if not any(apart):
        shown = " or ".join(repr(form) for form in forms)
        text = f"{path}: column {name!r}: day and month of {_shown(texts[0])} cannot be told apart"
        raise RecipeError(f"{text}; choose with --order-format {shown}")
    return best, f"; the steps are even in this format, and not in {second!r}"


def _unevenness(stamps: np.ndarray | None) -> tuple[float, float]:
    """Return the share of steps other than the usual one, in fifths, and the longest step as a multiple of it."""
    steps = np.diff(np.unique(stamps)).astype(np.float64) if stamps is not None else np.empty(0)
    if not len(steps):
        return 1.0, 1.0
    usual = float(np.median(steps))
    return round(float((steps != usual).mean()) * 5) / 5, float(steps.max()) / usual


def _shown(values: Any) -> str:
    return str(values[0].as_py()).strip()


def _is_text(values: Any) -> bool:
    from pyarrow import types

    return bool(types.is_string(values.type) or types.is_large_string(values.type))


def _is_whole(values: Any) -> bool:
    from pyarrow import types

    return bool(types.is_integer(values.type))


def _is_temporal(values: Any) -> bool:
    from pyarrow import types

    return bool(types.is_timestamp(values.type) or types.is_date(values.type))
