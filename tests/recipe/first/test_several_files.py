"""Tables in several files by a pattern, and rows of different length without a heading."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from momentum_cli.data.problems import Problems
from momentum_cli.errors import DataError
from momentum_cli.recipe.building import build_task
from momentum_cli.recipe.first.files import first_problems, write_first_recipe
from momentum_cli.recipe.recipe import load_recipe


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
    with pytest.raises(DataError, match=r"\*\.csv: no recordings, text files or tables were found"):
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
