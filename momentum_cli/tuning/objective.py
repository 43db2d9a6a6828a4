"""The goal of a search: the best value of a metric, or the fewest steps or training seconds to the target."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from momentum_cli.errors import RecipeError
from momentum_cli.messages import plural
from momentum_cli.metrics import METRICS, better
from momentum_cli.recipe.recipe import Recipe
from momentum_cli.wording import count_text, metric_text, time_text


class Objective(Protocol):
    """A score for each run, and its direction."""

    @property
    def maximize(self) -> bool:
        """True if higher scores are better."""

    @property
    def clock(self) -> str | None:
        """The clock of the target, ``"steps"`` or ``"train_seconds"``; None for the best value of a metric."""

    def score(self, row: Mapping[str, Any]) -> float | None:
        """Return the number of a finished trial; None if it has none.

        Args:
            row: ``best`` value of the headline metric and ``value`` of the target's, None without any; ``steps`` and
                ``train_seconds`` used; ``to_target`` with both, None if it was not reached.
        """

    def sign(self) -> float:
        """Return the factor that gives a metric during a run the direction of the scores."""

    def text(self, row: Mapping[str, Any]) -> str:
        """Return the score of a trial in words."""

    def key(self, row: Mapping[str, Any]) -> tuple[float, float]:
        """Return the sort key of trials, the best one first."""


def _rank(metric: str, value: float | None) -> float:
    """Return a number that is smaller for a better value, infinity for none."""
    if value is None or math.isnan(value):
        return math.inf
    return -value if METRICS[metric].higher_is_better else value


@dataclass(frozen=True)
class BestMetric:
    """The best value of the headline metric on the selection split."""

    metric: str
    clock: None = None

    @property
    def maximize(self) -> bool:
        return METRICS[self.metric].higher_is_better

    def score(self, row: Mapping[str, Any]) -> float | None:
        return None if row["best"] is None or not math.isfinite(row["best"]) else float(row["best"])

    def sign(self) -> float:
        return 1.0

    def text(self, row: Mapping[str, Any]) -> str:
        return metric_text(self.metric, row["best"])

    def key(self, row: Mapping[str, Any]) -> tuple[float, float]:
        return _rank(self.metric, row["best"]), row["steps"]


@dataclass(frozen=True)
class ToTarget:
    """Steps or training seconds until the target is reached.

    A run that misses the target has no such number. Its score is its used budget times (1 + m), where m in [0, 1] is
    the distance of its best value from the target as a share of the whole way. So a miss scores worse than the whole
    budget, but better the closer it came, and a sampler learns from misses; trials that missed rank after all that
    reached the target.

    Args:
        clock: ``"steps"`` or ``"train_seconds"``.
        metric: Metric of the target.
        value: Value of the target.
    """

    clock: str
    metric: str
    value: float
    maximize: bool = False

    def score(self, row: Mapping[str, Any]) -> float | None:
        if row["to_target"] is not None:
            return float(row["to_target"][self.clock])
        return None if row["value"] is None else float(row[self.clock]) * (1.0 + self.miss(row["value"]))

    def miss(self, value: float) -> float:
        """Return the distance of a value from the target: 0 at the target, 1 if nothing has been achieved."""
        if math.isnan(value):
            return 1.0
        if not METRICS[self.metric].higher_is_better:
            part = self.value / value if value > 0 else 1.0
        elif self.value > 0:
            part = value / self.value
        else:  # of a correlation, whose 0 is not nothing
            part = 1.0 - (self.value - value)
        return 1.0 - min(1.0, max(0.0, part))

    def sign(self) -> float:
        return -1.0 if METRICS[self.metric].higher_is_better else 1.0

    def text(self, row: Mapping[str, Any]) -> str:
        if row["to_target"] is None:
            return "missed"
        amount = row["to_target"][self.clock]
        return f"{count_text(amount)} {plural('step', amount)}" if self.clock == "steps" else f"{time_text(amount)} s"

    def key(self, row: Mapping[str, Any]) -> tuple[float, float]:
        reached = math.inf if row["to_target"] is None else float(row["to_target"][self.clock])
        return reached, _rank(self.metric, row["value"])


OBJECTIVES = {"metric": None, "steps_to_target": "steps", "seconds_to_target": "train_seconds"}
"""Objectives by name, with the clock of those that are times."""


def objective_of(recipe: Recipe, headline: str) -> Objective:
    """Return the objective of a recipe's section `tune`.

    Args:
        recipe: A recipe with such a section.
        headline: The headline metric of its data.

    Raises:
        RecipeError: It is a time to a target, and there is none.
    """
    assert recipe.tune is not None
    clock = OBJECTIVES[recipe.tune.objective]
    if clock is None:
        return BestMetric(headline)
    if recipe.goal is None:
        raise RecipeError(
            f"tune.objective {recipe.tune.objective}: the recipe has no target with a value; give one, such as "
            f"'target={{metric: {headline}, value: …}}', or take the objective metric"
        )
    return ToTarget(clock, *recipe.goal)


def best_value(metric: str, values: list[float]) -> float | None:
    """Return the best of the values that are numbers; None without any."""
    best: float | None = None
    for value in values:
        if not math.isnan(value) and (best is None or better(metric, value, best)):
            best = value
    return best
