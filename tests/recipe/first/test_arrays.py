"""First recipes for NPZ files: the arrays take the roles that their names, shapes and types say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from momentum_cli.data import Files
from momentum_cli.data.problems import Problems
from momentum_cli.errors import DataError, RecipeError
from momentum_cli.inspection.data import check_data
from momentum_cli.recipe.building import build_task
from momentum_cli.recipe.first.files import reasons_of, write_first_recipe
from momentum_cli.recipe.recipe import load_recipe

X = np.random.default_rng(0).normal(size=(40, 6, 2))
Y = np.arange(40) % 3
PADDED = np.where(np.arange(6)[:, None] < (2 + np.arange(40) % 5)[:, None, None], X, np.nan)
GAPPED = np.where(
    (np.arange(40) == 7)[:, None, None] & (np.arange(6) == 2)[:, None] & np.array([True, False]), np.nan, X
)
SPLIT = np.array(["train"] * 20 + ["validation"] * 10 + ["test"] * 10)


@pytest.mark.parametrize(
    ("arrays", "wanted"),
    [
        ({"x": X, "y": Y}, {"kind": "classification", "features": ["x"], "target": "y", "missing": "refuse"}),
        ({"x": X, "labels": Y > 1, "split": SPLIT}, {"target": "labels", "split_column": "split"}),
        ({"x": X, "y": Y, "lengths": 1 + Y}, {"lengths": "lengths"}),
        ({"x": PADDED, "y": Y}, {"kind": "classification", "missing": "refuse"}),
        ({"x": GAPPED, "y": Y}, {"kind": "classification", "missing": "forward_fill"}),
        ({"x": GAPPED[7, :, 0].repeat(20)}, {"kind": "forecasting", "missing": "forward_fill"}),
        ({"time": np.arange(200).astype("M8[h]"), "x": X.reshape(240, 2)}, {"kind": "forecasting", "features": ["x"]}),
    ],
    ids=["classes", "split", "lengths", "padded", "missing", "missing in a series", "times"],
)
def test_arrays_take_their_roles(arrays: dict[str, Any], wanted: dict[str, Any], tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    recipe = load_recipe(write_first_recipe(tmp_path / "a.npz", tmp_path / "r.yaml"))
    options = recipe.task.options
    assert {name: options.get(name) for name in wanted} == wanted
    assert check_data(recipe)["problems"] == []
    assert ("arrays that are not used: time" in reasons_of(tmp_path / "r.yaml")) == ("time" in arrays)
    build_task(recipe).load()


def test_steps_without_a_value_at_the_end_are_padding(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=PADDED, y=Y)
    gathered = Files(str(tmp_path / "a.npz"), "classification", features=["x"], target="y").gather(
        tmp_path / "a.npz", Problems()
    )
    assert gathered.lengths.tolist() == [2 + number % 5 for number in range(40)]
    np.testing.assert_array_equal(gathered.features.array, np.concatenate([x[~np.isnan(x[:, 0])] for x in PADDED]))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x_train": X, "y_train": Y, "x_test": X, "y_test": Y},
         r"x_train, x_test are parts of one array; join them.*split=\['train'\] \* len\(x_train\) \+ \['test'\] \*"),
        ({"trainX": X, "a": X, "b": Y}, "name the array to predict with --target .arrays: trainX, a, b., or forecast"),
        ({"a": X, "b": Y}, "name the array to predict with --target .arrays: a, b., or forecast 'a' with --kind"),
        ({"names": np.array(["a", "b"])}, "no array of numbers remains as the features .arrays: names"),
        ({"x": X, "y": Y.astype(str).astype(object)}, r"y holds Python objects; save words as texts, y.astype\(str\)"),
    ],
)  # fmt: skip
def test_what_cannot_be_guessed_is_said(arrays: dict[str, Any], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", allow_pickle=True, **arrays)
    with pytest.raises((RecipeError, DataError), match=message):
        write_first_recipe(tmp_path / "a.npz", tmp_path / "r.yaml")


def test_lists_of_classes_and_of_values_are_told_apart(tmp_path: Path) -> None:
    lists = [X[row, : 3 + row % 4, 0].tolist() for row in range(40)]
    classes = [["ab"[step % 2] for step in range(len(one))] for one in lists]
    holes = [[None if step == 1 else value for step, value in enumerate(one)] for one in lists]
    for name, columns, wanted in (
        ("classes", {"x": lists, "label": classes}, ("labelling", "refuse")),
        (
            "values",
            {"x": X[:, :, 0].repeat(9, 1).tolist(), "y": X[:, :, 1].repeat(9, 1).tolist()},
            ("forecasting", "refuse"),
        ),
        ("holes", {"x": holes, "label": ["ab"[row % 2] for row in range(40)]}, ("classification", "forward_fill")),
    ):
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
        recipe = load_recipe(write_first_recipe(tmp_path / f"{name}.parquet", tmp_path / f"{name}.yaml"))
        assert (recipe.task.options["kind"], recipe.task.options["missing"]) == wanted
        assert check_data(recipe)["problems"] == []
        build_task(recipe).load()
