"""Files of archives, instruments, spreadsheets and databases become the right series, or `init` says what is missing.

Each case is a file, and the numbers that it holds, worked out by hand or by the formula that wrote it.
"""

from __future__ import annotations

import bz2
import datetime
import gzip
import io
import json
import lzma
import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from momentum_cli.data.problems import Problems
from momentum_cli.errors import DataError, RecipeError
from momentum_cli.inspection.data import check_data
from momentum_cli.recipe.building import build_task
from momentum_cli.recipe.first.files import reasons_of, write_first_recipe
from momentum_cli.recipe.recipe import load_recipe

ROWS = 60


def wave(step: int) -> float:
    return round(20 + 5 * math.sin(step / 4), 2)


def level(step: int) -> float:
    return round(1000 + 100 * math.cos(step / 7), 1)


def comma(value: float, digits: int) -> str:
    return f"{value:.{digits}f}".replace(".", ",")


def lines(heading: str, row: Callable[[int], str], count: int = ROWS, end: str = "\n") -> str:
    return end.join([*([heading] if heading else []), *(row(step) for step in range(count))]) + end


def day(step: int) -> datetime.date:
    return datetime.date(2021, 1, 1) + datetime.timedelta(step)


def hour(step: int) -> datetime.datetime:
    return datetime.datetime(2021, 10, 1) + datetime.timedelta(hours=step)


@dataclass
class Case:
    """A file, what `init` is told, the options that it has to find, and the values in the order of their times."""

    file: str
    content: str | bytes
    options: dict[str, Any]
    values: list[list[float]]
    target: str | list[str] | None = None
    kind: str | None = None
    labels: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    absent: tuple[str, ...] = field(default=())


def parquet(columns: dict[str, list[Any]]) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream)
    return stream.getvalue()


def both(count: int = ROWS) -> list[list[float]]:
    return [[wave(step), level(step)] for step in range(count)]


def zipped(name: str, content: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, content)
        archive.writestr("__MACOSX/._" + name, "x")
    return stream.getvalue()


PLAIN = lines("date,value", lambda s: f"{day(s)},{wave(s)}")
ONE = [[wave(step)] for step in range(ROWS)]

SERIES = [
    Case(  # Electricity loads of Portugal: an unnamed column of times, decimals with a comma
        "loads.csv",
        lines('"";"MT_001";"MT_002"', lambda s: f'"{hour(s)}";{comma(wave(s), 6)};{comma(level(s), 6)}', end="\r\n"),
        {"order": "(column 1)", "csv": {"delimiter": ";", "decimal": ","}, "features": ["MT_001", "MT_002"]},
        both(),
        target="MT_001",
    ),
    Case(  # Household power: a date and a time of day, ? for what was not measured
        "power.txt.csv",
        lines(
            "Date;Time;Global_active_power;Voltage",
            lambda s: f"{hour(s):%d/%m/%Y};{hour(s):%H:%M:%S};" + ("?;?" if s == 9 else f"{wave(s)};{level(s)}"),
        ),
        {"order": ["Date", "Time"], "order_format": "%d/%m/%Y %H:%M:%S", "missing": "forward_fill"},
        [both()[8 if step == 9 else step] for step in range(ROWS)],
        target="Voltage",
        reasons=("missing_values: '?'",),
    ),
    Case(  # UCI air quality: times with points, -200 for missing, empty columns and rows at the end
        "AirQuality.csv",
        lines(
            "Date;Time;CO(GT);T;;",
            lambda s: f"{hour(s):%d/%m/%Y};{hour(s):%H.%M.%S};{'-200' if s in (4, 5) else comma(wave(s), 2)};"
            f"{comma(level(s), 1)};;",
        )
        + ";;;;;\n" * 3,
        {"order": ["Date", "Time"], "order_format": "%d/%m/%Y %H.%M.%S", "csv": {"delimiter": ";", "decimal": ","}},
        [[wave(3 if step in (4, 5) else step), level(step)] for step in range(ROWS)],
        target="T",
        reasons=("missing_values: '-200' in 'CO(GT)'",),
    ),
    Case(  # Weather of Jena
        "jena_climate.csv",
        lines('"Date Time","p (mbar)","T (degC)"', lambda s: f"{hour(s):%d.%m.%Y %H:%M:%S},{wave(s)},{level(s)}"),
        {"order": "Date Time", "order_format": "%d.%m.%Y %H:%M:%S", "features": ["p (mbar)", "T (degC)"]},
        both(),
        target="T (degC)",
    ),
    Case(  # A page of prices saved from a browser: newest first, thousands, M and K, per cent, quoted commas
        "prices.csv",
        lines(
            '"Date","Price","Vol.","Change %"',
            lambda s: f'"{day(ROWS - 1 - s):%b %d, %Y}","{level(ROWS - 1 - s) * 3:,.2f}",'
            f'"{wave(ROWS - 1 - s)}{"MK"[s % 2]}","{-wave(ROWS - 1 - s)}%"',
        ),
        {"order": "Date", "order_format": "%b %d, %Y",
         "csv": {"thousands": ",", "units": {"%": 0.01, "K": 1000, "M": 1000000}}},
        [[round(level(s) * 3, 2), wave(s) * (1e6 if (ROWS - 1 - s) % 2 == 0 else 1e3), -wave(s) / 100]
         for s in range(ROWS)],
        target="Price",
    ),
    Case(  # The same by month and day, with whole numbers
        "stock.csv",
        lines("Date,Close,Volume", lambda s: f"{day(ROWS - 1 - s):%m/%d/%Y},{level(ROWS - 1 - s)},{1000 + s}"),
        {"order": "Date", "order_format": "%m/%d/%Y"},
        [[level(s), 1000 + ROWS - 1 - s] for s in range(ROWS)],
        target="Close",
        reasons=("which '%d/%m/%Y' does not read",),
    ),
    Case(  # Yahoo: the word null
        "yahoo.csv",
        lines("Date,Open,Adj Close", lambda s: f"{day(s)},{'null' if s == 7 else wave(s)},{level(s)}"),
        {"order": "Date", "missing": "forward_fill"},
        [[wave(6 if s == 7 else s), level(s)] for s in range(ROWS)],
        target="Adj Close",
        absent=("missing_values",),
    ),
    Case(  # Exchange rates: no header, no times
        "exchange_rate.csv",
        lines("", lambda s: f"{wave(s)},{level(s)}"),
        {"csv": {"header": False}, "features": ["c1", "c2"]},
        both(),
        target="c2",
        kind="forecasting",
    ),
    Case(  # Sunspots: columns separated by white space, no header
        "sunspots.csv",
        lines("", lambda s: f"{1749 + s:6d}  {wave(s):8.2f}   {level(s):7.1f}"),
        {"csv": {"header": False, "delimiter": "whitespace"}},
        [[1749 + s, wave(s), level(s)] for s in range(ROWS)],
        target="c3",
        kind="forecasting",
    ),
    Case(  # Weather stations of the Netherlands: comments in front, padded cells
        "knmi.csv",
        "# SOURCE: KNMI\n# YYYYMMDD = date\n"
        + lines("DATE,  TG,   PG", lambda s: f"{day(s)},{wave(s):8},{level(s):9}"),
        {"order": "DATE", "csv": {"comment": "#"}, "features": ["TG", "PG"]},
        both(),
        target="TG",
    ),
    Case(  # An instrument: facts in front of the header row
        "logger.csv",
        "Station;Hof\nSerial;12\n\n"
        + lines("Zeit;Temp;Druck", lambda s: f"{s};{comma(wave(s), 2)};{comma(level(s), 1)}"),
        {"order": "Zeit", "csv": {"delimiter": ";", "decimal": ",", "skip_rows": 3}},
        both(),
        target="Temp",
    ),
    Case(  # Airline passengers: months
        "airline.csv",
        lines('"Month","Passengers"', lambda s: f'"{1949 + s // 12}-{s % 12 + 1:02}",{100 + s}'),
        {"order": "Month", "target": "Passengers"},
        [[100 + s] for s in range(ROWS)],
    ),
    Case(  # A spreadsheet of Windows
        "excel_1252.csv",
        lines("Zeit;Temperatur °C;Größe", lambda s: f"{s};{comma(wave(s), 2)};{2 * s}", end="\r\n").encode("cp1252"),
        {"csv": {"delimiter": ";", "encoding": "cp1252", "decimal": ","}},
        [[wave(s), 2 * s] for s in range(ROWS)],
        target="Größe",
    ),
    Case(  # Unicode text of a spreadsheet
        "excel_u16.csv",
        lines("Zeit\tTemp °C\tGröße", lambda s: f"{s}\t{comma(wave(s), 2)}\t{2 * s}", end="\r\n").encode("utf-16"),
        {"csv": {"delimiter": "\t", "decimal": ","}},
        [[wave(s), 2 * s] for s in range(ROWS)],
        target="Größe",
    ),
    Case(  # A spreadsheet that tells its delimiter
        "excel_sep.csv",
        "sep=;\r\n"
        + lines("Zeit;Temp;Druck", lambda s: f"{s};{comma(wave(s), 2)};{comma(level(s), 1)}", end="\r\n"),
        {"csv": {"delimiter": ";", "decimal": ","}},
        both(),
        target="Druck",
    ),
    Case(  # Switzerland: thousands with an apostrophe
        "swiss.csv",
        lines("Datum;Betrag", lambda s: f"{day(s):%d.%m.%Y};{level(s) * 9:,.2f}".replace(",", "'")),
        {"order": "Datum", "order_format": "%d.%m.%Y", "csv": {"delimiter": ";", "thousands": "'"}},
        [[round(level(s) * 9, 2)] for s in range(ROWS)],
    ),
    Case(  # A database: a number of the row, times with a zone
        "db.csv",
        lines("id,created_at,load", lambda s: f"{s},{hour(s)}+00,{wave(s)}"),
        {"order": "created_at", "features": ["load"], "target": "load"},
        ONE,
        reasons=("no features, because they number the rows: id",),
        absent=("sequence",),
    ),
    Case(  # MySQL: \N for NULL
        "mysql.csv",
        lines("ts\tvalue\tother", lambda s: f"{hour(s)}\t{chr(92) + 'N' if s == 3 else wave(s)}\t{level(s)}"),
        {"order": "ts", "missing": "forward_fill"},
        [[wave(2 if s == 3 else s), level(s)] for s in range(ROWS)],
        target="other",
    ),
    Case(  # A time series data base: nanoseconds since 1970, which a float64 does not hold
        "influx.csv",
        lines("name,time,value", lambda s: f"cpu,{1600000000000000000 + ROWS - s},{wave(s)}"),
        {"order": "time", "features": ["value"]},
        [[wave(s)] for s in reversed(range(ROWS))],
        target="value",
        reasons=("no features, because they hold other texts: name ('cpu' in row 2)",),
    ),
    Case(  # pandas, saved twice
        "pandas.csv",
        lines(",Unnamed: 0,date,value", lambda s: f"{s},{s},{day(s)},{wave(s)}"),
        {"order": "date", "features": ["value"]},
        ONE,
        reasons=("they number the rows: (column 1), Unnamed: 0",),
    ),
    Case(  # R: names of rows without a heading
        "r.csv",
        lines("date value other", lambda s: f'"{s + 1}" "{day(s)}" {wave(s)} {level(s)}').replace(" ", ","),
        {"order": "date", "features": ["value", "other"]},
        both(),
        target="value",
    ),
    Case(  # Dates as one number, over the end of a month
        "compact.csv",
        lines("date,value", lambda s: f"{day(s):%Y%m%d},{wave(s)}"),
        {"order": "date", "order_format": "%Y%m%d", "gaps": "refuse"},
        ONE,
    ),
    Case(  # The same as numbers of a database, with hours
        "compact.parquet",
        parquet({"date_time": [int(f"{hour(s):%Y%m%d%H}") for s in range(ROWS)], "value": [w for (w,) in ONE]}),
        {"order": "date_time", "order_format": "%Y%m%d%H"},
        ONE,
        target="value",
    ),
    Case(  # Year, month, day and hour in columns
        "parts.csv",
        lines(
            "No,year,month,day,hour,wave,level",
            lambda s: f"{s + 1},{hour(s).year},{hour(s).month},{hour(s).day},{hour(s).hour},{wave(s)},{level(s)}",
        ),
        {"order": ["year", "month", "day", "hour"], "order_format": "%Y %m %d %H", "features": ["wave", "level"]},
        both(),
        target="wave",
        reasons=("'year', 'month', 'day', 'hour' are a time together",),
    ),
    Case(  # The same newest first, as numbers
        "parts.parquet",
        parquet(
            {
                "Year": [2000 + (ROWS - 1 - s) // 12 for s in range(ROWS)],
                "Month": [(ROWS - 1 - s) % 12 + 1 for s in range(ROWS)],
                "value": [wave(ROWS - 1 - s) for s in range(ROWS)],
            }
        ),
        {"order": ["Year", "Month"], "order_format": "%Y %m"},
        ONE,
    ),
    Case(  # Quarters of a statistical office, some of whose numbers have a footnote
        "quarters.csv",
        lines("period,jobs", lambda s: f"{1990 + s // 4}-Q{s % 4 + 1},{wave(s)}{'*' if s % 7 == 3 else ''}"),
        {"order": "period", "csv": {"units": {"*": 1}}},
        ONE,
        absent=("order_format",),
        reasons=("order: 'period' holds dates or times such as 1990-Q1", "* is left out behind numbers"),
    ),
    Case(  # The same with the quarter first
        "quarters_first.csv",
        lines("period,jobs", lambda s: f"Q{s % 4 + 1} {1990 + s // 4},{wave(s)}"),
        {"order": "period", "order_format": "Q%q %Y"},
        ONE,
    ),
    Case(  # The same in two columns
        "quarter_column.csv",
        lines("year,quarter,jobs", lambda s: f"{1990 + s // 4},Q{s % 4 + 1},{wave(s)}"),
        {"order": ["year", "quarter"], "order_format": "%Y Q%q"},
        ONE,
    ),
    Case(  # Weeks of ISO 8601, of a year with 53
        "weeks.csv",
        lines(
            "week,flu",
            lambda s: "{}-W{:02},{}".format(*(datetime.date(2020, 6, 1) + datetime.timedelta(7 * s)).isocalendar()[:2],
                                            wave(s)),
        ),
        {"order": "week", "gaps": "refuse"},
        ONE,
        absent=("order_format",),
    ),
    Case(  # Units, which a column of numbers is free of, and the minus sign of print
        "units.csv",
        lines("date,power,temperature", lambda s: f"{day(s)},{wave(s)} kWh,−{level(s)}°C"),
        {"csv": {"negative": "typographic", "units": {"kWh": 1, "°C": 1}}},
        [[wave(s), -level(s)] for s in range(ROWS)],
        target="power",
        reasons=("is left out behind numbers", "is a negative number"),
    ),
    Case(  # Years before 1677, which nanoseconds do not hold
        "old.csv",
        lines("date,value", lambda s: f"{1600 + 7 * (ROWS - 1 - s)}-01-01,{wave(ROWS - 1 - s)}"),
        {"order": "date"},
        ONE,
    ),
    Case(  # Clock times with the hour that is there twice
        "dst_naive.csv",
        lines(
            "time,load",
            lambda s: f"{hour(700 + s - (s > 22)).isoformat()},{wave(s)}",
        ),
        {"order": "time", "order_timezone": "Europe/Berlin"},
        ONE,
    ),
    Case(  # The same with offsets
        "dst_off.csv",
        lines("time,load", lambda s: f"{hour(700 + s - (s > 22)).isoformat()}+0{2 - (s > 22)}:00,{wave(s)}"),
        {"order": "time", "target": "load"},
        ONE,
        absent=("order_timezone",),
    ),
    Case(  # A pause of 400 days
        "gap.csv",
        lines("date,value", lambda s: f"{day(s + 400 * (s > 40))},{wave(s)}"),
        {"order": "date", "gaps": "split"},
        ONE,
    ),
    Case(  # Values that float32 rounds to one
        "offset.csv",
        lines("date,value", lambda s: f"{hour(s)},{1.6e9 + wave(s):.3f}"),
        {"order": "date"},
        [[round(1.6e9 + wave(s), 3)] for s in range(ROWS)],
    ),
    Case("plain.csv.gz", gzip.compress(PLAIN.encode()), {"order": "date"}, ONE),
    Case("plain.csv.bz2", bz2.compress(PLAIN.encode()), {"order": "date"}, ONE),
    Case("plain.csv.xz", lzma.compress(PLAIN.encode()), {"order": "date"}, ONE),
    Case("plain.zip", zipped("a/plain.csv", PLAIN), {"order": "date"}, ONE),
    Case(  # Line breaks in cells, doubled quotation marks, empty lines
        "notes.csv",
        lines("date,note,value", lambda s: f'{day(s)},"a ""b""\nc, d",{wave(s)}' + ("\n" if s == 5 else "")),
        {"order": "date", "features": ["value"]},
        ONE,
        target="value",
    ),
    Case(  # A text editor of an old Macintosh
        "mac.csv",
        PLAIN.replace("\n", "\r"),
        {"order": "date"},
        ONE,
    ),
    Case(  # Two values of each of three shops
        "shops.csv",
        lines("date,shop,sales,visits", lambda s: f"{day(s // 3)},s{s % 3},{wave(s)},{level(s)}", 300),
        {"order": "date", "sequence": "shop", "features": ["sales", "visits"], "target": ["sales", "visits"]},
        [[wave(s), level(s)] for m in range(3) for s in range(m, 300, 3)],
        target=["sales", "visits"],
        reasons=("the target changes within a sequence",),
    ),
    Case(  # Six machines, by time
        "machines.csv",
        lines("timestamp,machine,load,failure", lambda s: f"{hour(s // 6)},m{s % 6},{wave(s)},{int(s > 50)}", 600),
        {"order": "timestamp", "sequence": "machine", "features": ["load"], "target": "failure"},
        [[wave(s)] for m in range(6) for s in range(m, 600, 6)],
        target="failure",
        kind="labelling",
        labels=("0", "1"),
        reasons=("each time occurs once for each 'machine'",),
    ),
]  # fmt: skip


def write(folder: Path, case: Case) -> Path:
    path = folder / case.file
    path.write_bytes(case.content if isinstance(case.content, bytes) else case.content.encode())
    return path


@pytest.mark.parametrize("case", SERIES, ids=lambda case: case.file)
def test_a_series_is_what_its_file_says(case: Case, tmp_path: Path) -> None:
    path = write(tmp_path, case)
    written = write_first_recipe(
        path, tmp_path / "r.yaml", target=[case.target] if isinstance(case.target, str) else case.target, kind=case.kind
    )
    recipe = load_recipe(written)
    options = recipe.task.options
    assert options["kind"] == (case.kind or "forecasting")
    assert {name: options.get(name) for name in case.options} == case.options
    assert [name for name in case.absent if name in options] == []
    assert [reason for reason in case.reasons if not any(reason in said for said in reasons_of(written))] == []
    assert check_data(recipe)["problems"] == []
    task = build_task(recipe)
    gathered = task.gather(path, Problems())  # type: ignore[attr-defined]
    np.testing.assert_allclose(gathered.features.array, case.values, rtol=1e-15)
    assert gathered.labels == case.labels
    task.load()


def sequences(name: str, label: Callable[[int], str], heading: str = "id,t,x,label") -> tuple[str, str]:
    return name, lines(heading, lambda s: f"s{s // 4},{s % 4},{wave(s)},{label(s // 4)}", 160)


WIDE = [[wave(row * 6 + step) for step in range(6)] for row in range(40)]
RAGGED = [row[: 3 + number % 4] for number, row in enumerate(WIDE)]
CLASSES = [
    (*sequences("case.csv", lambda n: ("Cat", "cat ", "dog")[n % 3]), {"similar_labels": "fold"}, ("cat", "dog")),
    (*sequences("letters.csv", lambda n: "aAb"[n % 3]), {"similar_labels": "keep"}, ("A", "a", "b")),
    (*sequences("numbers.csv", lambda n: ("1", "1.0", "2")[n % 3]), {}, ("1", "2")),
    (*sequences("none.csv", lambda n: ("none", "one")[n % 2]), {"missing_values": ["na", "n/a", "nan", "null"]},
     ("none", "one")),
    (*sequences("names.csv", lambda n: "ab"[n % 2], "id,t,1e5,null"), {"features": ["1e5"], "target": "null"},
     ("a", "b")),
    (*sequences("counted.csv", lambda n: "ab"[n % 2], "pump,minute,x,label"),
     {"sequence": "pump", "order": "minute", "features": ["x"]}, ("a", "b")),
    ("ucr.tsv", "\n".join("\t".join(map(str, [1 + n % 2, *row])) for n, row in enumerate(WIDE)),
     {"csv": {"delimiter": "\t", "header": False}}, ("1", "2")),
    ("ragged.tsv", "\n".join("\t".join(map(str, [1 + n % 2, *row])) for n, row in enumerate(RAGGED)),
     {"csv": {"delimiter": "\t", "header": False}}, ("1", "2")),
    ("ragged.csv", "\n".join(["label,t0,t1,t2,t3,t4,t5", *(",".join(map(str, [n % 2, *row, *["NaN"] * (6 - len(row))]))
                              for n, row in enumerate(RAGGED))]), {"target": "label"}, ("0", "1")),
    ("x.arff", "% made\n@relation x\n" + "\n".join(f"@attribute att{i} numeric" for i in range(6))
     + "\n@attribute target {a,b}\n@data\n" + "\n".join(
         ",".join(map(str, [*row, "ab"[n % 2]])) for n, row in enumerate(WIDE)),
     {"target": "target"}, ("a", "b")),
    ("x.ts", "# made\n@problemName X\n@univariate true\n@classLabel true u v\n@data\n"
     + "\n".join(",".join(map(str, row)) + ":" + "uv"[n % 2] for n, row in enumerate(RAGGED)),
     {"target": "label", "features": ["dim0"]}, ("u", "v")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "wanted", "labels"), CLASSES, ids=[case[0] for case in CLASSES])
def test_classes_are_what_the_file_means(
    name: str, content: str, wanted: dict[str, Any], labels: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    target = {"tsv": ["c1"], "arff": ["target"]}.get(name.rpartition(".")[2], ["null"] if name == "names.csv" else None)
    recipe = load_recipe(write_first_recipe(path, tmp_path / "r.yaml", target=target))
    options = recipe.task.options
    assert options["kind"] == "classification"
    assert {key: options.get(key) for key in wanted} == wanted
    assert check_data(recipe)["problems"] == []
    gathered = build_task(recipe).gather(path, Problems())  # type: ignore[attr-defined]
    assert gathered.labels == labels
    expected = RAGGED if "ragged" in name or name == "x.ts" else WIDE
    if name.startswith(("ucr", "ragged", "x.")):
        assert gathered.lengths.tolist() == [len(row) for row in expected]
        np.testing.assert_allclose(gathered.features.array[:, 0], np.concatenate(expected))
    else:
        np.testing.assert_allclose(gathered.features.array[:, 0], [wave(s) for s in range(160)])
    build_task(recipe).load()


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        # 01/02 to 12/12: both forms read every row, and neither makes the steps even
        (lines("Date,y", lambda s: f"{s % 12 + 1:02}/{s * 5 % 12 + 1:02}/20{20 + s // 12},{s}"), {},
         "column 'Date': day and month of 01/01/2020 cannot be told apart; choose with --order-format '%d/%m/%Y' or "),
        (lines("id,t,x,label", lambda s: f"s{s // 4},{s % 4},{'inf' if s == 9 else s},a"), {},
         "no column of numbers remains as a feature; these hold other texts: x ('inf' in row 11)"),
        (lines("date,a,b", lambda s: f"{day(s)},{s},{s}"), {},
         "name the column to predict with --target (columns: date,"),
        (lines("a,b,a", lambda s: "1,2,3"), {}, "the header has 'a' more than once"),
        (lines("date,value", lambda s: f"{day(s)},{s}"), {"order_format": "%d/%m/%Y"},
         "--order-format: no column of f.csv is written like '%d/%m/%Y'"),
        ("", {}, "the file is empty"),
        # Values in two notations, and values with marks: no 60 classes
        (lines("a;b;y", lambda s: f"{s};{wave(s)};{s}.{s:03},5"), {},
         "the target 'y' holds 60 different texts in 60 rows, which are no classes; in row 2 '0.000,5' is not a"),
        (lines("a,b,y", lambda s: f"{s},{wave(s)},{s}{'ab'[s % 2]}"), {},
         "in row 2 '0a' is not a finite number; set task.csv.units={'a': 1}"),
        (lines("date,x,y", lambda s: f"{day(s) if s != 40 else 'total'},{s},{s}"), {},
         "column date (dates or times, but not 'total' in row 42); correct it or remove the row; or take each row by"),
        (lines("id,date,x,y", lambda s: f"{s // 20},{day(s % 20) if s != 40 else ''},{s},{s}"), {},
         "column date (dates or times, but not '' in row 42); correct it or remove the row"),
        (lines("Date,x,y", lambda s: f"{1990 + s // 2}S{s % 2 + 1},{s},{s}"), {},
         "column Date ('1990S1' in row 2): no known form of dates; give it with --order-format, or take each row"),
        (lines("Date,x", lambda s: f"{day(s) if s != 40 else '2020-02-30'},{s}"), {},
         "these hold neither numbers nor times: Date (dates or times, but not '2020-02-30' in row 42)"),
    ],
)  # fmt: skip
def test_what_cannot_be_guessed_is_said(content: str, options: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises((RecipeError, DataError)) as error:
        write_first_recipe(path, tmp_path / "r.yaml", **options)
    assert message in str(error.value)
    assert not (tmp_path / "r.yaml").exists()


@pytest.mark.parametrize(
    ("ending", "name"),
    [("csv", "#"), ("csv", "Sr. No."), ("csv", "row_id"), ("csv", ""), ("parquet", "__index_level_0__"),
     ("parquet", "idx"), ("jsonl", ""), ("jsonl", "Unnamed: 0"), ("jsonl", "row_id")],
)  # fmt: skip
def test_the_numbers_of_the_rows_are_no_feature(ending: str, name: str, tmp_path: Path) -> None:
    """Rows that are sorted by their class would be told by their number."""
    columns: dict[str, list[Any]] = {name: list(range(1, ROWS + 1)), "x": [wave(s) for s in range(ROWS)]}
    columns |= {"z": [level(s) for s in range(ROWS)], "label": ["a"] * 30 + ["b"] * 30}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    contents = {
        "csv": lambda: lines(",".join(columns), lambda s: ",".join(map(str, rows[s].values()))).encode(),
        "parquet": lambda: parquet(columns),
        "jsonl": lambda: "".join(json.dumps(row) + "\n" for row in rows).encode(),
    }
    path = tmp_path / f"a.{ending}"
    path.write_bytes(contents[ending]())
    recipe = load_recipe(write_first_recipe(path, tmp_path / "r.yaml"))
    assert (recipe.task.options["features"], recipe.task.options["kind"]) == (["x", "z"], "classification")
    assert check_data(recipe)["ok"]


@pytest.mark.parametrize("heading", ["# time,x,y", "#time,x,y", "# made by me\n# time,x,y"])
def test_a_header_row_may_begin_like_a_comment(heading: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(lines(heading, lambda s: f"{s},{wave(s)},{level(s)}"), encoding="utf-8")
    recipe = load_recipe(write_first_recipe(path, tmp_path / "r.yaml"))
    options = recipe.task.options
    assert (options["order"].lstrip("# "), options["features"], options["target"]) == ("time", ["x", "y"], "y")
    assert check_data(recipe)["ok"]


@pytest.mark.parametrize("number", [lambda s: s % 4 + (s > 90), lambda s: s % 4 * 2, lambda s: s // 4, lambda s: s])
def test_what_does_not_count_rows_names_no_sequence(number: Callable[[int], int], tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(lines("pump,minute,x,label", lambda s: f"s{s // 4},{number(s)},{wave(s)},{'ab'[s % 2]}", 160))
    written = write_first_recipe(path, tmp_path / "r.yaml")
    assert "sequence" not in load_recipe(written).task.options
    assert any(reason.startswith("every row is a sequence") for reason in reasons_of(written))


def test_a_measured_time_is_no_order(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text(lines("runtime,x,y", lambda s: f"{wave(s) + s / 1000},{s % 7},{level(s)}"), encoding="utf-8")
    options = load_recipe(write_first_recipe(path, tmp_path / "r.yaml")).task.options
    assert (options["kind"], options["features"], "order" in options) == ("regression", ["runtime", "x"], False)


def test_day_and_month_are_told_apart_by_even_steps(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text(lines("Date,y", lambda s: f"{day(s):%d/%m/%Y},{wave(s)}", 12), encoding="utf-8")
    written = write_first_recipe(path, tmp_path / "r.yaml")
    assert load_recipe(written).task.options["order_format"] == "%d/%m/%Y"
    assert any("the steps are even in this format" in reason for reason in reasons_of(written))


def test_a_name_with_a_line_break_becomes_no_key(tmp_path: Path) -> None:
    """Names of a file, of a recipe and of columns are in comments of the recipe."""
    path = tmp_path / "t\ncells: {lstm: {}}\n#\x1b[2J.csv"
    rows = "".join(f"w{index % 7},{index % 3},{index % 2 == 0}\n" for index in range(60))
    path.write_text(f'"word\n  tags: [x]",a,y\n{rows}', encoding="utf-8")
    recipe = write_first_recipe(path, tmp_path / "r\nmetrics: [loss]\n#.yaml", target=["y"], kind="classification")
    text = recipe.read_text(encoding="utf-8")
    assert "# A first recipe for t\\ncells: {lstm: {}}\\n#\\x1b[2J.csv; what" in text
    assert "lstm" not in load_recipe(recipe).cells
    assert load_recipe(recipe).metrics == []
