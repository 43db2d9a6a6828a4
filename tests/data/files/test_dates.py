"""Dates and times of every year and format agree with Python's `datetime`."""

from __future__ import annotations

import datetime
import itertools
import random
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest

from momentum_cli.data.files.columns import times
from momentum_cli.data.files.dates import check_form, compact_form, localised
from momentum_cli.errors import DataError

FORMS = ["%Y-%m-%d %H:%M:%S", "%d.%m.%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S", "%b %d, %Y %H:%M:%S", "%d %B %Y %H.%M.%S",
         "%Y/%m/%dT%H:%M:%S.%f", "%Y-%m-%d %I:%M:%S %p", "%d-%b-%Y %H:%M:%S%z", "%a, %d %b %Y %H:%M:%S %z"]  # fmt: skip


def drawn(low: int, high: int, count: int = 200) -> list[datetime.datetime]:
    draw = random.Random(0)
    zone = datetime.timezone(datetime.timedelta(hours=-3, minutes=-30))
    first, last = datetime.datetime(low, 1, 1), datetime.datetime(high, 12, 30)
    seconds = int((last - first).total_seconds())
    return [(first + datetime.timedelta(seconds=draw.randrange(seconds))).replace(tzinfo=zone) for _ in range(count)]


def written(moment: datetime.datetime, form: str) -> str:
    # strftime does not pad years before 1000 on every system.
    return moment.strftime(form.replace("%Y", f"{moment.year:04}"))


@pytest.mark.parametrize("form", [None, *FORMS])
@pytest.mark.parametrize(("low", "high"), [(1, 9999), (1970, 2037)])
def test_a_form_reads_what_strftime_wrote(form: str | None, low: int, high: int) -> None:
    moments = drawn(low, high)
    zoned = form is not None and "%z" in form
    texts = [moment.replace(tzinfo=None).isoformat() if form is None else written(moment, form) for moment in moments]
    found, bad = times(texts, form)
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    wanted = [
        ((m if zoned else m.replace(tzinfo=datetime.UTC)) - epoch) // datetime.timedelta(seconds=1) for m in moments
    ]
    assert bad == []
    assert found.astype("M8[s]").astype(int).tolist() == wanted


@pytest.mark.parametrize(
    "names",
    [
        "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec",
        "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
        "janv. févr. mars avr. mai juin juil. août sept. oct. nov. déc.",
        "ENE FEB MAR ABR MAY JUN JUL AGO SEP OCT NOV DIC",
        "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
        "jan. fev. mar. abr. mai. jun. jul. ago. set. out. nov. dez.",
        "januari februari maart april mei juni juli augustus september oktober november december",
    ],
)
def test_months_are_named_in_seven_languages(names: str) -> None:
    found, bad = times([f"5 {name} 2021" for name in names.split()], "%d %b %Y")
    assert bad == []
    assert [str(stamp)[:10] for stamp in found] == [f"2021-{month:02}-05" for month in range(1, 13)]


def test_a_word_that_only_begins_like_a_month_is_none() -> None:
    assert times(["5 marraskuu 2021", "5 Jan 2021", "5 decade 2021"], "%d %b %Y")[1] == [0, 2]


@pytest.mark.parametrize("form", ["%Y%m", "%Y%m%d", "%Y%m%d%H", "%Y%m%d%H%M", "%Y%m%d%H%M%S"])
@pytest.mark.parametrize("text", [False, True])
def test_dates_that_are_written_as_one_number(form: str, text: bool) -> None:
    moments = [datetime.datetime(2019, 12, 31, 22, 58, 30) + datetime.timedelta(hours=763 * n) for n in range(40)]
    numbers = [int(moment.strftime(form)) for moment in moments]
    assert compact_form(np.array(numbers)) == form
    found, bad = times([str(number) for number in numbers] if text else numbers, form)
    wanted = [datetime.datetime.strptime(str(number), form) for number in numbers]
    assert (found.astype("M8[s]").tolist(), bad) == (wanted, [])


@pytest.mark.parametrize("numbers", [range(20240101, 20240140), [20240101, 202402], [18991231], [1.5], [np.nan], []])
def test_numbers_that_are_no_dates(numbers: Sequence[float]) -> None:
    assert compact_form(np.array(numbers)) is None


def test_iso_8601_in_all_its_lengths() -> None:
    texts = ["2024-01", "2024-1-5", "2024-01-31T12", "2024-01-31 12:30", "2024-02-30", "2024-01-31T24:00", "soon",
             "2024-01-31T12:30:15.5", "2023-02-29"]  # fmt: skip
    found, bad = times(texts)
    assert bad == [2, 4, 6, 8]
    assert [str(stamp)[:21] for stamp in np.delete(found, bad)] == [
        "2024-01-01T00:00:00.0", "2024-01-05T00:00:00.0", "2024-01-31T12:30:00.0", "2024-02-01T00:00:00.0",
        "2024-01-31T12:30:15.5",
    ]  # fmt: skip


def test_quarters_and_months_of_statistical_offices_are_their_first_days() -> None:
    texts = ["1990Q1", "1990-Q2", "1990 Q3", "1990:Q4", "1991q1", "1991M02", "1991m12", "1990Q5", "1991M13", "1990Q0",
             "1991M0", "90Q1", "0000Q1"]  # fmt: skip
    found, bad = times(texts)
    assert bad == [7, 8, 9, 10, 11, 12]
    assert [str(stamp)[:10] for stamp in found[:7]] == [
        "1990-01-01", "1990-04-01", "1990-07-01", "1990-10-01", "1991-01-01", "1991-02-01", "1991-12-01",
    ]  # fmt: skip


@pytest.mark.parametrize("years", [range(1, 30), range(1890, 2110), range(9990, 9999)])
def test_weeks_are_those_of_iso_8601(years: range) -> None:
    texts, wanted = [], []
    for year, week in itertools.product(years, range(55)):
        for text, weekday in (("-W{:02}", 1), ("W{:02}", 1), ("-W{:02}-4", 4), ("W{:02}7", 7)):
            texts.append(f"{year:04}{text.format(week)}")
            try:
                wanted.append(datetime.date.fromisocalendar(year, week, weekday))
            except ValueError:
                wanted.append(None)
    found, bad = times(texts)
    assert bad == [place for place, day in enumerate(wanted) if day is None]
    assert np.delete(found, bad).astype("M8[D]").tolist() == [day for day in wanted if day is not None]


@pytest.mark.parametrize(
    ("text", "form", "wanted"),
    [
        ("Q3 2020", "Q%q %Y", "2020-07-01"),
        ("4/98", "%q/%y", "1998-10-01"),
        ("2020 53", "%G %V", "2020-12-28"),
        ("1-1-2020", "%u-%V-%G", "2019-12-30"),
    ],
)
def test_quarters_and_weeks_have_directives(text: str, form: str, wanted: str) -> None:
    check_form(form)
    found, bad = times([text], form)
    assert (str(found[0])[:10], bad) == (wanted, [])


@pytest.mark.parametrize("form", ["%Y %V", "%G %m", "%u %Y", "%G %V %m", "%Y %q %d", "%G %V %q"])
def test_half_a_week_is_no_form(form: str) -> None:
    with pytest.raises(ValueError, match="week"):
        check_form(form)


def test_periods_are_not_mixed_with_times_of_a_zone() -> None:
    assert times(["2024-01-01T00:00:00Z", "2024Q2"])[1] == [1]


def test_zones_are_put_into_utc_and_not_mixed_with_clock_times() -> None:
    found, bad = times(["2024-10-27T02:00:00+02:00", "2024-10-27T02:00:00+01:00", "2024-10-27 01:00:00Z"])
    assert (np.diff(found).astype("m8[h]").astype(int).tolist(), bad) == ([1, 0], [])
    assert times(["2024-10-27T02:00:00+02", "2024-10-27T02:00:00"])[1] == [1]


def test_order_is_exact_for_years_that_nanoseconds_do_not_hold() -> None:
    found, bad = times(["1600-01-01", "9999-12-31T23:59:59.999999", "0001-01-01", "2262-04-12"])
    assert bad == []
    assert np.argsort(found).tolist() == [2, 0, 3, 1]
    assert times(["0000-01-01", "2000-01-01"])[1] == [0]
    fine = ["2024-01-01T00:00:00.000000001", "2024-01-01T00:00:00.000000002"]
    assert np.diff(times(fine)[0]).astype(int).tolist() == [1]
    with pytest.raises(DataError, match="are stored in microseconds, but some have more digits"):
        times([*fine, "1600-01-01"])


def test_time_stamps_of_columns_keep_their_resolution() -> None:
    for unit in ("s", "ms", "us", "ns"):
        found, bad = times(pa.array([1, 2, None], pa.timestamp(unit, "Europe/Berlin")))
        assert (found.dtype, bad) == (np.dtype(f"M8[{unit}]"), [2])
    assert times(pa.array([datetime.date(1, 1, 1), datetime.date(9999, 12, 31)]))[1] == []


def test_the_hour_that_clocks_show_twice() -> None:
    utc = np.datetime64("2024-10-26T22:00", "us") + np.arange(0, 360, 15).astype("m8[m]")
    clock = utc + np.where(utc < np.datetime64("2024-10-27T01:00"), 2, 1).astype("m8[h]")
    for order in (slice(None), slice(None, None, -1)):
        found, exists = localised(clock[order], "Europe/Berlin")
        assert exists.all()
        assert (found == utc[order]).all()
    skipped = np.array(["2024-03-31T01:30", "2024-03-31T02:30", "2024-03-31T03:30"], "M8[us]")
    assert localised(skipped, "Europe/Berlin")[1].tolist() == [True, False, True]
    with pytest.raises(DataError, match=r"task.order_timezone: 'Europe/Nowhere' is not a known time zone"):
        localised(clock, "Europe/Nowhere")


@pytest.mark.parametrize(
    ("form", "message"), [("%d/%m", "no year"), ("%Q %Y", "unknown directive '%Q'"), ("%Y %Y", "a directive twice")]
)
def test_forms_that_are_wrong(form: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_form(form)
