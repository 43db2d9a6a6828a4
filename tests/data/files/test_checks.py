"""All mistakes in a file are reported with their rows, and those of a recipe at their keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from gesture_tables import recipe_of, table
from typer.testing import CliRunner

from momentum_cli.cli import app
from momentum_cli.data import Files
from momentum_cli.errors import DataError, RecipeError
from momentum_cli.inspection.data import check_data
from momentum_cli.recipe.building import build_task
from momentum_cli.recipe.recipe import Recipe, load_recipe, parse_recipe


def found(recipe: Recipe) -> list[tuple[str, list[int]]]:
    return [(problem["code"], problem["rows"]) for problem in check_data(recipe)["problems"]]


@pytest.mark.parametrize(
    ("last", "problems"), [("s11,5,1", [("cells", [62])]), (",,,,,", []), ("# the end", [("cells", [62])])]
)
@pytest.mark.parametrize("sequence", [{}, {"sequence": None, "order": None, "split_column": None}])
def test_a_last_line_without_a_line_break_that_is_no_row(
    last: str, problems: list[Any], sequence: dict[str, Any], tmp_path: Path
) -> None:
    """It is a block of its own, without any row."""
    path = table(tmp_path / "a.csv")
    path.write_text(path.read_text(encoding="utf-8") + last, encoding="utf-8")
    options = {**sequence, "features": ["x", "y"]} if sequence else {}
    assert found(recipe_of(path, **options)) == problems


def test_one_nan_one_time_twice_and_a_sequence_in_two_splits_are_all_named_with_their_rows(tmp_path: Path) -> None:
    path = table(
        tmp_path / "a.csv",
        {4: "s0,2,nan,1,a,train", 10: "s1,2,1,1,b,train", 19: "s3,2,1,1,b,test"},
    )  # row 10 was the time 3 of s1, whose time 2 is row 9
    recipe = recipe_of(path)
    assert found(recipe) == [("missing", [4]), ("duplicate_time", [9, 10]), ("two_splits", [17, 19])]
    recipe.save(tmp_path / "a.yaml")
    result = CliRunner().invoke(app, ["data", "check", str(tmp_path / "a.yaml"), "--json"])
    assert result.exit_code == 3
    problems = json.loads(result.stdout)["problems"]
    assert [problem["sequence"] for problem in problems] == ["s0", "s1", "s3"]
    assert [problem["column"] for problem in problems] == ["x", "t", "split"]
    with pytest.raises(DataError) as error:
        build_task(recipe).load()
    for wanted in ("3 problems", "column 'x': missing value: row 4", "rows 9, 10", "train and test: rows 17, 19"):
        assert wanted in str(error.value)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({3: "s0,1,abc,1,a,train"}, [("not_a_number", [3])]),
        ({3: "s0,1,inf,1,a,train"}, [("not_a_number", [3])]),
        ({3: "s0,1,1e39,1,a,train"}, [("not_a_number", [3])]),  # infinite in float32
        ({3: "s0,1,abc,1,a,train", 4: "s0,2,,1,a,train"}, [("not_a_number", [3]), ("missing", [4])]),
        ({3: "s0,inf,1,1,a,train"}, [("not_a_time", [3])]),
        ({3: "s0,1,1,1,a"}, [("cells", [3])]),
        ({3: "s0,soon,1,1,a,train"}, [("not_a_time", [3])]),
        ({3: "s0,1,1,1,b,train"}, [("target_changes", [3])]),
        ({3: "s0,1,1,1,,train"}, [("missing", [3])]),
        ({3: "s0,1,1,1,a,"}, [("missing", [3])]),
        ({3: ",1,1,1,a,train"}, [("missing", [3])]),
        ({52: "s10,0,1,1,a,dev"}, [("two_splits", [52, 53, 54, 55, 56])]),
        ({row: f"s11,{row},1,1,c,test" for row in range(57, 62)}, [("untrained_class", [57])]),
    ],
)
def test_each_mistake_has_its_row(
    changes: dict[int, str], expected: list[tuple[str, list[int]]], tmp_path: Path
) -> None:
    got = found(recipe_of(table(tmp_path / "a.csv", changes)))
    assert got[: len(expected)] == expected
    assert {kind for kind, _ in got[len(expected) :]} <= {"two_splits", "split_name"}


def warned(path: Path, **task: Any) -> dict[str, list[str]]:
    """Return the warnings by code, and hold those of `load` against those of `check`."""
    recipe = recipe_of(path, **task)
    result = check_data(recipe)
    assert result["ok"]
    assert {problem["severity"] for problem in result["problems"]} <= {"warning"}
    assert list(build_task(recipe).load().warnings) == [problem["message"] for problem in result["problems"]]
    texts: dict[str, list[str]] = {}
    for problem in result["problems"]:
        texts.setdefault(problem["code"], []).append(problem["message"])
    return texts


def test_copies_in_two_splits_are_counted_with_their_rows(tmp_path: Path) -> None:
    lines = table(tmp_path / "a.csv").read_text(encoding="utf-8").splitlines()
    first = {57 + t: line.replace("s0", "s11").replace("train", "test") for t, line in enumerate(lines[1:6])}
    second = {52 + t: line.replace("s9", "s10").replace("validation", "test") for t, line in enumerate(lines[46:51])}
    path = table(tmp_path / "a.csv", first | second)
    one, other = warned(path)["identical"]
    assert one.startswith("1 of 2 sequences of the split test are in validation too, with the same values")
    assert one.endswith("rows 47, 52")
    assert "(the first: 's0' in train and 's11' in test)" in other
    assert other.endswith("rows 2, 57")


def test_one_value_in_all_training_data_is_warned_of_and_a_value_that_varies_is_not(tmp_path: Path) -> None:
    lines = table(tmp_path / "a.csv").read_text(encoding="utf-8").splitlines()
    cells = [line.split(",") for line in lines]
    rows = {n: ",".join([*c[:2], "7.5", *c[3:]]) for n, c in enumerate(cells, 1) if n > 1 and c[5] == "train"}
    path = table(tmp_path / "a.csv", rows)
    assert [text[:45] for text in warned(path)["constant"]] == ["column 'x' is 7.5 in all training data: it te"]
    assert "constant" not in warned(path, features=["y"])
    same = {n: ",".join([*c[:3], "3", *c[4:]]) for n, c in enumerate(cells, 1) if n > 1}
    path = table(tmp_path / "b.csv", same)
    found = warned(path, kind="regression", target="y", features=["x"])["constant"]
    assert found == ["column 'y' is 3 in all training data: there is nothing to learn"]


def test_labels_of_steps_without_training_and_columns_without_a_name_are_warned_of(tmp_path: Path) -> None:
    lines = table(tmp_path / "a.csv").read_text(encoding="utf-8").splitlines()
    named = [f"{n},{line}" for n, line in enumerate(lines[1:])]
    path = tmp_path / "b.csv"
    path.write_text("\n".join([f",{lines[0]}", *named[:-1], named[-1].replace(",b,", ",z,")]) + "\n", encoding="utf-8")
    found = warned(path, kind="labelling")
    assert found.keys() == {"unnamed", "untrained_class"}
    assert found["unnamed"][0].startswith("column '(column 1)' has no name and seems to number the rows")
    assert found["untrained_class"] == ["class 'z' has no training sequence: no model can learn it"]
    assert warned(path, kind="labelling", features=["x", "y"]).keys() == {"untrained_class"}


def test_many_rows_are_counted_and_the_first_twenty_shown(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", {row: f"s{(row - 2) // 5},{(row - 2) % 5},,1,a,train" for row in range(2, 42)})
    problem = next(p for p in check_data(recipe_of(path))["problems"] if p["code"] == "missing")
    assert (problem["count"], problem["rows"]) == (40, list(range(2, 22)))
    assert "and 20 more" in problem["message"]


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"features": ["x", "z"]}, "unknown column 'z'"),
        ({"sequence": "Id"}, "unknown column 'Id'; did you mean 'id'"),
        ({"path": "nowhere.csv"}, "not found .tried .*nowhere.csv"),
        ({"target": None}, "task.target"),
        ({"kind": "labelling", "sequence": None, "order": None}, "task.sequence"),
    ],
)
def test_what_is_not_in_the_file_is_named(task: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = str(table(tmp_path / "a.csv"))
    columns = {"sequence": "id", "order": "t", "target": "label"}
    options: dict[str, Any] = {"path": path, "kind": "classification", **columns, **task}
    with pytest.raises(DataError, match=message):
        Files(**options).load(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "forecasting"}, "window: missing"),
        ({"stride": 3}, r"`stride` must be left out without task\.window, got 3"),
        (
            {"test_fraction": 0.9, "validation_fraction": 0.2},
            "`test_fraction` must be less than 1 - validation_fraction = 0.8, got 0.9",
        ),
        ({"test_fraction": 0.0}, r"`test_fraction` must be in \(0, 1\), got 0"),
        ({"split": "time"}, "`split` must be 'fraction' with kind classification, got 'time'"),
        ({"split": "fraction", "split_column": "s"}, "`split` must be left out where split_column is given"),
        ({"test_fraction": 0.3, "split_column": "s"}, "`test_fraction` must be left out where split_column is given"),
        ({"kind": "forecasting", "window": 2, "missing": "mean"}, "`missing` must be 'refuse' or 'forward_fill'"),
        ({"samples_per_step": 0}, "`samples_per_step` must be >= 1, got 0"),
        ({"target": ["a", "b"]}, "one column"),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Files(**{"path": "x.csv", "kind": "classification", **options})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lengths": "a"}, r"`task\.lengths` must be left out for the format csv, got 'a'; it is for npz and npy"),
        (
            {"samples_per_step": 9},
            r"`task\.samples_per_step` must be left out for the format csv, got 9; it is for wav",
        ),
    ],
)
def test_options_of_other_formats_are_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a,y\n" + "1,u\n2,v\n" * 30)
    Files(str(path), "classification", target="y").load()
    with pytest.raises(DataError, match=message):
        Files(str(path), "classification", target="y", **options).load()


def test_mistakes_of_the_recipe_are_at_their_keys() -> None:
    base = {"model": {"hidden_size": 4}, "optimizer": {"name": "adam", "lr": 0.1}, "train": {"epochs": 1}}
    with pytest.raises(RecipeError) as error:
        parse_recipe({"task": {"name": "files", "kind": "guessing", "horison": 2}, **base})
    for wanted in ("task.horison: unknown key", "did you mean 'horizon'", "task.path: missing", "task.kind: must be"):
        assert wanted in str(error.value)
    task = {"name": "files", "path": "x", "kind": "regression", "horizon": 0, "test_fraction": 2.0}
    with pytest.raises(RecipeError) as error:
        parse_recipe({"task": task, **base})
    assert "task.horizon: must be a number >= 1, or a list of rising ones such as [1, 6, 24], got 0" in str(error.value)
    assert "task.test_fraction: must be in (0, 1), got 2.0" in str(error.value)
    task = {"name": "files", "path": "x", "kind": "regression"}
    with pytest.raises(RecipeError, match="unknown metric 'accuracy'"):
        parse_recipe({"task": task, "target": {"metric": "accuracy", "value": 0.5}, **base})


def test_the_path_of_a_recipe_file_is_relative_to_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    path = table(folder / "a.csv")
    recipe_of(Path("a.csv")).save(folder / "r.yaml")
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe(folder / "r.yaml")
    assert build_task(recipe).source() == path.resolve()  # type: ignore[attr-defined]
    moved = Files(path="/gone/from/here/a.csv", kind="regression")
    assert moved.source(folder) == folder / "a.csv"


def test_a_file_of_one_class_is_named_once(tmp_path: Path) -> None:
    path = tmp_path / "one.csv"
    rows = [f"s{n},{t},{n + t},1" for n in range(12) for t in range(3)]
    path.write_text("\n".join(["id,t,x,label", *rows]) + "\n", encoding="utf-8")
    (problem,) = check_data(recipe_of(path, split_column=None))["problems"]
    assert problem["message"] == "the target must have two or more classes, got 1"
