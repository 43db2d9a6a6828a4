"""A description, a picture and a first recipe say what is in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gesture_tables import recipe_of, table

from momentum_cli.errors import RecipeError
from momentum_cli.inspection.data import describe_data
from momentum_cli.recipe.building import build_task
from momentum_cli.recipe.first.files import first_recipe, write_first_recipe
from momentum_cli.recipe.recipe import load_recipe


def test_a_description_counts_what_is_there(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", {4: "s0,2,-50,,a,train"})
    result = describe_data(recipe_of(path, missing="mean"), picture=tmp_path / "s.png")
    assert {name: split["sequences"] for name, split in result["splits"].items()} == {
        "train": 8, "validation": 2, "test": 2,
    }  # fmt: skip
    assert result["splits"]["train"]["classes"] == {"a": 4, "b": 4}
    x, y = result["features"]
    assert (x["name"], x["minimum"], x["missing"], y["missing"]) == ("x", -50.0, 0, 1)
    cells = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    assert y["mean"] == pytest.approx(np.mean([float(row[3]) for row in cells if row[3]]), rel=1e-6)
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")
    assert describe_data(load_recipe("digits"))["splits"]["test"]["sequences"] == 360


@pytest.mark.parametrize(
    ("lines", "target", "wanted"),
    [
        ("id,t,x,label\na,1,2,up\na,2,3,up\nb,1,2,down", None,
         {"kind": "classification", "sequence": "id", "order": "t", "features": ["x"], "target": "label"}),
        ("date,load,wind\n2024-01-01,1.5,2\n2024-01-02,2.5,3\n2024-01-03,0.25,4", ["load"],
         {"kind": "forecasting", "order": "date", "features": ["load", "wind"], "target": "load", "window": 1}),
        ("a,b,c,y\n1,2,3,0.5\n2,3,4,0.75", None, {"kind": "regression", "features": ["a", "b", "c"], "target": "y"}),
        ("series,x,state\na,1,up\na,2,down\nb,2,up", ["state"],
         {"kind": "labelling", "sequence": "series", "features": ["x"], "target": "state"}),
        ("id,x,note,class,split\na,1,hm,0,train\na,2,oh,0,train\nb,2,x,1,test", None,
         {"kind": "classification", "features": ["x"], "split_column": "split"}),
    ],
)  # fmt: skip
def test_a_first_recipe_is_guessed_from_names_and_values(
    lines: str, target: list[str] | None, wanted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "my data.csv"
    path.write_text(lines + "\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    written = write_first_recipe(path, target=target)
    assert written == Path("my data.yaml")
    options = load_recipe(written).task.options
    assert options["path"] == str(path.resolve())
    assert {key: options[key] for key in wanted} == wanted
    with pytest.raises(RecipeError, match="exists"):
        write_first_recipe(path, target=target)
    with pytest.raises(RecipeError, match="unknown column 'nothing'"):
        first_recipe(path, target=["nothing"])


def test_a_first_recipe_of_arrays_and_lists(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((6, 4, 2)), y=np.array([0, 1] * 3))
    (tmp_path / "b.jsonl").write_text('{"id": 1, "v": [[1, 2], [3, 4]], "label": "a"}\n', encoding="utf-8")
    np.save(tmp_path / "c.npy", np.zeros((50, 3)))
    for name in ("a.npz", "b.jsonl", "c.npy"):
        write_first_recipe(tmp_path / name, tmp_path / f"{name}.yaml")
    assert build_task(load_recipe(tmp_path / "a.npz.yaml")).load().input_size == 2
    assert load_recipe(tmp_path / "b.jsonl.yaml").task.options["features"] == ["v"]
    assert build_task(load_recipe(tmp_path / "c.npy.yaml")).load().output_size == 3


def test_a_picture_shows_the_values_of_the_file_with_the_names_of_its_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from momentum_cli.pictures import samples as module

    drawn: list[Any] = []
    monkeypatch.setattr(module, "samples", lambda *arguments, unit: drawn.append((*arguments, unit)))
    path = table(tmp_path / "a.csv")
    describe_data(recipe_of(path), picture=tmp_path / "s.svg")
    ((sequences, titles, _, names, unit),) = drawn
    cells = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    np.testing.assert_allclose(sequences[0], [[float(cell) for cell in row[2:4]] for row in cells[:5]], rtol=1e-5)
    assert (names, titles[:2], unit) == (["x", "y"], ["a", "b"], "")
    describe_data(recipe_of(path, normalise="sequence"), picture=tmp_path / "s.svg")
    sequences, *_, unit = drawn[1]
    np.testing.assert_allclose([sequences[0].mean(0), sequences[0].std(0)], [[0, 0], [1, 1]], atol=1e-5)
    assert unit == "standard deviations from the mean of the sequence"
