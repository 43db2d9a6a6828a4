"""Drawing from a search space, and its text on the command line."""

from __future__ import annotations

from typing import Any

import pytest

from momentum_cli.errors import RecipeError
from momentum_cli.recipe.axes import Choices, Range
from momentum_cli.recipe.recipe import load_recipe, parse_recipe
from momentum_cli.tuning.points import quasi_random, sobol
from momentum_cli.tuning.space import Space, default_axes, given_axes, with_tune

CELLS = {
    "cells.momentum.momentum": Range(0.0, 0.9),
    "cells.adam.beta2": Range(0.0, 0.9),
    "optimizer.lr": Range(1e-3, 1e-1, log=True),
    "model.cell": Choices(("lstm", "momentum", "adam")),
}


def test_only_options_of_the_drawn_cell_are_drawn() -> None:
    space = Space(load_recipe("digits"), CELLS)
    assert space.keys[0] == "model.cell"
    found = {str(values["model.cell"]): set(values) for values in quasi_random(space, 32, 0)}
    assert found == {
        "lstm": {"model.cell", "optimizer.lr"},
        "momentum": {"model.cell", "optimizer.lr", "cells.momentum.momentum"},
        "adam": {"model.cell", "optimizer.lr", "cells.adam.beta2"},
    }
    for values in quasi_random(space, 8, 0):
        recipe = space.recipe_of(values)
        assert recipe.model.cell == values["model.cell"]
        assert recipe.optimizer.lr == values["optimizer.lr"]
        assert recipe.tune is None


def test_the_recipe_s_own_values_where_they_are_in_the_space() -> None:
    recipe = load_recipe("digits")
    assert Space(recipe, CELLS).own() == {
        "model.cell": "momentum",
        "optimizer.lr": 0.01,
        "cells.momentum.momentum": 0.6,
    }
    assert Space(recipe, {"optimizer.lr": Range(0.02, 0.1)}).own() is None


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ({"cells.adam.momentum": [0, 0.9]}, "cells.adam.momentum: never has an effect: the recipe has another cell"),
        ({"schedule.gamma": [0.1, 0.5]}, "the recipe's schedule does not use it"),
        ({"schedule.name": ["cosine", "constant"], "schedule.gamma": [0.1, 0.5]}, "schedule.gamma: never has an"),
        ({"optimizer.name": ["sgd", "adam"], "optimizer.alpha": [0.9, 0.99]}, "no optimizer of the search has it"),
    ],
)
def test_a_search_refuses_axes_without_effect_and_a_training_ignores_them(axes: dict[str, Any], words: str) -> None:
    recipe = parse_recipe(load_recipe("digits").dump() | {"tune": {"space": axes}})
    with pytest.raises(RecipeError, match=words):
        with_tune(recipe, {})


def test_a_grid_has_each_combination_once_without_options_that_have_no_effect() -> None:
    axes = {
        "cells.momentum.momentum": Range(0.0, 0.9, step=0.3),
        "optimizer.lr": Choices((0.01, 0.1)),
        "model.cell": Choices(("lstm", "momentum")),
    }
    grid = Space(load_recipe("digits"), axes).grid()
    assert len(grid) == 2 * (1 + 4)
    assert len({tuple(sorted(map(str, values.items()))) for values in grid}) == len(grid)
    with pytest.raises(RecipeError, match="needs axes with a finite number of values"):
        Space(load_recipe("digits"), {"optimizer.lr": Range(0.01, 0.1)}).grid()
    with pytest.raises(RecipeError, match="needs axes with a finite number of values"):
        Space(load_recipe("digits"), {"model.hidden_size": Range(1, 10**9, whole=True)}).grid()
    many = {"model.hidden_size": Range(1, 1000, whole=True), "train.seed": Range(1, 1000, whole=True)}
    with pytest.raises(RecipeError, match="at most 100,000 combinations, got 1,000,000"):
        Space(load_recipe("digits"), many).grid()


def test_quasi_random_points_are_those_of_a_net() -> None:
    """Of the first 2^k points, each of 2^k equal intervals of a coordinate holds exactly one."""
    points = sobol(16, ["a", "b", "c"], seed=3)
    for name in "abc":
        assert sorted(int(16 * point[name]) for point in points) == list(range(16))
    assert sobol(4, ["a", "b", "c"], seed=3) == points[:4]
    assert sobol(4, ["a", "b", "c"], seed=4) != points[:4]


def test_axes_of_the_command_line() -> None:
    recipe = load_recipe("digits")
    axes = given_axes(["lr=log:1e-3..1e-1; model.cell=lstm,adam", "epochs=int:1..4"], recipe)
    assert axes == {
        "optimizer.lr": Range(1e-3, 1e-1, log=True),
        "model.cell": Choices(("lstm", "adam")),
        "train.epochs": Range(1, 4, whole=True),
    }
    for text, words in [
        ("lr", "must be KEY=AXIS"),
        ("=1..2", "must be KEY=AXIS"),
        ("lrr=1..2", "did you mean optimizer.lr"),
        ("lr=1..2; optimizer.lr=1..2", "twice"),
        ("lr=2..1", "must be > low"),
    ]:
        with pytest.raises(RecipeError, match=r"--space") as error:
            given_axes([text], recipe)
        assert words in str(error.value)


def test_settings_given_replace_those_of_the_recipe_and_others_stay() -> None:
    recipe = load_recipe("digits", ["tune={space: {optimizer.lr: [0.1, 1]}, trials: 7, sampler: qmc}"])
    tuned = with_tune(recipe, {}, trials=None, sampler="random").tune
    assert tuned is not None
    assert (tuned.trials, tuned.sampler) == (7, "random")
    assert tuned.space == {"optimizer.lr": Range(0.1, 1)}
    plain = with_tune(load_recipe("digits"), {}).tune
    assert plain is not None
    assert plain.space == default_axes(load_recipe("digits"))
    assert list(plain.space) == ["optimizer.lr", "cells.momentum.momentum", "cells.momentum.step_size"]
