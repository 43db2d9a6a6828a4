"""Prediction of files in parts: the answers are those of a file that is read as a whole first."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from momentum_cli.data.files import csv_blocks, layout, parts, tables
from momentum_cli.data.files.parts import are_together, parts_of
from momentum_cli.data.files.pieces import Source
from momentum_cli.data.files.schema import Schema
from momentum_cli.errors import DataError
from momentum_cli.inference.predict import files
from momentum_cli.inference.predict.predict import predict
from momentum_cli.recipe.recipe import parse_recipe
from momentum_cli.training.train import train

Predict = Callable[..., tuple[bytes, int]]
SEQUENCES = 90


def steps(day: Callable[[int], Any] = lambda step: step) -> dict[str, list[Any]]:
    """Steps of sequences of unequal lengths, each in runs of one length, whose times run backwards in every third."""
    noise = np.random.default_rng(0)
    found: dict[str, list[Any]] = {"id": [], "day": [], "x": [], "z": [], "word": [], "kind": [], "mark": [], "sum": []}
    for number in range(SEQUENCES):
        length = 6 + number // 4 % 3
        times = [*range(length)][:: -1 if number % 3 == 0 else 1]
        for step in times:
            row = (f"s{number}", day(step), *noise.normal(number % 2, 1, 2).round(3).tolist(), "uvw"[number % 3])
            for name, value in zip(found, (*row, "ab"[number % 2], "cd"[step % 2], float(number)), strict=True):
                found[name].append(value)
    return found


def rows(named: bool) -> dict[str, list[Any]]:
    """Sequences of unequal lengths, one in a row: its last cells are empty."""
    noise = np.random.default_rng(1)
    count = 5 * SEQUENCES
    columns: dict[str, list[Any]] = {"id": [f"s{number}" for number in range(count)]} if named else {}
    values = noise.normal(size=(count, 5)).round(3)
    for step in range(5):
        ended = [step > 2 + number // 7 % 3 for number in range(count)]
        columns[f"t{step}"] = [
            None if end else value for end, value in zip(ended, values[:, step].tolist(), strict=True)
        ]
    return columns | ({} if named else {"kind": ["ab"[number % 2] for number in range(count)]})


def lists(named: bool) -> list[dict[str, Any]]:
    noise = np.random.default_rng(2)
    found = []
    for number in range(5 * SEQUENCES):
        values = noise.normal(size=2 + number // 5 % 3).round(3).tolist()
        found.append(({"id": f"s{number}"} if named else {}) | {"x": values, "kind": "ab"[number % 2]})
    return found


def save(path: Path, columns: dict[str, list[Any]]) -> Path:
    if path.suffix == ".parquet":
        parquet.write_table(pa.table(columns), path, row_group_size=70)
    else:
        csv.write_csv(pa.table(columns), path)
    return path


def trained(folder: Path, path: Path, **task: Any) -> Path:
    recipe = {
        "task": {"name": "files", "path": str(path), **task},
        "model": {"hidden_size": 4},
        "optimizer": {"name": "adam", "lr": 0.02},
        "train": {"max_steps": 2, "batch_size": 8},
    }
    train(parse_recipe(recipe), out=folder / "run")
    return folder / "run"


@pytest.fixture
def predicted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Predict:
    """Predict a file in small parts and as a whole, and return the bytes of the former and their number."""
    counts = {"parts": 0}

    def counted(source: Source, schema: Schema, together: bool) -> Iterator[Source]:
        for part in parts_of(source, schema, together):
            counts["parts"] += 1
            yield part

    def run(model: Path, source: Path, format: str = "jsonl", batch_size: int = 7) -> tuple[bytes, int]:
        outs = []
        for whole in (True, False):
            with monkeypatch.context() as patch:
                if whole:
                    patch.setattr(files, "are_together", lambda *_: False)
                    patch.setattr(files, "parts_of", lambda source, *_: iter([source]))
                else:
                    patch.setattr(csv_blocks, "BYTES", 1500)
                    patch.setattr(parts, "LARGE", 1500)
                    patch.setattr(tables, "CELLS", 64)
                    patch.setattr(files, "parts_of", counted)
                    counts["parts"] = 0
                out = tmp_path / f"{whole}.{format}"
                try:
                    predict(model, [str(source)], out=out, batch_size=batch_size)
                    problem = ""
                except DataError as error:
                    problem = str(error)
            outs.append((problem, out.read_bytes()))
        assert outs[0] == outs[1]
        assert outs[0][1]
        return outs[1][1], counts["parts"]

    return run


LONG = {"sequence": "id", "order": "day", "split_seed": 1}
TASKS: dict[str, dict[str, Any]] = {
    "classification": {"kind": "classification", "target": "kind", "features": ["x", "word"], "categorical": ["word"]},
    "labelling": {"kind": "labelling", "target": "mark", "features": ["x", "z"]},
    "regression": {"kind": "regression", "target": "sum", "features": ["x"]},
    "forecasting": {"kind": "forecasting", "target": "z", "features": ["x", "z"], "window": 4, "horizon": 1},
}


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("kind", TASKS)
def test_a_step_in_a_row(kind: str, ending: str, predicted: Predict, tmp_path: Path) -> None:
    path = save(tmp_path / f"steps.{ending}", steps())
    run = trained(tmp_path, path, **LONG, **TASKS[kind])
    for format in ("jsonl", "csv", "parquet"):
        found, count = predicted(run, path, format)
        assert count > 3
    found, _ = predicted(run, path, batch_size=1000)
    names = [json.loads(line)["sequence"] for line in found.splitlines()]
    assert names == [f"s{number}" for number in range(SEQUENCES)]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("named", [False, True])
def test_a_sequence_in_a_row(named: bool, ending: str, predicted: Predict, tmp_path: Path) -> None:
    path = save(tmp_path / f"rows.{ending}", rows(named))
    series = {"kind": "forecasting", "sequence": "id", "window": 2, "split": "fraction"}
    run = trained(tmp_path, path, **(series if named else {"kind": "classification", "target": "kind"}))
    for format in ("jsonl", "csv", "parquet"):
        assert predicted(run, path, format)[1] > 3


@pytest.mark.parametrize(("ending", "named", "streamed"), [
    ("jsonl", False, True), ("jsonl", True, False), ("parquet", False, True), ("parquet", True, True),
])  # fmt: skip
def test_lists_in_a_row(ending: str, named: bool, streamed: bool, predicted: Predict, tmp_path: Path) -> None:
    path = tmp_path / f"lists.{ending}"
    if ending == "jsonl":
        path.write_text("\n".join(map(json.dumps, lists(named))), encoding="utf-8")
    else:
        parquet.write_table(pa.Table.from_pylist(lists(named)), path, row_group_size=70)
    run = trained(tmp_path, path, kind="classification", target="kind", **({"sequence": "id"} if named else {}))
    for format in ("jsonl", "csv", "parquet"):
        assert (predicted(run, path, format)[1] > 3) == streamed


def test_arrays(predicted: Predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from momentum_cli.data.files import arrays

    monkeypatch.setattr(arrays, "_STEPS", 64)
    values = np.random.default_rng(3).normal(size=(200, 5, 2)).astype(np.float32)
    np.savez_compressed(tmp_path / "a.npz", x=values, y=np.arange(200) % 2)
    np.save(tmp_path / "a.npy", values)
    run = trained(tmp_path, tmp_path / "a.npz", kind="classification", target="y")
    for name in ("a.npz", "a.npy"):
        for format in ("jsonl", "csv", "parquet"):
            assert predicted(run, tmp_path / name, format)[1] > 3


def test_scattered_rows_and_times_of_two_kinds_are_read_as_a_whole(predicted: Predict, tmp_path: Path) -> None:
    columns = steps()
    run = trained(tmp_path, save(tmp_path / "steps.csv", columns), **LONG, **TASKS["labelling"])
    places = np.argsort(columns["day"], kind="stable")
    scattered = save(
        tmp_path / "scattered.csv", {name: [cells[at] for at in places] for name, cells in columns.items()}
    )
    assert predicted(run, scattered)[1] == 1
    # Alone, the last block has dates, but in the file they are mistakes.
    mixed = steps(lambda step: str(2000 + step))
    mixed["day"] = [
        f"{year}-01-01" if name in ("s88", "s89") else year
        for name, year in zip(mixed["id"], mixed["day"], strict=True)
    ]
    assert predicted(run, save(tmp_path / "mixed.csv", mixed))[1] == 1


def test_a_mistake_names_its_row_and_the_other_sequences_are_predicted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = steps()
    path = save(tmp_path / "steps.csv", columns)
    run = trained(tmp_path, path, **LONG, **TASKS["regression"])
    monkeypatch.setattr(csv_blocks, "BYTES", 1500)
    monkeypatch.setattr(parts, "LARGE", 1500)
    monkeypatch.setattr(tables, "CELLS", 64)
    lines = path.read_text(encoding="utf-8").splitlines()
    place = columns["id"].index("s80") + 1
    lines[place] = lines[place].replace(str(columns["x"][place - 1]), "much")
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DataError, match=rf"'much' is not a finite number.*: row {place + 1}\)"):
        predict(run, [str(path)], out=tmp_path / "out.jsonl")
    found = [json.loads(line)["sequence"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert found == [f"s{number}" for number in range(SEQUENCES) if number != 80]


def test_a_file_that_breaks_off_is_told_after_what_was_predicted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "rows.csv", rows(named=False))
    run = trained(tmp_path, path, kind="classification", target="kind")
    monkeypatch.setattr(layout, "_SAMPLE", 1000)
    monkeypatch.setattr(csv_blocks, "BYTES", 1500)
    monkeypatch.setattr(parts, "LARGE", 1500)
    monkeypatch.setattr(tables, "CELLS", 64)
    path.write_bytes(path.read_bytes() + b"\xff\n")
    with pytest.raises(DataError, match=r"in line 452\).*; only sequences before it were predicted"):
        predict(run, [str(path)], out=tmp_path / "out.jsonl")
    numbers = [json.loads(line)["row"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert numbers == [*range(2, 2 + len(numbers))]
    assert len(numbers) > SEQUENCES


def test_names_that_recur_are_found_wherever_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_blocks, "BYTES", 100)
    monkeypatch.setattr(parts, "LARGE", 100)
    schema = Schema("csv", "classification", ("id",), features=("x",))
    names = [name for number in range(40) for name in [f"s{number}"] * 3]
    for changed, together in ((names, True), ([*names, "s0"], False), ([*names, "s39", "t", "s39"], False)):
        path = save(tmp_path / "a.csv", {"id": changed, "x": [1.0] * len(changed)})
        assert are_together(path, schema) is together
    assert not are_together(path, Schema("csv", "classification", features=("x",)))
