"""Learning-curve laws against curves whose end is known, and the pruner that uses them."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pytest

from momentum_cli.metrics import METRICS
from momentum_cli.recipe.recipe import Recipe, load_recipe
from momentum_cli.training.schedule import scheduled
from momentum_cli.tuning.forecast import Forecaster
from momentum_cli.tuning.laws import MEMORIES, forecast, plan_of
from momentum_cli.tuning.objective import BestMetric, Objective, ToTarget
from momentum_cli.tuning.trial import Position

TOTAL = 1200
GRID = np.arange(40, TOTAL + 1, 40)


def recipe(schedule: str = "constant") -> Recipe:
    return load_recipe("digits", [f"schedule.name={schedule}"])


def test_the_plan_sums_the_rates_and_remembers_how_they_fell() -> None:
    chosen = recipe("cosine")
    plan = plan_of(chosen, TOTAL)
    factors = [scheduled(chosen.schedule, step, TOTAL, chosen.optimizer.lr) for step in range(TOTAL)]
    assert plan.sums[-1] == pytest.approx(math.fsum(factors))
    # The sum over steps k of the sum over falls i <= k of fall_i * memory^(k-i), by its definition.
    at = 60
    falls = [0.0] + [before - after for before, after in pairwise(factors)]
    for number, memory in enumerate(MEMORIES):
        direct = math.fsum(falls[i] * memory ** (k - i) for k in range(at) for i in range(k + 1))
        assert plan.drops[number][at - 1] == pytest.approx(direct)
    assert not plan_of(recipe(), TOTAL).drops.any()


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_the_interval_holds_the_end_of_power_laws_about_as_often_as_it_says(schedule: str) -> None:
    """Laws drawn at random, from 40 % of the budget: 80 % of the ends or more, and closer than the last known value.

    It has to be wider than an exact law needs, since twelve evaluations do not show that a run follows one exactly.
    """
    plan, draw = plan_of(recipe(schedule), TOTAL), np.random.default_rng(5)
    held, errors, standing, widths = 0, [], [], []
    for number in range(100):
        offset, slope, exponent = draw.uniform(0, 0.2), draw.uniform(0.3, 0.8), draw.uniform(0.3, 2)
        power = (plan.sums[GRID - 1] / plan.sums[39]) ** -exponent
        drops = plan.drops[0][GRID - 1] / (plan.drops[0][-1] or 1.0)
        y = offset + slope * power - 0.5 * offset * drops + draw.normal(0, 0.008, len(GRID))
        found = forecast("mse", [(int(s), v) for s, v in zip(GRID[:12], y, strict=False)], plan, seed=number)
        assert found is not None
        assert found.optimistic <= found.low <= found.value <= found.high
        held += found.low <= y[-1] <= found.high
        errors.append(abs(found.value - y[-1]))
        standing.append(abs(y[11] - y[-1]))
        widths.append(found.high - found.low)
    assert held >= 75
    assert np.median(widths) < 0.1
    assert np.median(errors) < 0.6 * np.median(standing)


def test_the_interval_narrows_as_the_run_goes_on_and_accuracy_stays_below_one() -> None:
    plan = plan_of(recipe(), TOTAL)
    noise = np.random.default_rng(0).normal(0, 0.005, len(GRID))
    curve = [(int(s), 0.97 - 0.6 * (s / 40) ** -0.9 + e) for s, e in zip(GRID, noise, strict=True)]
    widths = []
    for count in (6, 12, 24):
        found = forecast("accuracy", curve[:count], plan)
        assert found is not None
        assert 0 <= found.low <= found.value <= found.high <= found.optimistic <= 1
        widths.append(found.high - found.low)
    assert widths == sorted(widths, reverse=True)
    assert forecast("accuracy", curve[:12], plan) == forecast("accuracy", curve[:12], plan)


def test_the_interval_allows_for_runs_that_stray_from_their_law() -> None:
    """Law and a strong random walk, from 60 % of the budget; with independent residuals it has 16 of the 60 ends."""
    plan, draw = plan_of(recipe(), TOTAL), np.random.default_rng(4)
    held = 0
    for number in range(60):
        walk = np.cumsum(draw.normal(0, 0.02, len(GRID)))
        y = 0.3 + 0.4 * (GRID / 40) ** -0.5 + walk + draw.normal(0, 0.01, len(GRID))
        found = forecast("mse", list(zip(GRID[:18].tolist(), y, strict=False)), plan, seed=number)
        assert found is not None
        held += found.low <= y[-1] <= found.high
    assert 28 <= held <= 56


@pytest.mark.parametrize("metric", [name for name, metric in METRICS.items() if metric.higher_is_better])
def test_a_metric_that_rises_is_predicted_on_its_own_scale(metric: str) -> None:
    """BLEU goes to 100, and is predicted as an accuracy of a hundredth of it is."""
    plan, scale = plan_of(recipe(), TOTAL), 100.0 if metric in ("bleu", "chrf") else 1.0
    shares = 0.4 - 0.35 * (GRID[:12] / 40) ** -0.6
    found = forecast(metric, [(int(step), scale * share) for step, share in zip(GRID, shares, strict=False)], plan)
    accuracy = forecast("accuracy", [(int(step), share) for step, share in zip(GRID, shares, strict=False)], plan)
    assert found is not None
    assert accuracy is not None
    assert found.value / scale == pytest.approx(accuracy.value)
    assert scale * shares[-1] < found.value < 0.4 * scale
    assert found.low < found.value < found.high < found.optimistic < scale


def test_too_few_evaluations_and_values_that_are_no_numbers() -> None:
    plan = plan_of(recipe(), TOTAL)
    curve = [(40, math.nan), (80, 0.5), (120, math.inf), (160, 0.4)]
    assert forecast("mse", curve, plan) is None
    found = forecast("mse", [*curve, (240, 0.33)], plan)
    assert found is not None
    assert math.isfinite(found.value)
    flat = forecast("mse", [(40 * n, 0.0) for n in range(1, 8)], plan)
    assert flat is not None
    assert flat.value == pytest.approx(0.0, abs=0.1)


class Rows:
    """A study with nothing but the trials that are over."""

    def __init__(self, objective: Objective, *rows: dict[str, Any]) -> None:
        self.objective = objective
        self._rows = [{"status": "done", "to_target": None, **row} for row in rows]

    def rows(self) -> list[dict[str, Any]]:
        return self._rows


def curve_to(end: float, count: int, exponent: float = 1.0) -> Position:
    """Return the position after some evaluations of a curve of accuracy that ends at a value."""
    last = (TOTAL / 40) ** -exponent
    values = [(int(s), end + 0.5 * (last - (s / 40) ** -exponent)) for s in GRID[:count]]
    return Position(step=values[-1][0] if values else 0, total_steps=TOTAL, values=values)


def test_a_trial_ends_when_its_curve_does_not_come_to_the_best_one() -> None:
    study = Rows(BestMetric("accuracy"), {"value": 0.9}, {"value": 0.7})
    judge = Forecaster(cast(Any, study), recipe(), "accuracy", TOTAL)
    assert judge.hopeless(curve_to(0.6, 15))
    assert not judge.hopeless(curve_to(0.95, 15))
    assert not judge.hopeless(curve_to(0.6, 5))  # too early to say
    assert not judge.hopeless(curve_to(0.6, 0))
    assert not Forecaster(cast(Any, Rows(BestMetric("accuracy"))), recipe(), "accuracy", TOTAL).hopeless(
        curve_to(0.1, 20)
    )


def test_a_trial_that_has_gone_past_the_fewest_steps_is_over() -> None:
    goal = ToTarget("steps", "accuracy", 0.95)
    study = Rows(goal, {"value": 0.96, "to_target": {"steps": 480}}, {"value": 0.9})
    judge = Forecaster(cast(Any, study), recipe(), "accuracy", TOTAL)
    assert judge.hopeless(curve_to(0.94, 12))  # 480 steps
    assert judge.hopeless(curve_to(0.6, 8))  # will not be there at step 480
    assert not judge.hopeless(curve_to(0.6, 4))
    # One that swings could be there at step 480, but it stands at that step and is not.
    swinging = Position(480, TOTAL, [(int(s), 0.9 + 0.045 * (-1) ** n) for n, s in enumerate(GRID[:12])])
    assert not judge.hopeless(Position(440, TOTAL, swinging.values[:11]))
    assert judge.hopeless(swinging)
    early = Forecaster(cast(Any, Rows(goal, {"value": 0.9})), recipe(), "accuracy", TOTAL)
    assert not early.hopeless(curve_to(0.6, 20))  # none has reached the target: there is nothing to beat


def test_seconds_are_compared_with_seconds() -> None:
    """A trial with fast steps may need more of them than the best one, and still less time."""
    goal = ToTarget("train_seconds", "accuracy", 0.8)
    study = Rows(goal, {"value": 0.81, "to_target": {"steps": 100, "train_seconds": 10.0}})
    judge = Forecaster(cast(Any, study), recipe(), "accuracy", TOTAL)
    fast = curve_to(0.9, 8)
    fast.train_seconds = 1.0
    assert fast.values[-1][0] > 100
    assert not judge.hopeless(fast)
    fast.train_seconds = 10.0
    assert judge.hopeless(fast)
