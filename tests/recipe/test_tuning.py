"""The section `tune` of a recipe: what is refused when it is read, and what a drawn value changes."""

from __future__ import annotations

from typing import Any

import pytest

from momentum_cli.errors import RecipeError
from momentum_cli.recipe.recipe import load_recipe, parse_recipe
from momentum_cli.recipe.tuning import applied, has_effect


def space(**axes: Any) -> dict[str, Any]:
    content = load_recipe("digits").dump()
    content["tune"] = {"space": {key.replace("__", "."): axis for key, axis in axes.items()}}
    return content


def test_a_recipe_keeps_its_search_space() -> None:
    content = space(optimizer__lr={"log": [1e-4, 1e-1]}, model__cell=["lstm", "adam"], cells__adam__momentum=[0, 0.9])
    recipe = parse_recipe(content)
    assert recipe.tune is not None
    assert parse_recipe(recipe.dump()) == recipe
    assert recipe.dump()["tune"]["space"]["model.cell"] == {"choice": ["lstm", "adam"]}
    assert "tune" not in load_recipe("digits").dump()


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ({"optimizer__lr": [-1, 1]}, "optimizer.lr: Invalid learning rate"),
        ({"optimizer__lrr": [0.1, 1]}, "did you mean 'lr'"),
        ({"cells__momentum__momentum": [0, 1]}, "must be in [0, 1)"),
        ({"model__hidden_size": [16, 64]}, "must be an integer"),
        ({"model__cell": ["lstm", "lstmm"]}, "did you mean 'lstm'"),
        ({"lr": [0.1, 1]}, "must be the whole path of a key"),
        ({"target__value": [0.1, 1]}, "must be the whole path of a key"),
    ],
)
def test_an_axis_that_cannot_be_is_refused_with_its_key(axes: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError) as error:
        parse_recipe(space(**axes))
    assert words in str(error.value)
    assert f"tune.space.{list(axes)[-1].replace('__', '.')}" in str(error.value)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("tune.sampler=bayes", "must be 'tpe', 'gp', 'qmc', 'random' or 'grid'"),
        ("tune.trials=0", "must be >= 1"),
        ("tune.spase={}", "did you mean 'space'"),
        ("tune.objective=loss", "must be 'metric'"),
        ("tune.pruner=hyperbnd", "'hyperband'"),
    ],
)
def test_a_wrong_setting_is_refused(override: str, words: str) -> None:
    with pytest.raises(RecipeError) as error:
        load_recipe("digits", [override])
    assert words in str(error.value)


def test_options_have_an_effect_beside_their_own_cell_optimizer_and_schedule_only() -> None:
    content = load_recipe("digits").dump()
    assert has_effect("cells.momentum.momentum", content, {})
    assert has_effect("cells.momentum-lstm.momentum", content, {"model.cell": "momentum"})
    assert not has_effect("cells.momentum.momentum", content, {"model.cell": "adam"})
    assert has_effect("optimizer.alpha", content, {"optimizer.name": "rmsprop"})
    assert not has_effect("optimizer.alpha", content, {"optimizer.name": "adam"})
    assert has_effect("optimizer.lr", content, {"optimizer.name": "sgd"})
    assert has_effect("schedule.gamma", content, {"schedule.name": "plateau"})
    assert not has_effect("schedule.gamma", content, {"schedule.name": "cosine"})
    assert has_effect("schedule.warmup_steps", content, {"schedule.name": "cosine"})


def test_another_optimizer_keeps_the_learning_rate_and_none_of_the_options() -> None:
    content = load_recipe("digits", ["optimizer.betas=[0.5, 0.6]"]).dump()
    drawn = {"optimizer.name": "rmsprop", "optimizer.alpha": 0.5, "cells.lstm.x": 1}
    changed = applied(content, drawn)
    assert changed["optimizer"] == {"name": "rmsprop", "lr": 0.01, "alpha": 0.5}
    assert changed["cells"]["lstm"] == {"x": 1}
    assert applied(content, {"optimizer.name": "adam"})["optimizer"]["betas"] == [0.5, 0.6]
    assert content["optimizer"]["name"] == "adam"  # the recipe itself is unchanged


@pytest.mark.parametrize("change", ["model.cell=lstm", "optimizer={name: adam, lr: 0.01}", "schedule={name: constant}"])
def test_a_recipe_with_a_space_is_trained_with_another_cell_optimizer_or_schedule(change: str) -> None:
    axes = "cells.momentum.momentum: [0, 0.9], optimizer.alpha: [0.9, 0.99], schedule.gamma: [0.1, 0.5]"
    own = ["optimizer={name: rmsprop, lr: 0.01}", "schedule={name: exponential, every_n_steps: 9}"]
    assert load_recipe("digits", [*own, f"tune={{space: {{{axes}}}}}", change]).tune is not None
