"""Gaps, lists in columns and arrays of classes: windows and targets follow the file."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from momentum_cli.data import Files
from momentum_cli.data.files import cache
from momentum_cli.data.problems import Problems
from momentum_cli.errors import DataError
from momentum_cli.inference.predict.predict import predict
from momentum_cli.recipe.recipe import parse_recipe
from momentum_cli.training.train import train


def days(count: int, gaps: dict[int, int]) -> list[datetime.date]:
    found, at = [], datetime.date(2020, 1, 1)
    for step in range(count):
        at += datetime.timedelta(gaps.get(step, 1))
        found.append(at)
    return found


def series(path: Path, gaps: dict[int, int], count: int = 100) -> Path:
    lines = [f"{day},{step}" for step, day in enumerate(days(count, gaps))]
    path.write_text("\n".join(["date,x", *lines]) + "\n", encoding="utf-8")
    return path


GAPS = {20: 400, 68: 30, 91: 12}


@pytest.mark.parametrize("large", [False, True])
def test_a_series_filled_forward_begins_with_the_first_value_of_every_target(
    large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it there is nothing to fill with; gaps keep their place."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(cache, "LARGE", 1 if large else cache.LARGE)
    begins, path = {"a": (0, 0), "b": (3, 5), "c": (7, 2)}, tmp_path / "a.csv"
    lines = [
        f"{name},{day},{step if step >= x and step != 30 else ''},{-step if step >= y else ''},{'' if step < 10 else 1}"
        for name, (x, y) in begins.items()
        for step, day in enumerate(days(60, {40: 400}))
    ]
    path.write_text("\n".join(["id,date,x,y,z", *lines]) + "\n", encoding="utf-8")
    task = Files(
        path=str(path), kind="forecasting", sequence="id", order="date", target=["x", "y"], window=4, gaps="split",
        missing="forward_fill", normalise="none",
    )  # fmt: skip
    problems = Problems()
    gathered = task.gather(path, problems)
    assert problems.all == []
    first = [max(pair) for pair in begins.values()]
    assert gathered.lengths.tolist() == [60 - begin for begin in first]
    assert gathered.step_targets is not None
    values = [[29 if step == 30 else step, -step] for begin in first for step in range(begin, 60)]
    assert gathered.step_targets.read(0, len(values)).tolist() == values
    assert gathered.breaks.tolist() == [40, 60 + 35, 115 + 33]
    split = task.load().train
    batch = split.batch(torch.arange(len(split)))
    assert bool(torch.isfinite(batch.inputs).all() and torch.isfinite(batch.targets).all())


def test_a_row_that_is_a_series_begins_with_its_first_value(tmp_path: Path) -> None:
    """In training, and when it is read without targets, as to forecast from it."""
    path = tmp_path / "a.csv"
    rows = [[""] * begin + [str(step) for step in range(begin, 40)] for begin in (0, 3, 12)]
    lines = [f"s{n},{','.join(row)}" for n, row in enumerate(rows)]
    path.write_text("\n".join([f"id,{','.join(f'd_{n}' for n in range(40))}", *lines]) + "\n", encoding="utf-8")
    task = {
        "name": "files", "path": str(path), "kind": "forecasting", "sequence": "id", "window": 4, "horizon": 1,
        "missing": "forward_fill", "normalise_by": "id",
    }  # fmt: skip
    training = {"optimizer": {"name": "adam", "lr": 0.01}, "train": {"max_steps": 1, "batch_size": 8}}
    recipe = parse_recipe({"task": task, "model": {"cell": "lstm", "hidden_size": 2}, **training})
    gathered = Files(**{name: value for name, value in task.items() if name != "name"}).gather(path, Problems())  # type: ignore[arg-type]
    assert gathered.lengths.tolist() == [40, 37, 28]
    train(recipe, out=tmp_path / "run")
    short = tmp_path / "short.csv"
    short.write_text(f"id,{','.join(f'd_{n}' for n in range(6))}\ns0,,,1,2,3,4\ns1,,,,2,3,4\n", encoding="utf-8")
    out = tmp_path / "o.jsonl"
    with pytest.raises(DataError, match="has 3 steps; a forecast needs 4"):
        predict(tmp_path / "run", [short], out=out)


@pytest.mark.parametrize("large", [False, True])
def test_no_window_spans_a_gap(large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = series(tmp_path / "a.csv", GAPS)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(cache, "LARGE", 1 if large else cache.LARGE)
    task = Files(path=str(path), kind="forecasting", order="date", target="x", window=4, horizon=2, gaps="split")
    for _ in range(2):
        dataset = task.load()
        scaling = dataset.preprocessing["scaling"]
        for name, (low, high) in {"train": (0, 70), "validation": (70, 85), "test": (85, 100)}.items():
            split = getattr(dataset, name)
            batch = split.batch(torch.arange(len(split)))
            steps = torch.cat((batch.inputs[:, :, 0], batch.targets), 1).double()
            steps = (steps * scaling["scale"][0] + scaling["offset"][0]).round().long()
            every = [list(range(start, start + 6)) for start in range(95)]
            wanted = [w for w in every if w[4] >= low and w[5] < high and not set(w[1:]) & set(GAPS)]
            assert steps.tolist() == wanted


def test_a_gap_is_refused_with_its_row_and_size(tmp_path: Path) -> None:
    path = series(tmp_path / "a.csv", GAPS)
    task = Files(path=str(path), kind="forecasting", order="date", target="x", window=4)
    with pytest.raises(
        DataError, match=r"date jumps by up to 400 days, and usually by 1 day; set task.gaps .*: rows 22"
    ):
        task.load()
    assert len(dataclasses.replace(task, gaps="ignore").load().train) == 66
    # A weekend is not a gap.
    Files(
        path=str(series(tmp_path / "b.csv", {5: 3, 10: 4})), kind="forecasting", order="date", target="x", window=4
    ).load()


def test_dates_as_numbers_are_asked_for_their_format(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        "date,x\n" + "".join(f"{day:%Y%m%d},{n}\n" for n, day in enumerate(days(100, {}))), encoding="utf-8"
    )
    task = Files(path=str(path), kind="forecasting", order="date", target="x", window=5)
    with pytest.raises(
        DataError, match=r"jumps by up to 72.*if they are dates, such as 20200102, set task.order_format='%Y%m%d'"
    ):
        task.load()
    dataclasses.replace(task, order_format="%Y%m%d").load()


def test_a_forecast_is_made_from_steps_behind_the_last_gap(tmp_path: Path) -> None:
    recipe = parse_recipe(
        {
            "task": {"name": "files", "path": str(series(tmp_path / "a.csv", {20: 400})), "kind": "forecasting",
                     "order": "date", "target": "x", "window": 8, "gaps": "split"},
            "model": {"hidden_size": 4},
            "optimizer": {"name": "adam", "lr": 0.02},
            "train": {"max_steps": 2, "batch_size": 8},
        }
    )  # fmt: skip
    train(recipe, out=tmp_path / "run")
    predict(tmp_path / "run", [str(series(tmp_path / "b.csv", {20: 400}, 30))], out=tmp_path / "out.jsonl")
    with pytest.raises(DataError, match="has 5 steps after its last gap; a forecast needs 8"):
        predict(tmp_path / "run", [str(series(tmp_path / "c.csv", {20: 400}, 25))], out=tmp_path / "no.jsonl")


def made(count: int = 40) -> list[dict[str, Any]]:
    """Sequences of two channels and of one, with a class of each and of each step."""
    return [
        {
            "name": f"s{n}",
            "xy": [[math.sin(n + t), float(t)] for t in range(3 + n % 4)],
            "z": [float(n * t) for t in range(3 + n % 4)],
            "label": "ab"[n % 2],
            "marks": ["ud"[t % 2] for t in range(3 + n % 4)],
        }
        for n in range(count)
    ]


@pytest.mark.parametrize("kind", ["classification", "labelling", "forecasting"])
@pytest.mark.parametrize("layout", ["jsonl", "ragged", "large", "fixed"])
def test_columns_of_lists_are_sequences(layout: str, kind: str, tmp_path: Path) -> None:
    rows = made()
    if layout == "jsonl":
        path = tmp_path / "a.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        pair: Any = pa.list_(pa.float64(), 2) if layout == "fixed" else pa.list_(pa.float64())
        make: Any = pa.large_list if layout == "large" else pa.list_
        schema = pa.schema(
            [("name", pa.string()), ("xy", make(pair)), ("z", make(pa.float32())), ("label", pa.string()),
             ("marks", make(pa.string()))]
        )  # fmt: skip
        path = tmp_path / "a.parquet"
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), path, row_group_size=7)
    target = {"classification": "label", "labelling": "marks", "forecasting": "z"}[kind]
    window = {"window": 2, "split": "fraction"} if kind == "forecasting" else {}
    task = Files(path=str(path), kind=kind, sequence="name", features=["xy", "z"], target=target, **window)  # type: ignore[arg-type]
    gathered = task.gather(path, Problems())
    wanted = [[*pair, z] for row in rows for pair, z in zip(row["xy"], row["z"], strict=True)]
    np.testing.assert_allclose(gathered.features.array, wanted)
    assert gathered.names.tolist() == [row["name"] for row in rows]
    assert gathered.lengths.tolist() == [len(row["z"]) for row in rows]
    if kind == "classification":
        assert gathered.targets is not None
        assert [gathered.labels[code] for code in gathered.targets] == [row["label"] for row in rows]
    else:
        steps = gathered.step_targets.array[:, 0].tolist()  # type: ignore[union-attr,index]
        marks = [mark for row in rows for mark in row["marks"]]
        assert steps == ([["d", "u"].index(mark) for mark in marks] if kind == "labelling" else [w[2] for w in wanted])
    assert task.load().preprocessing["schema"]["features"] == ["xy", "z"]


def test_a_list_that_is_no_sequence_is_named_by_its_row(tmp_path: Path) -> None:
    rows = made(4)
    rows[2]["z"] = rows[2]["z"][:-1]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    problems = Problems()
    Files(path=str(path), kind="classification", features=["xy", "z"], target="label").gather(path, problems)
    assert [(problem.code, problem.rows) for problem in problems.all] == [("shape", [2])]


@pytest.mark.parametrize("shape", ["(n,)", "(n, 1)", "one-hot", "words"])
def test_classes_of_an_array(shape: str, tmp_path: Path) -> None:
    codes = np.arange(30) % 3
    arrays = {"(n,)": codes, "(n, 1)": codes[:, None], "one-hot": np.eye(3)[codes], "words": codes.astype(str)[:, None]}
    np.savez(tmp_path / "a.npz", x=np.zeros((30, 4, 2)), y=arrays[shape])
    task = Files(path=str(tmp_path / "a.npz"), kind="classification", features=["x"], target="y")
    gathered = task.gather(tmp_path / "a.npz", Problems())
    assert (gathered.labels, gathered.targets.tolist()) == (("0", "1", "2"), codes.tolist())  # type: ignore[union-attr]
    every = codes.repeat(4)
    steps = {
        "(n,)": every.reshape(30, 4),
        "(n, 1)": every.reshape(30, 4, 1),
        "one-hot": np.eye(3)[every].reshape(30, 4, 3),
        "words": every.astype(str).reshape(30, 4),
    }
    np.savez(tmp_path / "b.npz", x=np.zeros((30, 4, 2)), y=steps[shape])
    task = Files(path=str(tmp_path / "b.npz"), kind="labelling", features=["x"], target="y")
    gathered = task.gather(tmp_path / "b.npz", Problems())
    assert gathered.step_targets.array[:, 0].tolist() == codes.repeat(4).tolist()  # type: ignore[union-attr,index]


def test_an_array_that_holds_no_classes_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((30, 4, 2)), y=np.random.default_rng(0).random((30, 3)))
    with pytest.raises(DataError, match=r"`y` must have one class per sequence, the shape .n,., .*one-hot"):
        Files(path=str(tmp_path / "a.npz"), kind="classification", features=["x"], target="y").load()


def test_forecasts_carry_their_times(tmp_path: Path) -> None:
    path = series(tmp_path / "a.csv", {})
    recipe = parse_recipe(
        {
            "task": {"name": "files", "path": str(path), "kind": "forecasting", "order": "date", "target": "x",
                     "window": 8, "horizon": 2, "gaps": "split"},
            "model": {"hidden_size": 4},
            "optimizer": {"name": "adam", "lr": 0.02},
            "train": {"max_steps": 2, "batch_size": 8},
        }
    )  # fmt: skip
    train(recipe, out=tmp_path / "run")
    for name, gaps in (("even", {}), ("uneven", {15: 3})):
        predict(tmp_path / "run", [str(series(tmp_path / f"{name}.csv", gaps, 30))], out=tmp_path / f"{name}.jsonl")
    even, uneven = (json.loads((tmp_path / f"{name}.jsonl").read_text()) for name in ("even", "uneven"))
    assert even["after"] == "2020-01-31T00:00:00"
    assert even["times"] == ["2020-02-01T00:00:00", "2020-02-02T00:00:00"]
    # Uneven steps give no times of the forecast.
    assert (uneven["after"], "times" in uneven) == ("2020-02-02T00:00:00", False)
    predict(tmp_path / "run", [str(tmp_path / "even.csv")], format="csv", out=tmp_path / "out.csv")
    heading, row = (line.split(",") for line in (tmp_path / "out.csv").read_text().splitlines())
    cells = dict(zip(heading, row, strict=True))
    assert (cells["after"], cells["time[t+2]"]) == ("2020-01-31T00:00:00", "2020-02-02T00:00:00")
    assert float(cells["x[t+2]"]) == pytest.approx(even["values"]["x"][1])


def test_labels_of_steps_are_rows_with_their_times_and_probabilities(tmp_path: Path) -> None:
    hours = [datetime.datetime(2020, 1, 1) + datetime.timedelta(hours=step) for step in range(6)]
    lines = [
        f"m{n},{hours[step].isoformat()},{(n * step) % 7},{'ud'[step % 2]}" for n in range(20) for step in range(6)
    ]
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["machine,time,x,state", *lines]) + "\n", encoding="utf-8")
    recipe = parse_recipe(
        {
            "task": {"name": "files", "path": str(path), "kind": "labelling", "sequence": "machine", "order": "time",
                     "features": ["x"], "target": "state"},
            "model": {"hidden_size": 4},
            "optimizer": {"name": "adam", "lr": 0.02},
            "train": {"max_steps": 2, "batch_size": 8},
        }
    )  # fmt: skip
    train(recipe, out=tmp_path / "run")
    short = tmp_path / "b.csv"
    # In another order than that of the times, which the rows of the answer have.
    short.write_text("\n".join(["machine,time,x", *(line.rpartition(",")[0] for line in reversed(lines[:12]))]) + "\n")
    for format in ("jsonl", "csv"):
        predict(tmp_path / "run", [str(short)], format=format, out=tmp_path / f"out.{format}")
    records = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    heading, *rows = ((tmp_path / "out.csv").read_text()).splitlines()
    assert heading.split(",")[1:] == ["row", "sequence", "step", "time", "label", "probability"]
    found = [row.split(",")[2:] for row in rows]
    assert [cells[:3] for cells in found] == [
        [f"m{n}", str(step), hours[step].isoformat()] for n in (1, 0) for step in range(6)
    ]
    wanted = [
        (label, p) for record in records for label, p in zip(record["labels"], record["probabilities"], strict=True)
    ]
    assert [(cells[3], float(cells[4])) for cells in found] == [
        (label, pytest.approx(p, rel=1e-5)) for label, p in wanted
    ]
    assert all(0.5 <= p <= 1 for _, p in wanted)


def test_channels_of_a_ts_file(tmp_path: Path) -> None:
    path = tmp_path / "a.ts"
    lines = ["#c", "@problemName x", "@univariate false", "@classLabel true u v", "@data"]
    lines += [f"{n},{n + 1},?:{-n},{-n - 1},{-n - 2}:{'uv'[n % 2]}" for n in range(12)]
    path.write_text("\n".join([*lines, "1,2:3:u", ""]), encoding="utf-8")
    problems = Problems()
    task = Files(path=str(path), kind="classification", missing="forward_fill")
    gathered = task.gather(path, problems)
    assert gathered.feature_names == ("dim0", "dim1")
    assert gathered.features.read(3, 6).tolist() == [[1, -1], [2, -2], [2, -3]]
    assert [(problem.code, problem.rows) for problem in problems.all] == [("shape", [18])]
    path.write_text("@timeStamps true\n@data\n(0,1),(1,2)\n", encoding="utf-8")
    with pytest.raises(DataError, match="with timestamps is not supported"):
        task.gather(path, Problems())


def test_a_table_compressed_with_zstandard(tmp_path: Path) -> None:
    plain = series(tmp_path / "a.csv", {}).read_bytes()
    with pa.CompressedOutputStream(str(tmp_path / "a.csv.zst"), "zstd") as stream:
        stream.write(plain)
    task = Files(path=str(tmp_path / "a.csv.zst"), kind="forecasting", order="date", target="x", window=4)
    assert task.gather(Path(task.path), Problems()).features.read(0, 100)[:, 0].tolist() == list(range(100))


@pytest.mark.parametrize("lists", [False, True])
def test_a_damaged_parquet_file_is_refused_by_name(lists: bool, tmp_path: Path) -> None:
    """Wherever the damage is found: when it is opened, or in a later block."""
    path = tmp_path / "a.parquet"
    words = [("u", "v")[row % 2] for row in range(60)]
    plain = {"x": [row * 0.5 for row in range(60)], "name": words}
    table = {"x": [[row * 0.5] * 3 for row in range(60)], "name": words} if lists else plain
    pq.write_table(pa.table(table), path)  # words are stored as a dictionary
    whole = path.read_bytes()
    draw, found = random.Random(0), []
    task = Files(path=str(path), kind="classification", target="name")
    for _ in range(120):
        changed = bytearray(whole)
        changed[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        path.write_bytes(changed)
        try:
            task.gather(path, Problems())
        except DataError as error:
            found.append(str(error))
    assert len(found) > 40
    assert all(message.startswith(str(path)) for message in found)
