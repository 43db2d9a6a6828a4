"""Tables in several files by a pattern, and rows of different length without a heading."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from momentum_cli.data.problems import Problems
from momentum_cli.errors import DataError
from momentum_cli.recipe.building import build_task
from momentum_cli.recipe.first.files import first_problems, write_first_recipe
from momentum_cli.recipe.recipe import load_recipe, parse_recipe


def machine(number: int) -> str:
    rows = [f"{t},{t * number},{'ab'[number % 2]}" for t in range(5)]
    return "\n".join(["t,x,label", *rows, ""])


def test_a_pattern_is_a_table_of_the_files_that_match(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(8):
        Path(f"m{number}.csv").write_text(machine(number), encoding="utf-8")
    Path("other.csv").write_text("nothing\n", encoding="utf-8")
    path = write_first_recipe(Path("m*.csv"), target=["label"])
    assert path == Path("m.yaml")
    options = load_recipe(path).task.options
    assert (Path(options["path"]).name, options["sequence"], options["kind"]) == ("m*.csv", "(file)", "classification")
    assert first_problems(path) == []
    task = build_task(load_recipe(path))
    found = task.gather(Path("m*.csv"), Problems())  # type: ignore[attr-defined]
    assert found.names.tolist() == [f"m{number}" for number in range(8)]
    np.testing.assert_array_equal(found.features.read(0, 40)[:, 0], [t * n for n in range(8) for t in range(5)])


@pytest.mark.parametrize(("pattern", "name"), [("data/*.csv", "data.yaml"), ("data/m[0-3].csv", "m0-3.yaml")])
def test_the_recipe_of_a_pattern_has_a_name_without_wildcards(
    pattern: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    for number in range(4):
        Path(f"data/m{number}.csv").write_text(machine(number), encoding="utf-8")
    assert write_first_recipe(Path(pattern), target=["label"]) == Path(name)


def test_a_pattern_that_matches_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\*\.csv: the pattern matches no recordings, text files or tables"):
        write_first_recipe(tmp_path / "*.csv", tmp_path / "a.yaml")
    assert not (tmp_path / "a.yaml").exists()


def test_short_rows_before_a_longer_one_are_rows(tmp_path: Path) -> None:
    # The archives of series have the class first, and no heading.
    lengths = [3, 5, 4, 7, 7, 7, 6, 7]
    rows = [[float(place % 2), *(place + step / 8 for step in range(length))] for place, length in enumerate(lengths)]
    data = tmp_path / "series.tsv"
    data.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows), encoding="utf-8")
    path = write_first_recipe(data, tmp_path / "series.yaml", target=["c1"])
    found = build_task(load_recipe(path)).gather(data, Problems())  # type: ignore[attr-defined]
    assert found.lengths.tolist() == lengths
    np.testing.assert_array_equal(found.features.read(0, sum(lengths))[:, 0], [x for row in rows for x in row[1:]])


def test_facts_before_rows_with_a_heading_are_still_left_out(tmp_path: Path) -> None:
    data = tmp_path / "station.csv"
    rows = [f"2024-01-{day:02d},{day * 1.5},{day}" for day in range(1, 29)]
    data.write_text("\n".join(["latitude,52.1", "altitude,38", "day,load,price", *rows, ""]), encoding="utf-8")
    path = write_first_recipe(data, tmp_path / "station.yaml", target=["load"])
    assert load_recipe(path).task.options["csv"]["skip_rows"] == 2


def test_a_measured_column_with_the_name_of_a_row_number_is_a_feature(tmp_path: Path) -> None:
    # Nitric oxide is called no.
    data = tmp_path / "air.csv"
    rows = [f"2024-01-{day:02d},{day * 1.37:.2f},{day % 5}" for day in range(1, 29)]
    data.write_text("\n".join(["day,no,wind", *rows, ""]), encoding="utf-8")
    path = write_first_recipe(data, tmp_path / "air.yaml", target=["no"], kind="forecasting")
    assert load_recipe(path).task.options["features"] == ["no", "wind"]


def shard(folder: Path, number: int, **columns: list[object]) -> None:
    parquet.write_table(pa.table(columns), folder / f"part-{number}.parquet")


def test_files_whose_rows_are_sequences_are_one_table(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    for number in range(3):
        lists: list[object] = [[number + row / 8, 0.5, 1.0][: 1 + row % 3] for row in range(8)]
        shard(folder, number, x=lists, label=["a", "b"] * 4)
    path = write_first_recipe(folder, tmp_path / "shards.yaml", target=["label"])
    options = load_recipe(path).task.options
    assert (options["format"], options["features"], options["kind"]) == ("parquet", ["x"], "classification")
    assert first_problems(path) == []
    task = build_task(load_recipe(path))
    found = task.gather(folder, Problems())  # type: ignore[attr-defined]
    assert found.names.tolist() == [f"part-{number}.parquet:{row}" for number in range(3) for row in range(8)]
    assert found.lengths.tolist() == [1 + row % 3 for row in range(8)] * 3
    firsts = found.features.read(0, int(found.lengths.sum()))[found.starts, 0]
    np.testing.assert_array_equal(firsts, np.arange(24) / 8)
    assert len(task.load(None).train) == 16  # type: ignore[attr-defined]


def test_a_file_with_other_features_than_the_first_is_named(tmp_path: Path) -> None:
    shard(tmp_path, 0, x=[[1.0, 2.0]] * 4, label=["a", "b"] * 2)
    shard(tmp_path, 1, x=[[[1.0, 2.0], [3.0, 4.0]]] * 4, label=["a", "b"] * 2)
    options = {"name": "files", "path": str(tmp_path), "format": "parquet", "kind": "classification", "target": "label"}
    model = {"cell": "lstm", "hidden_size": 4}
    recipe = {"task": options, "model": model, "optimizer": {"name": "sgd", "lr": 0.1}, "train": {"epochs": 1}}
    with pytest.raises(DataError, match=r"part-1.parquet: .*features.* must be x, as in part-0.parquet"):
        build_task(parse_recipe(recipe)).load(None)
