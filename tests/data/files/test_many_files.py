"""A table in several files is the table of all their rows; mistakes name the file and the row in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import pytest

from momentum_cli.data import Files
from momentum_cli.data.files import cache
from momentum_cli.data.problems import Problems
from momentum_cli.errors import DataError
from momentum_cli.recipe.building import build_task
from momentum_cli.recipe.first.files import write_first_recipe
from momentum_cli.recipe.recipe import load_recipe


def months(folder: Path, changed: dict[str, str] | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    for month in range(1, 5):
        text = "\n".join(["day,x,y", *(f"2021-{month:02}-{day:02},{month * 100 + day},{day}" for day in range(1, 29))])
        for old, new in (changed or {}).items():
            text = text.replace(old, new)
        (folder / f"{month}.csv").write_text(text + "\n", encoding="utf-8")
    (folder / "_old").mkdir()
    (folder / "_old" / "0.csv").write_text("no", encoding="utf-8")
    return folder


VALUES = [month * 100 + day for month in range(1, 5) for day in range(1, 29)]
SERIES: dict[str, Any] = {"kind": "forecasting", "order": "day", "target": "x", "window": 5}


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("path", ["data", "data/*.csv", "*/[1-4].csv"])
def test_files_of_a_folder_or_a_pattern_are_one_table(
    path: str, large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "LARGE", 1 if large else cache.LARGE)
    months(tmp_path / "data")
    task = Files(path=path, format="csv", **SERIES)
    for _ in range(2):
        gathered = task.gather(task.source(tmp_path), Problems())
        assert gathered.features.read(0, 112)[:, 0].tolist() == VALUES
        assert gathered.names.tolist() == ["all"]


def test_each_file_is_a_sequence_by_its_name(tmp_path: Path) -> None:
    months(tmp_path / "data")
    task = Files(path="data", format="csv", sequence="(file)", **SERIES)
    gathered = task.gather(task.source(tmp_path), Problems())
    assert gathered.names.tolist() == ["1", "2", "3", "4"]


def first(folder: Path, target: str) -> dict[str, Any]:
    """Return the options that `init` writes for a folder, which must be enough to load it."""
    recipe = load_recipe(write_first_recipe(folder, folder.parent / f"{folder.name}.yaml", target=[target]))
    assert len(build_task(recipe).load().train) > 0
    return {"kind": recipe.task.options["kind"], "sequence": recipe.task.options.get("sequence")}


def test_a_first_recipe_joins_files_that_continue_one_another(tmp_path: Path) -> None:
    assert first(months(tmp_path / "data"), "x") == {"kind": "forecasting", "sequence": None}


def patients(folder: Path, heading: str, row: Callable[[int, int], str], name: str = "p{:03}.csv") -> Path:
    folder.mkdir()
    for patient in range(8):
        rows = "\n".join(row(patient, hour) for hour in range(20 + patient))
        (folder / name.format(patient)).write_text(f"{heading}\n{rows}\n", encoding="utf-8")
    return folder


def test_a_first_recipe_takes_files_that_begin_again_for_sequences(tmp_path: Path) -> None:
    """The kind is that of all files: in the first one the label never changes."""
    timed = patients(tmp_path / "a", "hour,hr,ill", lambda p, h: f"{h},{70 + p + h % 9},{int(h > 15 and p % 2)}")
    assert first(timed, "ill") == {"kind": "labelling", "sequence": "(file)"}
    names = "p{:03}.psv"
    untimed = patients(tmp_path / "b", "hr|ill", lambda p, h: f"{70 + p + h % 9}|{int(h > 15 and p % 2)}", names)
    assert first(untimed, "ill") == {"kind": "labelling", "sequence": "(file)"}
    whole = patients(tmp_path / "c", "hour,hr,ill", lambda p, h: f"{h},{70 + p + h % 9},{p % 2}")
    assert first(whole, "ill") == {"kind": "classification", "sequence": "(file)"}
    stations = patients(tmp_path / "d", "hour,heat", lambda p, h: f"{h},{p + h % 7}.5")
    assert first(stations, "heat") == {"kind": "forecasting", "sequence": "(file)"}


def test_a_first_recipe_joins_pieces_and_rows_that_are_sequences(tmp_path: Path) -> None:
    pieces = patients(tmp_path / "a", "u,v,y", lambda p, h: f"{h + p},{h % 7},{h % 2}", "part-{:05}.csv")
    assert first(pieces, "y") == {"kind": "classification", "sequence": None}
    heading = ",".join([*(f"s{step}" for step in range(9)), "y"])
    wide = patients(tmp_path / "b", heading, lambda p, h: ",".join(str(p + h + n) for n in range(9)) + f",{h % 2}")
    assert first(wide, "y") == {"kind": "classification", "sequence": None}


def test_rows_of_several_files_are_named_by_file_and_row(tmp_path: Path) -> None:
    patients(tmp_path / "data", "u,v,y", lambda p, h: f"{h + p},{h % 7},{h % 2}", "part-{:05}.csv")
    task = Files(path="data", format="csv", kind="classification", target="y")
    names = task.gather(task.source(tmp_path), Problems()).names.tolist()
    assert (names[0], names[20], len(set(names))) == ("part-00000.csv:2", "part-00001.csv:2", 188)


def test_partitions_are_columns(tmp_path: Path) -> None:
    count = 60
    table = pa.table(
        {"t": list(range(count)), "x": [float(n) for n in range(count)], "site": list("abc") * (count // 3)}
    )
    pa.dataset.write_dataset(table, tmp_path / "d", format="parquet", partitioning=["site"], partitioning_flavor="hive")
    task = Files(path="d", format="parquet", sequence="site", kind="forecasting", order="t", target="x", window=3)
    gathered = task.gather(task.source(tmp_path), Problems())
    assert gathered.names.tolist() == ["a", "b", "c"]
    wanted = [n for site in range(3) for n in range(site, count, 3)]
    assert gathered.features.array[:, 0].tolist() == wanted  # type: ignore[index]
    assert gathered.feature_names == ("x",)


def test_mistakes_name_the_file_and_its_row(tmp_path: Path) -> None:
    months(tmp_path / "data", {"2021-03-05,305": "2021-03-05,?", "2021-02-07,207": "2021-02-07,"})
    with pytest.raises(DataError) as error:
        Files(path="data", format="csv", **SERIES).load(tmp_path)
    assert "3.csv: column 'x': '?' is not a finite number" in str(error.value)
    assert "task.missing_values: ['?']: row 6" in str(error.value)
    assert "2.csv: column 'x': missing value: row 8" in str(error.value)
    (tmp_path / "data" / "4.csv").write_text("day,z\n2021-04-01,1\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"4.csv: unknown column 'x'"):
        Files(path="data", format="csv", **SERIES).load(tmp_path)
    with pytest.raises(DataError, match="no parquet files found"):
        Files(path="data", format="parquet", **SERIES).load(tmp_path)
