"""Files as competitions, hospitals, railways and spreadsheets publish them: the series in them, or what `init` says.

Each file is written by a formula, and its numbers are compared with the same formula, not with what was read before.
"""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from momentum_cli.data.files.gathered import Gathered
from momentum_cli.data.problems import Problems
from momentum_cli.errors import DataError, RecipeError
from momentum_cli.inspection.data import check_data
from momentum_cli.recipe.building import build_task
from momentum_cli.recipe.first.files import reasons_of, write_first_recipe
from momentum_cli.recipe.recipe import Recipe, load_recipe, parse_recipe

FAMILIES = ("AUTOMOTIVE", "BREAD/BAKERY")
DAY = datetime.date(2013, 1, 1)
MOIS = ("janv.", "févr.", "mars", "avr.", "mai", "juin", "juil.", "août", "sept.", "oct.", "nov.", "déc.")


def swing(step: int) -> float:
    return round(50 + 9 * math.sin(step / 5), 2)


def drift(step: int) -> float:
    return round(2400 + 7 * step + 90 * math.cos(step / 3), 1)


def text(heading: str, rows: list[str], end: str = "\n") -> str:
    return end.join([*([heading] if heading else []), *rows]) + end


def date(step: int) -> datetime.date:
    return DAY + datetime.timedelta(step)


def european(value: float, thousands: str, digits: int = 2) -> str:
    return f"{value:,.{digits}f}".replace(",", "_").replace(".", ",").replace("_", thousands)


@dataclass
class Archive:
    """A file, what `init` is told, what it has to find, and the series in it by name."""

    name: str
    content: str | bytes
    wanted: dict[str, Any]
    series: dict[str, list[list[float]]]
    target: str | None = None
    reasons: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


ARCHIVES = [
    Archive(  # Accounts of an American spreadsheet
        "ledger.csv",
        text(
            "month,profit",
            [
                f'{date(31 * s):%Y-%m}-01,"{f"(${-v:,.2f})" if (v := 900 * (s % 5) - 1800.25) < 0 else f"${v:,.2f}"}"'
                for s in range(24)
            ],
        ),
        {
            "kind": "forecasting",
            "order": "month",
            "csv": {"thousands": ",", "negative": "parentheses", "units": {"$": 1}},
        },
        {"all": [[900 * (s % 5) - 1800.25] for s in range(24)]},
        reasons=("csv.negative: ($",),
    ),
    Archive(  # A German export, minus behind
        "buchungen.csv",
        text(
            "Datum;Saldo",
            [
                f"{date(s):%d.%m.%Y};{european(abs(v := 700.5 * (s % 4) - 1400), '.')}{'-' if v < 0 else ''}"
                for s in range(40)
            ],
        ),
        {
            "order_format": "%d.%m.%Y",
            "csv": {"delimiter": ";", "decimal": ",", "thousands": ".", "negative": "trailing"},
        },
        {"all": [[700.5 * (s % 4) - 1400] for s in range(40)]},
    ),
    Archive(  # A French service: months in words
        "consommation.csv",
        text("mois;charge", [f"1 {MOIS[s % 12]} {2019 + s // 12};{european(swing(s), '')}" for s in range(36)]),
        {"kind": "forecasting", "order": "mois", "order_format": "%d %b %Y"},
        {"all": [[swing(s)] for s in range(36)]},
    ),
    Archive(  # An instrument: columns in text under its own ending
        "sonde.dat",
        text("# buoy 41\n  t   wave   wind", [f"  {s}   {swing(s)}   {drift(s)}" for s in range(50)]),
        {"kind": "forecasting", "format": "csv", "order": "t", "features": ["wave", "wind"]},
        {"all": [[swing(s), drift(s)] for s in range(50)]},
        target="wave",
        reasons=("format: the file holds columns",),
    ),
    Archive(  # M4: a series in each row, cells at the end empty, numbers in quotes
        "Yearly-train.csv",
        text(
            ",".join(f'"V{n}"' for n in range(1, 32)),
            [f'"Y{n}",' + ",".join([f'"{drift(n + s)}"' for s in range(20 + n)] + [""] * (10 - n)) for n in range(11)],
        ),
        {"kind": "forecasting", "sequence": "V1", "normalise_by": "V1", "target": None},
        {f"Y{n}": [[drift(n + s)] for s in range(20 + n)] for n in range(11)},
        reasons=("each row is a series whose steps are V2 to V31",),
    ),
    Archive(  # M5: sales of each day in a column, several columns of names
        "sales_train.csv",
        text(
            "id,item_id,store_id," + ",".join(f"d_{n}" for n in range(1, 31)),
            [f"F_{n}_CA,F_{n},CA," + ",".join(str((n + 2 * s) % 7) for s in range(30)) for n in range(8)],
        ),
        {"kind": "forecasting", "sequence": ["id", "item_id", "store_id"], "target": None},
        {f"F_{n}_CA / F_{n} / CA": [[(n + 2 * s) % 7] for s in range(30)] for n in range(8)},
    ),
    Archive(  # Appliances energy of the UCI: everything in quotes
        "energydata_complete.csv",
        text(
            '"date","Appliances","lights","T1"',
            [
                f'"{datetime.datetime(2016, 1, 11, 17) + datetime.timedelta(minutes=10 * s)}",'
                f'"{50 + s % 9 * 10}","{s % 4 * 10}","{swing(s):.6f}"'
                for s in range(90)
            ],
        ),
        {"kind": "forecasting", "order": "date", "features": ["Appliances", "lights", "T1"]},
        {"all": [[50 + s % 9 * 10, s % 4 * 10, swing(s)] for s in range(90)]},
        target="Appliances",
    ),
    Archive(  # Store sales of Kaggle: two columns name a series
        "store_sales.csv",
        text(
            "id,date,store_nbr,family,sales,onpromotion",
            [
                f"{(d * 2 + store) * 2 + f},{date(d)},{store},{FAMILIES[f]},{swing(d + f)},{d % 3}"
                for d in range(40)
                for store in (1, 2)
                for f in (0, 1)
            ],
        ),
        {"kind": "forecasting", "sequence": ["store_nbr", "family"], "features": ["sales", "onpromotion"]},
        {f"{store} / {FAMILIES[f]}": [[swing(d + f), d % 3] for d in range(40)] for store in (1, 2) for f in (0, 1)},
        target="sales",
        reasons=("each time occurs once for each 'store_nbr' and 'family'",),
    ),
    Archive(  # A spreadsheet of Germany: clock times, points between thousands, an empty column of remarks
        "Verbrauch.csv",
        text(
            "Datum;Uhrzeit;Verbrauch (kWh);Außentemperatur;Bemerkung",
            [
                f"{date(s // 24):%d.%m.%Y};{s % 24:02}:00;{european(drift(s), '.')};{european(swing(s) - 55, '.', 1)};"
                for s in range(96)
            ],
            "\r\n",
        ).encode("cp1252"),
        {
            "order": ["Datum", "Uhrzeit"],
            "order_format": "%d.%m.%Y %H:%M",
            "csv": {"delimiter": ";", "encoding": "cp1252", "decimal": ",", "thousands": "."},
        },
        {"all": [[drift(s), float(f"{swing(s) - 55:.1f}")] for s in range(96)]},
        target="Verbrauch (kWh)",
        reasons=("they are empty: Bemerkung",),
    ),
    Archive(  # One of France: narrow spaces between thousands, the unit behind the number, a mark at the beginning
        "ventes.csv",
        "\ufeff"
        + text(
            "Date;Ventes (€);Température",
            [f"{date(s):%d/%m/%Y};{european(drift(s), chr(0x202F))} €;{european(swing(s), '', 1)}" for s in range(60)],
            "\r\n",
        ),
        {"order": "Date", "order_format": "%d/%m/%Y"},
        {"all": [[drift(s), float(f"{swing(s):.1f}")] for s in range(60)]},
        target="Ventes (€)",
        reasons=("which '%m/%d/%Y' does not read",),
    ),
    Archive(  # Engines of C-MAPSS: white space, also at the end of a line, and no header row
        "train_FD001.csv",
        text(
            "",
            [
                f"{u} {c} {swing(c) / 1e4:.6f} 100.0 {drift(c + u)} {swing(u * c)}  "
                for u in (1, 2, 3)
                for c in range(1, 41)
            ],
        ),
        {"csv": {"header": False, "delimiter": "whitespace"}, "kind": "forecasting", "sequence": "c1", "order": "c2"},
        {
            str(u): [[float(f"{swing(c) / 1e4:.6f}"), 100.0, drift(c + u), swing(u * c)] for c in range(1, 41)]
            for u in (1, 2, 3)
        },
        target="c6",
        reasons=("sequence: 'c2' counts the rows of each 'c1'",),
    ),
    Archive(  # The internet of things: a line for each value, times in milliseconds
        "iot.jsonl",
        "".join(json.dumps({"ts": 1700000000000 + 60000 * s, "temp": swing(s)}) + "\n" for s in range(60)),
        {"kind": "forecasting", "order": "ts", "features": ["temp"]},
        {"all": [[swing(s)] for s in range(60)]},
        target="temp",
    ),
    Archive(  # Gestures of the UEA: two channels, lengths that differ
        "Motions.ts",
        text(
            "@problemName Motions\n@univariate false\n@dimension 2\n@equalLength false\n"
            "@classLabel true run walk\n@data",
            [
                ":".join(
                    [
                        ",".join(str(swing(n + s)) for s in range(5 + n % 3)),
                        ",".join(str(drift(n + s)) for s in range(5 + n % 3)),
                        ("walk", "run")[n % 2],
                    ]
                )
                for n in range(24)
            ],
        ),
        {"kind": "classification", "features": ["dim0", "dim1"]},
        {str(n + 7): [[swing(n + s), drift(n + s)] for s in range(5 + n % 3)] for n in range(24)},
        labels=("run", "walk"),
    ),
]


def by_name(gathered: Gathered) -> dict[str, np.ndarray]:
    ends = gathered.starts + gathered.lengths
    parts = zip(gathered.names, gathered.starts, ends, strict=True)
    return {str(name): gathered.features.read(int(start), int(end)) for name, start, end in parts}


def read(recipe: Recipe, path: Path) -> Gathered:
    assert [one for one in check_data(recipe)["problems"] if one["severity"] == "error"] == []
    task: Any = build_task(recipe)
    task.load()
    found: Gathered = task.gather(path, Problems())
    return found


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda archive: archive.name)
def test_the_series_of_an_archive_are_those_that_were_written(archive: Archive, tmp_path: Path) -> None:
    path = tmp_path / archive.name
    path.write_bytes(archive.content if isinstance(archive.content, bytes) else archive.content.encode())
    written = write_first_recipe(path, tmp_path / "r.yaml", target=[archive.target] if archive.target else None)
    recipe = load_recipe(written)
    assert {name: recipe.task.options.get(name) for name in archive.wanted} == archive.wanted
    assert [reason for reason in archive.reasons if not any(reason in said for said in reasons_of(written))] == []
    gathered = read(recipe, path)
    assert gathered.labels == archive.labels
    found = by_name(gathered)
    if archive.series:
        assert set(found) == set(archive.series)
    for name, values in archive.series.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-15)


def engines(count: int = 6) -> str:
    rows = [f"{u} {c} {drift(c + u)} {swing(c)}  " for u in range(1, count + 1) for c in range(1, 31 + u)]
    return text("", rows)


def patients(folder: Path) -> Path:
    for n in range(12):
        rows = [f"{'NaN' if s % 5 == 4 else 70 + s}|{98 - n}|{int(n % 2 == 1 and s > 6)}" for s in range(12)]
        (folder / f"p{n:06}.psv").write_text(text("HR|O2Sat|SepsisLabel", rows), encoding="utf-8")
    return folder


def trips() -> str:
    """Stops of trains after midnight: 25:10:00 is ten past one of the next day."""
    rows = [
        f"T{t},{(22 * 60 + 40 * t + 9 * s) // 60:02}:{(22 * 60 + 40 * t + 9 * s) % 60:02}:00,{s + 1},{swing(t + s)}"
        for t in range(10)
        for s in range(6)
    ]
    return text("trip_id,arrival_time,stop_sequence,delay", rows)


SECTIONS = {"model": {"hidden_size": 4}, "optimizer": {"name": "adam", "lr": 0.01}, "train": {"epochs": 1}}


def recipe_of(path: Path, **options: Any) -> Recipe:
    return parse_recipe({"task": {"name": "files", "path": str(path), **options}, **SECTIONS})


def test_engines_are_sequences_by_their_number_and_cycle(tmp_path: Path) -> None:
    path = tmp_path / "train_FD001.txt"
    path.write_text(engines(), encoding="utf-8")
    csv = {"header": False, "delimiter": "whitespace"}
    recipe = recipe_of(
        path, format="csv", kind="forecasting", sequence="c1", order="c2", target="c3", window=4, csv=csv
    )
    found = by_name(read(recipe, path))
    assert list(found) == ["1", "2", "3", "4", "5", "6"]
    for u in range(1, 7):
        assert found[str(u)].tolist() == [[drift(c + u), swing(c)] for c in range(1, 31 + u)]


def test_patients_are_files_and_each_hour_has_a_label(tmp_path: Path) -> None:
    path = patients(tmp_path)
    recipe = recipe_of(
        path, format="csv", kind="labelling", sequence="(file)", target="SepsisLabel", missing="forward_fill"
    )
    gathered = read(recipe, path)
    found = by_name(gathered)
    assert list(found) == [f"p{n:06}" for n in range(12)] or list(found) == [f"p{n:06}.psv" for n in range(12)]
    for n, values in enumerate(found.values()):
        assert values.tolist() == [[70 + s - (s % 5 == 4), 98 - n] for s in range(12)]
    assert gathered.step_targets is not None
    assert int(gathered.step_targets.read(0, 144).sum()) == 6 * 5


def test_times_after_midnight_are_no_times_of_the_day(tmp_path: Path) -> None:
    path = tmp_path / "stop_times.csv"
    path.write_text(trips(), encoding="utf-8")
    options: dict[str, Any] = {"kind": "forecasting", "sequence": "trip_id", "target": "delay", "window": 2,
                               "features": ["delay"], "split": "fraction"}  # fmt: skip
    found = by_name(read(recipe_of(path, order="stop_sequence", **options), path))
    assert found["T9"].tolist() == [[swing(9 + s)] for s in range(6)]
    with pytest.raises(RecipeError, match="order_format: '%H:%M:%S' has no year"):
        recipe_of(path, order="arrival_time", order_format="%H:%M:%S", **options)
    problems = check_data(recipe_of(path, order="arrival_time", **options))["problems"]
    assert any("'28:00:00' is not a date or time such as 2024-01-31T12:00:00" in one["message"] for one in problems)


REFUSED: list[tuple[str, str | None, Callable[[], str], str]] = [
    ("long.csv", None,
     lambda: text("Time,Parameter,Value", [f"00:{s:02},{('HR', 'RR')[s % 2]},{swing(s)}" for s in range(60)]),
     r"name the column to predict with --target \(columns: Time, Parameter, Value\).*Parameter \('HR' in row 2\)"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "target", "content", "message"), REFUSED, ids=[one[0] for one in REFUSED])
def test_what_cannot_be_read_is_named(
    name: str, target: str | None, content: Callable[[], str], message: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(content(), encoding="utf-8")
    with pytest.raises((RecipeError, DataError), match=message):
        write_first_recipe(path, tmp_path / "r.yaml", target=None if target is None else [target])


def test_a_row_that_is_a_series_is_forecast_from_its_own_end(tmp_path: Path) -> None:
    from momentum_cli.inference.opened import open_subject
    from momentum_cli.inference.predict.files import FileReader
    from momentum_cli.inference.predict.predict import predict
    from momentum_cli.inference.predict.samples import Broken
    from momentum_cli.progress import NullUi
    from momentum_cli.training.train import train

    rows = {f"Y{n}": [drift(3 * n + s) * 10**n for s in range(24 + n)] for n in range(4)}

    def write(name: str, more: int) -> Path:
        size = 28 + more
        cells = [[key, *values[: len(values) - 1 + more]] for key, values in rows.items()]
        heading = ",".join(f"V{n}" for n in range(1, size + 1))
        body = [",".join([*map(str, row), *[""] * (size - len(row))]) for row in cells]
        (tmp_path / name).write_text(text(heading, body), encoding="utf-8")
        return tmp_path / name

    path = write("train.csv", 0)
    recipe = load_recipe(write_first_recipe(path, tmp_path / "r.yaml")).override("task.window=6", "train.epochs=1")
    train(recipe, out=tmp_path / "run")
    # One more column: the forecast begins after it.
    answers = []
    for name in (path, write("new.csv", 1)):
        predict(tmp_path / "run", [str(name)], out=tmp_path / "o.jsonl")
        answers.append([json.loads(line) for line in (tmp_path / "o.jsonl").read_text(encoding="utf-8").splitlines()])
    assert [one["sequence"] for one in answers[1]] == ["Y0", "Y1", "Y2", "Y3"]
    assert all(one["values"] != other["values"] for one, other in zip(*answers, strict=True))
    reader = FileReader(open_subject(tmp_path / "run"), 1)
    assert [len(item) for item in reader.predictions([str(path)], 8, NullUi()) if not isinstance(item, Broken)] == [4]
    assert reader.pasts[1]["value"] == rows["Y1"][:-1][-6:]
    scale = [one["values"]["value"][0] / (2600 * 10**n) for n, one in enumerate(answers[1])]
    assert all(0.8 < one < 1.25 for one in scale)
