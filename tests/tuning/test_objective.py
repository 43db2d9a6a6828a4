"""Scores of trials, their order, and what misses are worth to a sampler."""

from __future__ import annotations

import math
from typing import Any

import pytest

from momentum_cli.errors import RecipeError
from momentum_cli.recipe.recipe import load_recipe
from momentum_cli.tuning.objective import BestMetric, ToTarget, best_value, objective_of
from momentum_cli.tuning.results import best_row
from momentum_cli.tuning.space import with_tune


def row(value: float | None, steps: int = 100, reached: int | None = None) -> dict[str, Any]:
    to_target = None if reached is None else {"steps": reached, "train_seconds": reached / 10}
    return {"best": value, "value": value, "steps": steps, "train_seconds": steps / 10, "to_target": to_target}


def test_a_miss_scores_worse_than_its_whole_budget_and_the_less_the_closer_it_came() -> None:
    goal = ToTarget("steps", "accuracy", 0.8)
    assert goal.score(row(0.9, 40, 40)) == 40
    assert goal.score(row(0.79)) == pytest.approx(100 * (1 + 0.01 / 0.8))
    assert goal.score(row(0.0)) == pytest.approx(200)
    assert goal.score(row(None)) is None
    error = ToTarget("train_seconds", "mse", 0.1)
    assert error.score(row(0.2)) == pytest.approx(10 * 1.5)
    assert error.score(row(math.inf)) == pytest.approx(20)
    assert error.score(row(0.05, 70, 70)) == 7


def test_a_miss_of_a_correlation_of_zero_has_a_score() -> None:
    goal = ToTarget("steps", "matthews", 0.0)
    assert goal.score(row(-0.25)) == pytest.approx(125)
    assert goal.score(row(-1.0)) == pytest.approx(200)


def test_a_trial_without_a_number_is_not_the_best_one() -> None:
    without, some = row(None) | {"status": "done"}, row(0.5) | {"status": "done"}
    for objective in (BestMetric("accuracy"), ToTarget("steps", "accuracy", 0.9)):
        assert best_row([without], objective) is None
        assert best_row([without, some], objective) is some


def test_trials_are_ordered_by_the_target_first_and_then_by_the_metric() -> None:
    goal = ToTarget("steps", "accuracy", 0.8)
    rows = [row(0.7), row(0.9, 60, 60), row(0.78), row(0.81, 40, 40), row(None), row(math.nan)]
    assert sorted(range(6), key=lambda i: goal.key(rows[i])) == [3, 1, 2, 0, 4, 5]
    best = BestMetric("mse")
    assert not best.maximize
    assert sorted([0.3, 0.1, 0.2], key=lambda value: best.key(row(value))) == [0.1, 0.2, 0.3]
    assert BestMetric("accuracy").maximize
    assert BestMetric("mse").score(row(math.inf)) is None


def test_the_best_value_is_never_one_that_is_no_number() -> None:
    assert best_value("accuracy", [math.nan, 0.3, 0.5]) == 0.5
    assert best_value("mse", [0.3, math.nan, 0.5]) == 0.3
    assert best_value("mse", [math.nan]) is None


def test_a_time_to_a_target_needs_one() -> None:
    recipe = with_tune(load_recipe("digits"), {}, objective="steps_to_target")
    assert objective_of(recipe, "accuracy") == ToTarget("steps", "accuracy", 0.95)
    with pytest.raises(RecipeError, match="no target with a value"):
        objective_of(with_tune(load_recipe("digits", ["target=null"]), {}, objective="seconds_to_target"), "accuracy")
