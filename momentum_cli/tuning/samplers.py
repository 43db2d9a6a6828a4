"""Samplers of Optuna, made anew for every trial from the trial's place, so that a resumed search draws the same points.

The random numbers of a sampler that lived as long as its process would begin again in the next process.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler

from momentum_cli.tuning.points import quasi_random
from momentum_cli.tuning.space import Space, Values

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial, TrialState

STARTUP_TRIALS = 10
"""Trials at quasi-random points before a sampler that learns has something to learn from."""


def _tpe(seed: int, space: Space) -> BaseSampler:
    # Other workers' running trials count as bad, so that no two try the same point.
    return TPESampler(
        seed=seed, n_startup_trials=0, multivariate=True, group=len(_names(space)) > 0, constant_liar=True
    )


def _gp(seed: int, space: Space) -> BaseSampler:
    return GPSampler(seed=seed, n_startup_trials=0, deterministic_objective=False)


def _random(seed: int, space: Space) -> BaseSampler:
    return RandomSampler(seed=seed)


def _names(space: Space) -> list[str]:
    from momentum_cli.recipe.tuning import NAMES

    return [key for key in space.keys if key in NAMES]


LEARNING: dict[str, Callable[[int, Space], BaseSampler]] = {"tpe": _tpe, "gp": _gp}
"""Samplers that learn from the trials so far."""


def scripted(sampler: str, space: Space, trials: int, seed: int) -> list[Values]:
    """Return the points of the first trials, which do not depend on other trials.

    The first point is the recipe's own, where it is in the space, so that a search never ends worse than it began; not
    on a grid, which has its own points.

    Args:
        sampler: Name in the section `tune`.
        space: The search space.
        trials: Trials of the search.
        seed: Seed of the sampler.
    """
    if sampler == "grid":
        return space.grid()
    own = space.own()
    first = [] if own is None else [own]
    if sampler == "random":
        return first
    count = trials if sampler == "qmc" else min(trials, STARTUP_TRIALS)
    return [*first, *quasi_random(space, count, seed)][:count]


class Placed(BaseSampler):
    """Draws the point of a trial by its place: a scripted one, or one from a sampler made for this trial.

    Args:
        make: Returns the sampler for a seed.
        points: Scripted points of the first places.
        seed: Seed of the search.
        place_of: Returns the place of a trial.
    """

    def __init__(
        self,
        make: Callable[[int], BaseSampler],
        points: Sequence[Values],
        seed: int,
        place_of: Callable[[FrozenTrial], int],
    ) -> None:
        self._make = make
        self._points = points
        self._seed = seed
        self._place_of = place_of
        self._current: tuple[int, BaseSampler] | None = None

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        if self._place_of(trial) < len(self._points):
            return {}
        with _quiet():
            return self._inner(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if self._place_of(trial) < len(self._points):
            return {}
        with _quiet():
            return self._inner(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        place = self._place_of(trial)
        if place < len(self._points) and param_name in self._points[place]:
            return self._points[place][param_name]
        with _quiet():
            return self._inner(trial).sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Keep nothing: the next trial has a sampler of its own."""

    def _inner(self, trial: FrozenTrial) -> BaseSampler:
        if self._current is None or self._current[0] != trial.number:
            with _quiet():
                # Far apart, because some samplers draw several seeds from one.
                self._current = trial.number, self._make((self._seed + 7919 * self._place_of(trial)) % 2**32)
        return self._current[1]


class _quiet(warnings.catch_warnings):  # noqa: N801 - used like a function
    """Inside the block Optuna does not warn that what we use is experimental; the versions are bounded instead."""

    def __enter__(self) -> Any:
        entered = super().__enter__()
        warnings.simplefilter("ignore")
        return entered


def make_sampler(sampler: str, space: Space, trials: int, seed: int, place_of: Callable[[FrozenTrial], int]) -> Placed:
    """Return the sampler of a search.

    Args:
        sampler: Name in the section `tune`.
        space, trials, seed: As for `scripted`.
        place_of: Returns the place of a trial.
    """
    make = LEARNING.get(sampler, _random)
    return Placed(lambda own: make(own, space), scripted(sampler, space, trials, seed), seed, place_of)
