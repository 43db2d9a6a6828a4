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
from momentum_cli.inference.predict.writers import CsvWriter

PLACE: dict[str, Any] = {"source": "a.csv", "row": 0}
THIRD = 1 / 3
CLASSES = [
    PLACE | {"label": label, "probability": p, "top": [{"label": label, "probability": p}]}
    for label, p in (("=a", THIRD), ("b", 0.5))
]
STEPS = [PLACE | {"sequence": "s", "labels": ["x", "y"], "probabilities": [THIRD, 1.0], "times": ["t0", "t1"]}]
VALUES = [PLACE | {"row": row, "values": {"p": THIRD * row, "q": 2.0}} for row in (1, 2)]
FORECASTS = [
    PLACE | {"sequence": "uneven", "after": "09:00", "values": {"p": [1.0, THIRD]}},
    PLACE | {"sequence": "even", "after": "10:00", "times": ["11:00", "12:00"], "values": {"p": [3.0, 4.0]}},
]
INTERVALS = [PLACE | {"values": {"p": 2.0}, "quantiles": {"0.1": {"p": 1.0}, "0.9": {"p": 3.0}}}]
OUTPUTS = [PLACE | {"values": [0.5, THIRD]}]
NAMELESS = np.array([0.5, THIRD], np.float32)


def as_csv(records: list[dict[str, Any]]) -> list[dict[str, str]]:
    text = io.StringIO()
    writer = CsvWriter(text)
    for record in records:
        writer.write(record, NAMELESS)
    writer.close()
    return list(csv.DictReader(io.StringIO(text.getvalue())))


def as_parquet(records: list[dict[str, Any]], path: Path) -> list[dict[str, Any]]:
    writer = ParquetWriter(path)
    for record in records:
        writer.write(record, NAMELESS)
    writer.close()
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


@pytest.mark.parametrize(
    "records",
    [CLASSES, STEPS, VALUES, FORECASTS, INTERVALS, OUTPUTS],
    ids=["classes", "steps", "values", "ahead", "levels", "raw"],
)
def test_both_tables_have_the_same_cells(records: list[dict[str, Any]], tmp_path: Path) -> None:
    texts, cells = as_csv(records), as_parquet(records, tmp_path / "x.parquet")
    assert len(texts) == len(cells)
    for text, cell in zip(texts, cells, strict=True):
        assert list(text) == list(cell)
        for name, value in cell.items():
            if isinstance(value, float):
                assert float(text[name]) == pytest.approx(value, rel=1e-5)
            else:
                assert text[name].lstrip("'") == ("" if value is None else str(value))


def test_parquet_has_numbers_in_full_and_names_as_they_are(tmp_path: Path) -> None:
    rows = as_parquet(CLASSES, tmp_path / "x.parquet")
    assert (rows[0]["label"], rows[0]["probability"]) == ("=a", THIRD)
    types = {field.name: str(field.type) for field in pq.read_schema(tmp_path / "x.parquet")}
    assert types == {"source": "string", "row": "int64", "label": "string", "probability": "double"}


def test_times_that_are_not_known_leave_their_cells_empty(tmp_path: Path) -> None:
    uneven, even = as_csv(FORECASTS)
    assert (uneven["time[t+1]"], uneven["p[t+1]"], uneven["p[t+2]"]) == ("", "1", "0.333333333333333")
    assert (even["time[t+1]"], even["p[t+1]"], even["p[t+2]"]) == ("11:00", "3", "4")
    assert as_parquet(FORECASTS, tmp_path / "x.parquet")[0]["time[t+1]"] is None


def test_a_column_that_the_table_does_not_have_is_refused(tmp_path: Path) -> None:
    records = [VALUES[0], PLACE | {"values": {"p": 1.0, "r": 2.0}}]
    with pytest.raises(DataError, match=r"a\.csv: its prediction has a column 'r', which the table does not have"):
        as_csv(records)
    with pytest.raises(DataError, match="use --format jsonl"):
        as_parquet(records, tmp_path / "x.parquet")


def test_times_of_parquet_are_fractions_even_if_the_first_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("momentum_cli.inference.predict.parquet._GROUP", 1)
    records = [PLACE | {"step": 1, "time": time, "values": {"p": 1.0}} for time in (3, 3.5)]
    rows = as_parquet(records, tmp_path / "x.parquet")
    assert [row["time"] for row in rows] == [3.0, 3.5]
    types = {field.name: str(field.type) for field in pq.read_schema(tmp_path / "x.parquet")}
    assert (types["time"], types["step"], types["row"]) == ("double", "int64", "int64")


def test_types_that_change_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("momentum_cli.inference.predict.parquet._GROUP", 1)
    records = [PLACE | {"time": 3, "values": {"p": 1.0}}, PLACE | {"time": "noon", "values": {"p": 1.0}}]
    with pytest.raises(DataError, match=r"mixed types.*use --format jsonl"):
        as_parquet(records, tmp_path / "x.parquet")


def test_rows_are_written_in_groups_and_nothing_makes_an_empty_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("momentum_cli.inference.predict.parquet._GROUP", 2)
    rows = as_parquet([VALUES[0] | {"row": row} for row in range(5)], tmp_path / "x.parquet")
    assert [row["row"] for row in rows] == [0, 1, 2, 3, 4]
    assert pq.ParquetFile(tmp_path / "x.parquet").num_row_groups == 3
    assert as_parquet([], tmp_path / "y.parquet") == []
