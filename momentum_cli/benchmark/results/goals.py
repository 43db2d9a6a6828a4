"""Targets that a baseline sets: its own best value, which every cell then has to reach."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from momentum_cli.benchmark.plan.plan import Comparison, Plan
from momentum_cli.benchmark.results.files import read_points
from momentum_cli.benchmark.results.statistics import pooled
from momentum_cli.errors import RunError
from momentum_cli.metrics import METRICS

_BUDGETS = ("epochs", "max_steps", "max_seconds")


def with_goals(plan: Plan, results: Mapping[str, Mapping[str, Any]], folder: Path) -> Plan:
    """Return the plan with the targets that its baselines have set.

    Args:
        plan: what is compared; comparisons whose target is a number stay as they are.
        results: id of a run -> its result, those of the baselines at least.
        folder: of the benchmark.

    Raises:
        RunError: A run of a baseline did not reach the end of its budget.
    """
    changed = [
        comparison
        if comparison.leader is None
        else replace(comparison, goals=_goals(comparison, plan, results, folder))
        for comparison in plan.comparisons
    ]
    return replace(plan, comparisons=tuple(changed))


def _goals(
    comparison: Comparison, plan: Plan, results: Mapping[str, Mapping[str, Any]], folder: Path
) -> dict[int, float]:
    leader, target = comparison.leader, comparison.target
    assert leader is not None
    assert target is not None
    best = max if METRICS[target.metric].higher_is_better else min
    found: dict[int, float] = {}
    for seed in plan.seeds:
        run = comparison.run(leader, seed)
        result = results[run.id]
        values = [point.value for point in read_points(folder, run.id, target.metric)]
        known = [value for value in values if not math.isnan(value)]
        if result["stop_reason"] not in _BUDGETS or not known:
            why = result["error"] or f"it has no {target.metric} that is a number"
            raise RunError(
                f"--target baseline: {run.id} did not reach the end of its budget ({why}), so it sets no target; give "
                "a number with --target, or another --baseline"
            )
        found[seed] = best(known)
    if target.pooled:
        return dict.fromkeys(found, pooled(target.metric, list(found.values())))
    return found
