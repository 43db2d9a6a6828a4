"""Recipe files: shipped ones by name, the user's by path, and what the shipped ones say."""

from __future__ import annotations

from pathlib import Path

import pytest
from recipe_files import MINIMAL, write

from momentum_cli.errors import RecipeError
from momentum_cli.recipe import shipped
from momentum_cli.recipe.recipe import load_recipe
from momentum_cli.recipe.shipped import find_recipe, shipped_recipes


def test_missing_recipes_are_suggested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("digts", "digts.yaml", "recipes/digits.yaml", "Digits"):
        with pytest.raises(RecipeError, match="did you mean 'digits'"):
            load_recipe(name)
    with pytest.raises(RecipeError, match="is a folder"):
        load_recipe(str(tmp_path))


def test_recipes_are_found_by_name_and_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_recipe("digits") == find_recipe("digits.yaml") == shipped_recipes()["digits"]
    write(tmp_path, MINIMAL, "digits.yaml")
    assert find_recipe("digits.yaml") == Path("digits.yaml")  # a file of the user's comes first
    assert find_recipe("digits") == shipped_recipes()["digits"]


def test_shipped_recipes_of_a_wheel_and_of_a_source_tree(tmp_path: Path) -> None:
    wheel, tree = tmp_path / "site" / "momentum_cli", tmp_path / "tree" / "momentum_cli"
    (wheel / "recipes" / "paper").mkdir(parents=True)
    (tree.parent / "recipes").mkdir(parents=True)
    tree.mkdir()
    assert shipped.shipped_folder(wheel) == wheel / "recipes"
    assert shipped.shipped_folder(tree) == tree.parent / "recipes"
    with pytest.raises(RecipeError, match="reinstall"):
        shipped.shipped_folder(tmp_path)


def test_recipes_in_folders_have_names_with_a_slash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "paper").mkdir()
    write(tmp_path / "paper", MINIMAL, "small.yaml")
    monkeypatch.setattr(shipped, "shipped_folder", lambda: tmp_path)
    assert shipped.shipped_recipes() == {"paper/small": tmp_path / "paper" / "small.yaml"}
    assert load_recipe("paper/small").model.hidden_size == 8
    with pytest.raises(RecipeError, match="did you mean 'paper/small'"):
        load_recipe("paper/smal")


@pytest.mark.parametrize("path", sorted(shipped_recipes().values()), ids=lambda path: path.stem)
def test_every_shipped_recipe_opens_with_its_command(path: Path) -> None:
    name = next(name for name, file in shipped_recipes().items() if file == path)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == f"# momentumrnn train {name}"
    assert lines[1].startswith("# ")


def test_authors_settings_on_permuted_mnist() -> None:
    recipe = load_recipe("pmnist")
    assert recipe.cells["momentum"] == {"momentum": 0.6, "step_size": 1.0}
    assert {**recipe.cells["adam"], "eps": 1e-16} == {"momentum": 0.6, "step_size": 1.0, "beta2": 0.01, "eps": 1e-16}
    assert {**recipe.cells["rmsprop"], "eps": 1e-16} == {"step_size": 1.0, "beta2": 0.01, "eps": 1e-16}
    assert (recipe.optimizer.name, recipe.optimizer.lr, recipe.optimizer.options["alpha"]) == ("rmsprop", 0.001, 0.9)
    assert (recipe.train.epochs, recipe.train.batch_size, recipe.train.clip_grad_norm) == (150, 128, 1.0)
    assert (recipe.model.hidden_size, recipe.model.init) == (128, "paper")
