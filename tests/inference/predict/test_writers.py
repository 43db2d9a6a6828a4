"""Tables of predictions: CSV and Parquet have the same rows, whatever the kind of model."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet as pq

from momentum_cli.errors import DataError
from momentum_cli.inference.predict.parquet import ParquetWriter
from momentum_cli.inference.predict.predictions import Answer, Facts, Labelled, Named, Predictions, Ranked, Values
from momentum_cli.inference.predict.samples import Places
from momentum_cli.inference.predict.writers import CsvWriter

THIRD = 1 / 3
RAW = np.zeros((2, 2), np.float32)
TWO = Places(["a.csv"] * 2, [0, 1])


def made(answer: Answer, places: Places = TWO, outputs: np.ndarray = RAW) -> Predictions:
    return Predictions(places, outputs[: len(places)], answer)


def values(places: Places = TWO, name: str = "q") -> Predictions:
    return made(Named(["p", name], np.array([[[THIRD], [2.0]], [[-1.0], [1e-9]]])[: len(places)], ()), places)


def of_one(**times: Any) -> Predictions:
    return values(Places(["a.csv"], [0], (), [times]))


CLASSES = made(Ranked(["b", "=a"], np.array([[1, 0], [0, 1]]), np.array([[1 - THIRD, THIRD], [0.75, 0.25]])))
HOURS = ["t0", "t1", "t2"], ["t3", "t4", "t5"]
STEPS = made(
    Labelled(["x", "y"], np.array([[0, 1, 1], [0, 0, 1]]), np.array([[THIRD, 1, 0.5], [1, 1, 0.25]]), HOURS),
    Places(["a.csv"] * 2, [0, 3], ["s", "z"], [{"times": hours} for hours in HOURS]),
    np.zeros((2, 3, 2)),
)
FORECASTS = made(
    Facts([{"values": {"p": [1.0, THIRD]}}, {"values": {"p": [3.0, 4.0]}}]),
    Places(["a.csv"] * 2, [0, 1], ["uneven", "even"], [{"after": "9"}, {"after": "10", "times": ["11:00", "12:00"]}]),
)
INTERVALS = made(Named(["p"], np.array([[[1.0, 2.0, 3.0]], [[4.0, 5.0, 6.0]]]), (0.1, 0.5, 0.9)))
OUTPUTS = made(Values(np.array([[0.5, THIRD], [1.0, 2.0]], np.float32)))
WINDOWS = values(Places(["a.csv"] * 2, [0, 0], ["s"] * 2, [{"step": 6, "time": 1.5}, {"step": 8, "time": 2}]))


def as_csv(*batches: Predictions) -> list[dict[str, str]]:
    text = io.StringIO()
    writer = CsvWriter(text)
    for batch in batches:
        writer.write(batch)
    writer.close()
    return list(csv.DictReader(io.StringIO(text.getvalue())))


def as_parquet(path: Path, *batches: Predictions) -> list[dict[str, Any]]:
    writer = ParquetWriter(path)
    for batch in batches:
        writer.write(batch)
    writer.close()
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def rows_of(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of a table from a record, key by key."""
    row = {key: value for key, value in record.items() if isinstance(value, str | int | float | None)}
    for rank, entry in enumerate(record.get("top", ())[1:], start=2):
        row |= {f"{key}_{rank}": value for key, value in entry.items()}
    if "labels" in record:
        steps = zip(record["times"], record["labels"], record["probabilities"], strict=True)
        return [
            row | {"step": n, "time": time, "label": label, "probability": p}
            for n, (time, label, p) in enumerate(steps)
        ]
    found = record.get("values", {})
    if isinstance(found, list):
        row |= {f"value_{n}": value for n, value in enumerate(found)}
    elif "after" in record:
        row |= {f"time[t+{n}]": time for n, time in enumerate(record.get("times", [None, None]), start=1)}
        row |= {f"{name}[t+{n}]": one for name, of_name in found.items() for n, one in enumerate(of_name, start=1)}
    else:
        row |= found
        row |= {
            f"{name} {level}": x for level, named in record.get("quantiles", {}).items() for name, x in named.items()
        }
    return [row]


@pytest.mark.parametrize(
    "batch",
    [CLASSES, STEPS, values(), FORECASTS, INTERVALS, OUTPUTS, WINDOWS],
    ids=["classes", "steps", "values", "ahead", "levels", "raw", "windows"],
)
def test_tables_have_what_the_records_have(batch: Predictions, tmp_path: Path) -> None:
    wanted = [row for record in batch.records() for row in rows_of(record)]
    cells = as_parquet(tmp_path / "x.parquet", batch)
    assert cells == wanted
    assert list(cells[0]) == list(wanted[0])
    texts = as_csv(batch)
    assert len(texts) == len(cells)
    for text, cell in zip(texts, cells, strict=True):
        assert list(text) == list(cell)
        for name, value in cell.items():
            if isinstance(value, float):
                assert float(text[name]) == pytest.approx(value, rel=1e-5)
            else:
                assert text[name].lstrip("'") == ("" if value is None else str(value))


def test_parquet_has_numbers_in_full_and_names_as_they_are(tmp_path: Path) -> None:
    rows = as_parquet(tmp_path / "x.parquet", CLASSES)
    assert (rows[0]["label"], rows[0]["probability"]) == ("=a", 1 - THIRD)
    types = {field.name: str(field.type) for field in pq.read_schema(tmp_path / "x.parquet")}
    ranked = {"label": "string", "probability": "double", "label_2": "string", "probability_2": "double"}
    assert types == {"source": "string", "row": "int64", **ranked}


def test_times_that_are_not_known_leave_their_cells_empty(tmp_path: Path) -> None:
    uneven, even = as_csv(FORECASTS)
    assert (uneven["time[t+1]"], uneven["p[t+1]"], uneven["p[t+2]"]) == ("", "1", "0.333333333333333")
    assert (even["time[t+1]"], even["p[t+1]"], even["p[t+2]"]) == ("11:00", "3", "4")
    assert as_parquet(tmp_path / "x.parquet", FORECASTS)[0]["time[t+1]"] is None


def test_a_column_that_the_table_does_not_have_is_refused(tmp_path: Path) -> None:
    batches = values(), values(name="r")
    with pytest.raises(DataError, match=r"a\.csv: its prediction has a column 'r', which the table does not have"):
        as_csv(*batches)
    with pytest.raises(DataError, match="use --format jsonl"):
        as_parquet(tmp_path / "x.parquet", *batches)


def test_times_of_parquet_are_fractions_even_if_the_first_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("momentum_cli.inference.predict.parquet._GROUP", 1)
    rows = as_parquet(tmp_path / "x.parquet", *(of_one(step=1, time=time) for time in (3, 3.5)))
    assert [row["time"] for row in rows] == [3.0, 3.5]
    types = {field.name: str(field.type) for field in pq.read_schema(tmp_path / "x.parquet")}
    assert (types["time"], types["step"], types["row"]) == ("double", "int64", "int64")


def test_types_that_change_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("momentum_cli.inference.predict.parquet._GROUP", 1)
    with pytest.raises(DataError, match=r"mixed types.*use --format jsonl"):
        as_parquet(tmp_path / "x.parquet", of_one(time=3), of_one(time="noon"))


def test_rows_are_written_in_groups_and_nothing_makes_an_empty_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("momentum_cli.inference.predict.parquet._GROUP", 2)
    five = made(Values(np.zeros((5, 1))), Places(["a.csv"] * 5, [*range(5)]), np.zeros((5, 1)))
    rows = as_parquet(tmp_path / "x.parquet", five, five)
    assert [row["row"] for row in rows] == [0, 1, 2, 3, 4] * 2
    assert pq.ParquetFile(tmp_path / "x.parquet").num_row_groups == 5
    assert as_parquet(tmp_path / "y.parquet") == []
