"""Recipes: defaults, overrides, and that nothing is lost on the way to a file and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from recipe_files import MINIMAL, write

from momentum_cli.errors import DataError
from momentum_cli.recipe.recipe import InvalidRecipeError, load_recipe, parse_recipe
from momentum_cli.recipe.shipped import shipped_recipes


def test_minimal_recipe_takes_every_default(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, MINIMAL))
    assert recipe.model.cell == "momentum"
    assert recipe.cells == {"momentum": {"momentum": 0.6, "step_size": 1.0}}
    assert recipe.task.options == {"pixels_per_step": 8, "validation": 180, "split_seed": 0, "shift": 0}
    assert (recipe.optimizer.name, recipe.optimizer.lr) == ("adam", 0.01)
    assert recipe.train.batch_size == 128
    assert recipe.target is None
    assert recipe.schedule.name == "constant"


def test_overrides_are_typed_and_the_last_one_wins(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL)
    recipe = load_recipe(
        path,
        [
            "model.cell=adam-gru",
            "model.hidden_size=16",
            "model.hidden_size=17",
            "cells.adam-gru={momentum: 0.1, beta2: 5e-1}",
            "cells.adam-gru.eps=1e-8",
            "target={metric: accuracy, value: 0.9}",
            "train.early_stopping.patience=3",
            "optimizer.betas=[0.8, 0.9]",
        ],
    )
    assert recipe.model.hidden_size == 17
    assert recipe.cells["adam-gru"] == {"momentum": 0.1, "beta2": 0.5, "step_size": 1.0, "eps": 1e-8}
    assert recipe.target is not None
    assert recipe.target.value == 0.9
    assert recipe.train.early_stopping is not None
    assert recipe.train.early_stopping.patience == 3
    assert recipe.optimizer.options["betas"] == (0.8, 0.9)
    assert load_recipe(path, ["train.early_stopping=null", "target="]).target is None


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_saved_recipes_load_equal(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name, ["train.deterministic=off", "train.clip_grad_norm=1e-5"])
    path = tmp_path / "saved.yaml"
    recipe.save(path)
    assert load_recipe(path) == recipe
    assert parse_recipe(recipe.dump()) == recipe
    # Any YAML reader gets the same content.
    assert yaml.safe_load(path.read_text(encoding="utf-8")) == recipe.dump()


def test_saving_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "saved.yaml"
    recipe = load_recipe("digits")
    recipe.save(path)
    before = path.read_bytes()

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(DataError, match=r"saved\.yaml: disk full"):
        recipe.override("model.cell=adam").save(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["saved.yaml"]


def test_override_of_a_loaded_recipe() -> None:
    recipe = load_recipe("digits")
    other = recipe.override("model.cell=adam", "train.seed=3")
    assert (other.model.cell, other.train.seed) == ("adam", 3)
    assert other.override("model.cell=momentum", "train.seed=0") == recipe
    with pytest.raises(InvalidRecipeError, match=r"override 'model.cel=x': model.cel: unknown key"):
        recipe.override("model.cel=x")


def test_a_circle_of_links_as_data_is_left_to_the_reader(tmp_path: Path) -> None:
    (tmp_path / "a.csv").symlink_to("b.csv")
    (tmp_path / "b.csv").symlink_to("a.csv")
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        "task: {name: files, path: a.csv, target: y, kind: classification}\n" + MINIMAL.partition("\n")[2],
        encoding="utf-8",
    )
    assert load_recipe(recipe).task.options["path"] == "a.csv"
