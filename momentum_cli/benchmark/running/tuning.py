"""Choosing each cell's options before the comparison: the same search space and the same number of trials for all.

Trial k is point k of one scrambled Sobol sequence; a cell uses the coordinates of the options that it has. So all cells
are tried with the same learning rates, and all cells with a momentum with the same momenta.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from momentum_cli.benchmark.plan.plan import Comparison, Entry, Plan, run_spec
from momentum_cli.benchmark.running.runner import Setting, execute
from momentum_cli.errors import RecipeError
from momentum_cli.metrics import better
from momentum_cli.recipe.building import load_data


@dataclass(frozen=True)
class Axis:
    """A coordinate of the search space.

    Args:
        low, high: range of the value, or of a factor on the recipe's value if `relative`.
        log: uniform in the logarithm.
        whole: integers.
        relative: multiplies the recipe's value.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False
    relative: bool = False

    def value(self, place: float, own: float = 1.0) -> float | int:
        """Return the value at `place` in [0, 1)."""
        if self.log:
            found = math.exp(math.log(self.low) + place * math.log(self.high / self.low))
        else:
            found = self.low + place * (self.high - self.low)
        found = found * own if self.relative else found
        # Four digits suffice for a learning rate and keep the recipe readable.
        return round(found) if self.whole else float(f"{found:.4g}")


# In the order of the coordinates; add new ones at the end, or earlier benchmarks could not be repeated.
SPACE: dict[str, Axis] = {
    "lr": Axis(0.1, 10.0, log=True, relative=True),
    "momentum": Axis(0.0, 0.95),
    "step_size": Axis(0.1, 3.0, log=True),
    "beta2": Axis(0.0, 0.999),
    "restart_every": Axis(2, 64, log=True, whole=True),
}


def points(count: int) -> list[dict[str, float]]:
    """Return the first `count` points of a fixed sequence in the unit cube: name of a coordinate -> value in [0, 1).

    Reference: Owen, Randomly permuted (t, m, s)-nets and (t, s)-sequences, 1995 (torch.quasirandom.SobolEngine).
    """
    import torch

    engine = torch.quasirandom.SobolEngine(len(SPACE), scramble=True, seed=0)  # type: ignore[no-untyped-call]
    rows = engine.draw(count, dtype=torch.float64).tolist()
    return [dict(zip(SPACE, row, strict=True)) for row in rows]


def trial(entry: Entry, point: Mapping[str, float]) -> tuple[Entry, dict[str, float | int]]:
    """Return an entry with the options of a trial, and these options; those fixed by its variant are kept."""
    fixed = {text.partition("=")[0] for text in entry.variant.options}
    if entry.optimizer is not None and entry.optimizer.own_rate:
        fixed.add("optimizer.lr")
    cell = entry.variant.cell
    own = entry.recipe.cells.get(cell, {})
    chosen: dict[str, float | int] = {}
    changes = []
    if "optimizer.lr" not in fixed:
        chosen["lr"] = SPACE["lr"].value(point["lr"], entry.recipe.optimizer.lr)
        changes.append(f"optimizer.lr={chosen['lr']!r}")
    for name in own:
        if name in SPACE and name not in fixed:
            chosen[name] = SPACE[name].value(point[name])
            changes.append(f"cells.{cell}.{name}={chosen[name]!r}")
    return replace(entry, recipe=entry.recipe.override(*changes)), chosen


def tune(plan: Plan, trials: int, setting: Setting) -> tuple[Plan, dict[str, Any]]:
    """Make the trials of every cell on every recipe, and return the plan with the best options, and the cost.

    All trials use one seed that is not in the comparison. The best trial is the one that reaches the target in the
    fewest steps on validation; if none does, the one with the best metric.

    Args:
        plan: the plan of the comparison.
        trials: trials per cell, >= 1.
        setting: see `Setting`.

    Raises:
        RecipeError: A recipe has no validation set: the test set must not choose.
    """
    seed = max(plan.seeds) + 1
    places = points(trials)
    tables: dict[str, list[list[tuple[Entry, dict[str, float | int]]]]] = {}
    groups = []
    for comparison in plan.comparisons:
        if load_data(comparison.recipe, setting.data_dir, setting.ui).validation is None:
            raise RecipeError(
                f"--tuned: {comparison.name} has no validation set, and the test set must not choose options; give it "
                "one with task.validation"
            )
        table = [[trial(entry, place) for entry in comparison.entries] for place in places]
        tables[comparison.name] = table
        for number, row in enumerate(table):
            groups.append([run_spec(comparison.name, entry, seed, f"trial{number}") for entry, _ in row])
    results = execute(f"tuning, {trials} trials per cell", groups, setting)
    rows = []
    for comparison in plan.comparisons:
        chosen, told = _winners(comparison, tables[comparison.name], seed, results)
        plan = plan.with_entries(comparison.name, chosen)
        rows += told
    space = {name: [axis.low, axis.high] for name, axis in SPACE.items()}
    return plan, {"trials": trials, "seed": seed, "space": space, "cells": rows}


def _winners(
    comparison: Comparison,
    table: Sequence[Sequence[tuple[Entry, dict[str, float | int]]]],
    seed: int,
    results: Mapping[str, Mapping[str, Any]],
) -> tuple[list[Entry], list[dict[str, Any]]]:
    entries, rows = [], []
    for column, entry in enumerate(comparison.entries):
        mine = [row[column] for row in table]
        outcomes = [
            results[run_spec(comparison.name, candidate, seed, f"trial{number}").id]
            for number, (candidate, _) in enumerate(mine)
        ]
        place = best_trial(outcomes)
        winner, options = (entry, {}) if place is None else mine[place]
        entries.append(winner)
        rows.append(
            {
                "comparison": comparison.name,
                "label": entry.label,
                "trials": len(outcomes),
                "reached": sum(bool(o["target"] and o["target"]["reached"]) for o in outcomes),
                "failed": sum(o["error"] is not None for o in outcomes),
                "train_seconds": math.fsum(o["train_seconds"] for o in outcomes),
                "wall_seconds": math.fsum(o["wall_seconds"] for o in outcomes),
                "steps": sum(o["steps"] for o in outcomes),
                "chosen": options,
            }
        )
    return entries, rows


def best_trial(outcomes: Sequence[Mapping[str, Any]]) -> int | None:
    """Return the index of the best trial: fewest steps to the target, then the best metric; None if all failed.

    Steps, not seconds, so that the choice is the same on a busy machine. Of equal ones the first wins.
    """
    best: int | None = None
    for number, outcome in enumerate(outcomes):
        if outcome["best"] is None:
            continue
        if best is None or _better(outcome, outcomes[best]):
            best = number
    return best


def _better(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    steps = [o["target"]["steps"] if o["target"] and o["target"]["reached"] else math.inf for o in (one, other)]
    if steps[0] != steps[1]:
        return bool(steps[0] < steps[1])
    value, against = one["best"]["value"], other["best"]["value"]
    return steps[0] == math.inf and (math.isnan(against) or better(one["best"]["metric"], value, against))
