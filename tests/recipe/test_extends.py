"""`extends`: a recipe that says only what differs from another."""

from __future__ import annotations

from pathlib import Path

import pytest
from recipe_files import MINIMAL

from momentum_cli.errors import RecipeError
from momentum_cli.recipe.recipe import InvalidRecipeError, load_recipe


def test_what_is_not_written_comes_from_the_other_recipe(tmp_path: Path) -> None:
    (tmp_path / "parent.yaml").write_text(MINIMAL)
    child = tmp_path / "child.yaml"
    child.write_text("extends: parent.yaml\nmodel: {cell: adam}\ntrain:\n  seed: 3\n")
    parent, got = load_recipe(tmp_path / "parent.yaml"), load_recipe(child, ["train.batch_size=7"])
    assert got.model.cell == "adam"
    assert got.model.hidden_size == parent.model.hidden_size
    assert (got.train.seed, got.train.batch_size, got.train.epochs) == (3, 7, parent.train.epochs)
    assert got.optimizer == parent.optimizer
    # A run keeps the whole recipe.
    assert "extends" not in got.dump()


def test_options_of_another_optimizer_are_not_taken_over(tmp_path: Path) -> None:
    child = tmp_path / "child.yaml"
    child.write_text("extends: pmnist\noptimizer: {name: sgd, lr: 0.5}\n")
    assert load_recipe("pmnist").optimizer.options["alpha"] == 0.9
    assert "alpha" not in load_recipe(child).optimizer.options


def test_recipes_extend_recipes_and_mistakes_name_their_file(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "first.yaml").write_text(MINIMAL + "  eepochs: 3\n")
    (tmp_path / "second.yaml").write_text("extends: a/first.yaml\nmodel: {cell: gru}\n")
    third = tmp_path / "third.yaml"
    third.write_text("extends: second.yaml\nmodel:\n  hidden_size: -1\n")
    with pytest.raises(InvalidRecipeError) as caught:
        load_recipe(third)
    where = {entry["path"]: entry["where"] for entry in caught.value.entries}
    lines = len(MINIMAL.splitlines())
    assert where == {"model.hidden_size": f"{third}:3", "train.eepochs": f"{tmp_path / 'a' / 'first.yaml'}:{lines + 1}"}


@pytest.mark.parametrize("given", ["data.csv", "d*.csv"])
def test_data_lie_next_to_the_recipe_that_names_them(tmp_path: Path, given: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "data.csv").write_text("x,y\n1,a\n2,b\n")
    task = "task: {name: files, path: GIVEN, target: y, kind: classification}\n".replace("GIVEN", f"'{given}'")
    (tmp_path / "a" / "parent.yaml").write_text(task + MINIMAL.partition("\n")[2])
    child = tmp_path / "child.yaml"
    child.write_text("extends: a/parent.yaml\n")
    assert load_recipe(child).task.options["path"] == str(tmp_path / "a" / given)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("extends: other.yaml\n", "child.yaml:1: extends: other.yaml: no such file or shipped recipe"),
        ("train: {epochs: 1}\nextends: 3\n", "child.yaml:2: `extends` must be the file or the name of a recipe, got 3"),
        ("extends: child.yaml\n", "child.yaml:1: extends: child.yaml extends this recipe in turn"),
        ("extends: parent.yaml\n", "parent.yaml:1: extends: child.yaml extends this recipe in turn"),
        (f"extends: {'x' * 10_000}\n", r"child.yaml:1: extends: .{,500}File name too long.{,500}$"),
    ],
)
def test_what_cannot_be_extended_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "parent.yaml").write_text("extends: child.yaml\n")
    (tmp_path / "child.yaml").write_text(text)
    with pytest.raises(RecipeError, match=message):
        load_recipe(tmp_path / "child.yaml")


def test_recipes_extend_one_another_twenty_times_at_most(tmp_path: Path) -> None:
    for number in range(1500):
        (tmp_path / f"{number}.yaml").write_text(f"extends: {number + 1}.yaml\n")
    with pytest.raises(RecipeError, match=r"20\.yaml:1: extends: more than 20 recipes extend one another"):
        load_recipe(tmp_path / "0.yaml")
