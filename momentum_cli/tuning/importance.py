"""Importance of the keys of a search space for the score."""

from __future__ import annotations

import warnings

from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState

from momentum_cli.tuning.study import Study

_FEWEST_TRIALS = 8


def importance_of(study: Study) -> dict[str, float]:
    """Return the share of each key in the difference between better and worse trials, 0 to 1, the largest first.

    Keys that have an effect in only some trials are left out, because their shares could not be compared. Empty for
    fewer than eight trials that were not pruned and did not fail, or if all scores are equal.

    Reference: Watanabe, Bansal and Hutter, PED-ANOVA, 2023, arXiv 2304.10255 (optuna.importance).
    """
    done = [trial for trial in study.optuna.get_trials(deepcopy=False) if trial.state == TrialState.COMPLETE]
    if len(done) < _FEWEST_TRIALS or len({trial.value for trial in done}) < 2:
        return {}
    everywhere = [name for name in done[0].params if all(name in trial.params for trial in done)]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = get_param_importances(study.optuna, evaluator=PedAnovaImportanceEvaluator(), params=everywhere)
    except (ValueError, RuntimeError):
        return {}
    return {name: float(part) for name, part in found.items()}
