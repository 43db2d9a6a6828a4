"""`init` on generated tables: a recipe that `check` and `train` accept, or words about what is missing.

The tables are those that people have: steps of sequences, a sequence in each row, a series; with the columns, dates,
numbers and slips of spreadsheets, instruments and databases.
"""

from __future__ import annotations

import csv
import datetime
import io
import json
import math
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from momentum_cli.cli import app
from momentum_cli.errors import MomentumError
from momentum_cli.inspection.data import check_data
from momentum_cli.recipe.first.files import first_problems, write_first_recipe
from momentum_cli.recipe.recipe import load_recipe
from momentum_cli.training.train import dry_run

# The same examples in every run and on every machine; the slow form looks at many more.
FEW = settings(max_examples=8, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
MANY = settings(FEW, max_examples=400, derandomize=False, print_blob=True)

NAMES = st.sampled_from(
    ["x", "y2", "Load (kW)", "on", "1e5", "null", "Straße", "a,b", "a;b", 'the "best"', "no", "level", "2", " temp "]
)


@dataclass
class Table:
    """A generated table.

    Attributes:
        columns: Values of each column by its name, in order.
        target: What `init` is told, or None.
        kind: Likewise.
        ending: Of the file.
        delimiter: Of a CSV.
        clean: Nothing is wrong with it: `init` has to come to terms with it.
    """

    columns: dict[str, list[Any]]
    target: list[str] | None
    kind: str | None = None
    ending: str = ".csv"
    delimiter: str = ","
    clean: bool = True
    slips: list[str] = field(default_factory=list)

    def write(self, folder: Path) -> Path:
        path = folder / f"table{self.ending}"
        rows = list(zip(*self.columns.values(), strict=True))
        if self.ending == ".jsonl":
            texts = [json.dumps(dict(zip(self.columns, row, strict=True))) for row in rows]
            path.write_text("\n".join(texts) + "\n", encoding="utf-8")
        elif self.ending == ".parquet":
            import pyarrow as pa
            from pyarrow import parquet

            parquet.write_table(pa.table({name: pa.array(values) for name, values in self.columns.items()}), path)
        else:
            text = io.StringIO()
            writer = csv.writer(text, delimiter=self.delimiter, lineterminator="\n")
            writer.writerow(self.columns)
            writer.writerows([["" if value is None else value for value in row] for row in rows])
            path.write_text(text.getvalue(), encoding="utf-8")
        return path


def numbers(draw: st.DrawFn, count: int, decimal: str) -> list[Any]:
    """Return values of an instrument, in one of the ways in which they are written."""
    start, scale = draw(st.sampled_from([(0, 1), (1e6, 3), (-5, 0.01), (1.6e9, 10)]))
    values = [round(start + scale * math.sin(0.7 * n + start) + n % 3 * scale, 3) for n in range(count)]
    if draw(st.booleans()):
        return [round(value * 100) for value in values]
    return [f"{value:.3f}".replace(".", ",") for value in values] if decimal == "," else values


def moments(draw: st.DrawFn, count: int) -> list[Any]:
    """Return times of evenly spaced steps, in one of the ways in which they are written."""
    start = datetime.datetime(2021, 3, 14, 6, 30)
    step = draw(st.sampled_from([datetime.timedelta(days=1), datetime.timedelta(hours=1), datetime.timedelta(days=31)]))
    stamps = [start + step * n for n in range(count)]
    form = draw(st.sampled_from(["%Y-%m-%d %H:%M:%S", "%d.%m.%Y %H:%M", "%Y-%m-%dT%H:%M:%S+01:00", "unix", "count"]))
    if form == "count":
        return list(range(count))
    if form == "unix":
        return [int(stamp.timestamp()) for stamp in stamps]
    return [stamp.strftime(form) for stamp in stamps]


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Draw a table."""
    layout = draw(st.sampled_from(["steps", "rows", "series", "panel"]))
    ending = draw(st.sampled_from([".csv", ".csv", ".csv", ".jsonl", ".parquet"]))
    delimiter = draw(st.sampled_from([",", ";", "\t"])) if ending == ".csv" else ","
    decimal = "," if delimiter == ";" and draw(st.booleans()) else "."
    length, sequences = draw(st.integers(3, 9)), draw(st.integers(12, 20))
    count = {"rows": sequences, "series": 60}.get(layout, sequences * length)
    names = draw(st.lists(NAMES, min_size=2 if layout == "rows" else 1, max_size=4, unique_by=str.strip))
    columns: dict[str, list[Any]] = {}
    if draw(st.booleans()) and ending == ".csv":
        columns["" if draw(st.booleans()) else "Unnamed: 0"] = list(range(count))
    if layout in ("steps", "panel"):
        columns[draw(st.sampled_from(["id", "Sequence", "unit"]))] = [f"s{n // length}" for n in range(count)]
        if draw(st.booleans()):
            one = moments(draw, length)
            columns[draw(st.sampled_from(["t", "time", "Date"]))] = [one[n % length] for n in range(count)]
    elif layout == "series":
        columns[draw(st.sampled_from(["timestamp", "Date", "Zeit"]))] = moments(draw, count)
    for name in names:
        columns[name] = numbers(draw, count, decimal)
    table = Table(columns, None, ending=ending, delimiter=delimiter)
    if layout in ("steps", "rows"):
        words = draw(st.sampled_from([("up", "down"), ("none", "some"), (0, 1), (1, 2), (0.5, 2.25), ("a", "b", "c")]))
        label = draw(st.sampled_from(["label", "Class", "what happened"]))
        each = layout == "rows" or draw(st.booleans())
        columns[label] = [words[(n if each else n // length) % len(words)] for n in range(count)]
        table.target = [label] if label == "what happened" or draw(st.booleans()) else None
    else:
        table.target, table.kind = [names[0]], "forecasting"
    if draw(st.booleans()):
        _slip(draw, table, names)
    return table


def _slip(draw: st.DrawFn, table: Table, names: list[str]) -> None:
    """Do to a table what happens to tables."""
    table.clean = False
    count = len(next(iter(table.columns.values())))
    name, row = draw(st.sampled_from(names)), draw(st.integers(0, count - 1))
    slip = draw(st.sampled_from(["missing", "word", "question", "huge", "twice", "constant", "few", "untold", "label"]))
    table.slips.append(slip)
    values = table.columns[name]
    if slip in ("missing", "word", "question", "huge"):
        text = {"missing": None, "word": "broken", "question": "?", "huge": 1e300}[slip]
        if table.ending == ".parquet":
            values = [float(str(value).replace(",", ".")) for value in values]
            text = None if isinstance(text, str) else text
        table.columns[name] = [*values[:row], text, *values[row + 1 :]]
    elif slip == "twice":
        table.columns = {key: [*column, column[row]] for key, column in table.columns.items()}
    elif slip == "constant":
        table.columns[name] = [values[0]] * count
    elif slip == "few":
        table.columns = {key: column[:4] for key, column in table.columns.items()}
    elif slip == "untold":
        table.target = table.kind = None
    else:
        key = draw(st.sampled_from(list(table.columns)))
        column = [str(value) for value in table.columns[key]]
        table.columns[key] = [*column[:row], f" {column[row]} ".upper(), *column[row + 1 :]]


def assert_keeps_its_word(table: Table) -> None:
    """Hold `init` to its word for one table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = table.write(folder)
        try:
            written = write_first_recipe(path, folder / "r.yaml", target=table.target, kind=table.kind)
        except MomentumError as error:
            refusal = str(error)
        if not (folder / "r.yaml").exists():
            assert not table.clean, refusal
            assert len(refusal) > 20
            return
        recipe = load_recipe(written, ["train.batch_size=4", "model.hidden_size=2"])
        problems = [problem for problem in first_problems(written) if not problem.warning]
        result = check_data(recipe)
        assert [str(problem) for problem in problems] == [
            problem["message"] for problem in result["problems"] if problem["severity"] == "error"
        ]
        if problems:
            assert not table.clean, problems
            with pytest.raises(MomentumError):
                dry_run(recipe)
            return
        assert math.isfinite(dry_run(recipe)["ms_per_step"])


_DAYS = [f"2021-01-{day:02}" for day in range(1, 29)]
TWICE = Table(
    {"date": [*_DAYS[:-1], _DAYS[3]], "value": [float(n % 5) for n in range(28)]}, ["value"], "forecasting", clean=False
)
UNTOLD = Table(
    {"time": list(range(60)), "load": [n % 7 for n in range(60)], "wind": [n % 4 for n in range(60)]}, None, clean=False
)


@FEW
@example(TWICE)
@example(UNTOLD)
@given(tables())
def test_a_table_is_trained_on_or_what_is_missing_is_said(table: Table) -> None:
    assert_keeps_its_word(table)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@MANY
@given(tables())
def test_many_tables_are_trained_on_or_what_is_missing_is_said(table: Table) -> None:
    assert_keeps_its_word(table)


def test_init_names_what_has_to_be_mended_and_exits_with_3(tmp_path: Path) -> None:
    lines = [f"2021-01-{day:02},{day}" for day in (*range(1, 29), 7)]
    (tmp_path / "d.csv").write_text("\n".join(["date,value", *lines]) + "\n", encoding="utf-8")
    command = ["init", str(tmp_path / "d.csv"), "--out", str(tmp_path / "r.yaml")]
    shown = CliRunner().invoke(app, command)
    assert shown.exit_code == 3
    assert "mistake: sequence 'all': the same date twice" in shown.stdout.replace("\n", " ")
    assert load_recipe(tmp_path / "r.yaml").task.options["order"] == "date"
    told = json.loads(CliRunner().invoke(app, [*command, "--overwrite", "--json"]).stdout)
    assert (told["ok"], told["problems"][0]["rows"]) == (False, [8, 30])
    (tmp_path / "d.csv").write_text("\n".join(["date,value", *lines[:-1]]) + "\n", encoding="utf-8")
    fine = CliRunner().invoke(app, [*command, "--overwrite", "--json"])
    assert (fine.exit_code, json.loads(fine.stdout)["ok"]) == (0, True)
