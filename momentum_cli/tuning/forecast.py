"""The pruner `extrapolate`: ends a trial whose extrapolated learning curve does not reach the best value so far."""

from __future__ import annotations

from momentum_cli.metrics import better, reaches
from momentum_cli.recipe.recipe import Recipe
from momentum_cli.tuning.laws import Forecast, forecast, plan_of
from momentum_cli.tuning.objective import best_value
from momentum_cli.tuning.study import Study
from momentum_cli.tuning.trial import Position

EARLIEST_PART = 0.4
"""Part of the way to what is predicted before which no trial is ended: there the intervals are too narrow."""


class Forecaster:
    """Judges one trial.

    A trial ends when fewer than one in twenty predictions is better than the best trial that is over: for a metric at
    the end of the budget; for a time to the target at the step at which that time is over, which a trial that has gone
    past it cannot beat anyway.

    Args:
        study: The study, with the trials that are over.
        recipe: Recipe of the trial.
        metric: The compared metric.
        total_steps: Planned steps.
    """

    def __init__(self, study: Study, recipe: Recipe, metric: str, total_steps: int) -> None:
        self._study = study
        self._metric = metric
        self._total = total_steps
        self._plan = plan_of(recipe, total_steps)
        self._goal = recipe.goal

    def hopeless(self, position: Position) -> bool:
        """Return True if the trial is to end here."""
        rows = [row for row in self._study.rows() if row["status"] == "done"]
        if (clock := self._study.objective.clock) is not None:
            fewest = min((float(row["to_target"][clock]) for row in rows if row["to_target"]), default=None)
            if fewest is None or self._goal is None or not position.values:
                return False
            step = position.values[-1][0]
            used = step if clock == "steps" else position.train_seconds
            if used >= fewest:
                return True
            # Steps of one run take the same time, those of another may not.
            last = step * fewest / used if used > 0 else self._total
            found = self._at(position, min(int(last), self._total))
            return found is not None and not reaches(self._metric, found.optimistic, self._goal[1])
        best = best_value(self._metric, [float(row["value"]) for row in rows if row["value"] is not None])
        if best is None:
            return False
        own = best_value(self._metric, [value for _, value in position.values])
        if own is not None and not better(self._metric, best, own):
            return False
        found = self._at(position, self._total)
        return found is not None and better(self._metric, best, found.optimistic)

    def _at(self, position: Position, step: int) -> Forecast | None:
        if not position.values or position.values[-1][0] < EARLIEST_PART * step:
            return None
        return forecast(self._metric, position.values, self._plan, step)
