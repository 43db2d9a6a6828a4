"""Pruners: which running trials are ended early, judged at each evaluation."""

from __future__ import annotations

from collections.abc import Callable

from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner

from momentum_cli.errors import RecipeError

_STARTUP_TRIALS = 5
_REDUCTION = 3


def _hyperband(evaluations: int) -> BasePruner:
    return HyperbandPruner(min_resource=1, max_resource=evaluations, reduction_factor=_REDUCTION)


def _median(evaluations: int) -> BasePruner:
    # In the first tenth of a run the order of trials says little.
    return MedianPruner(n_startup_trials=_STARTUP_TRIALS, n_warmup_steps=max(1, evaluations // 10))


PRUNERS: dict[str, Callable[[int], BasePruner]] = {
    "none": lambda evaluations: NopPruner(),
    "hyperband": _hyperband,
    "median": _median,
    # Judged by `momentum_cli.tuning.forecast`, not by Optuna.
    "extrapolate": lambda evaluations: NopPruner(),
}
"""Pruners by name, from the planned evaluations of a run."""


def make_pruner(name: str, evaluations: int | None) -> BasePruner:
    """Return the pruner of a search.

    Args:
        name: Name in the section `tune`.
        evaluations: Planned evaluations of a run; None if only time limits it.

    Raises:
        RecipeError: It needs a planned number of evaluations, more than one.
    """
    if name != "none" and (evaluations is None or evaluations < 2):
        raise RecipeError(
            f"tune.pruner {name}: a run must have more than one planned evaluation, got "
            f"{'no plan' if evaluations is None else evaluations}; set train.epochs or train.max_steps, or "
            "train.eval_every_n_steps, or take the pruner none"
        )
    return PRUNERS[name](evaluations or 1)
