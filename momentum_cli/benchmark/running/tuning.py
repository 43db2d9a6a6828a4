"""Choosing each cell's options before the comparison: the same search space and the same number of trials for all.

Trial k is point k of one scrambled Sobol sequence, see `momentum_cli.tuning.points`; a cell uses the coordinates of the
options that it has. So all cells are tried with the same learning rates, and all cells with a momentum with the same
momenta.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from momentum_cli.benchmark.plan.plan import Comparison, Entry, Plan, run_spec
from momentum_cli.benchmark.running.runner import Setting, execute
from momentum_cli.errors import RecipeError
from momentum_cli.messages import counted
from momentum_cli.recipe.axes import Axis, Value
from momentum_cli.recipe.building import load_data
from momentum_cli.tuning.objective import BestMetric, Objective, ToTarget
from momentum_cli.tuning.points import sobol
from momentum_cli.tuning.space import CELL_AXES, LR_FACTOR, Space, default_axes

# In the order of the coordinates; add new ones at the end, or earlier benchmarks could not be repeated.
COORDINATES = ("lr", *CELL_AXES)


def points(count: int) -> list[dict[str, float]]:
    """Return the first `count` points of a fixed sequence in the unit cube: name of a coordinate -> place in [0, 1)."""
    return sobol(count, COORDINATES)


def trial(entry: Entry, point: Mapping[str, float]) -> tuple[Entry, dict[str, Value]]:
    """Return an entry with the options of a trial, and these options; those fixed by its variant are kept."""
    fixed = {text.partition("=")[0].rpartition(".")[2] for text in entry.variant.options}
    if entry.optimizer is not None and entry.optimizer.own_rate:
        fixed.add("lr")
    space = Space(
        entry.recipe, {key: axis for key, axis in default_axes(entry.recipe).items() if _name(key) not in fixed}
    )

    def pick(key: str, axis: Axis) -> Value:
        return axis.at(point[_name(key)])

    values = space.draw(pick)
    return replace(entry, recipe=space.recipe_of(values)), {_name(key): value for key, value in values.items()}


def _name(key: str) -> str:
    return key.rpartition(".")[2]


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
    tables: dict[str, list[list[tuple[Entry, dict[str, Value]]]]] = {}
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
    results = execute(f"tuning, {counted(trials, 'trial')} per cell", groups, setting)
    rows = []
    for comparison in plan.comparisons:
        chosen, told = _winners(comparison, tables[comparison.name], seed, results)
        plan = plan.with_entries(comparison.name, chosen)
        rows += told
    space = {"lr": [1 / LR_FACTOR, LR_FACTOR]} | {name: [axis.low, axis.high] for name, axis in CELL_AXES.items()}
    return plan, {"trials": trials, "seed": seed, "space": space, "cells": rows}


def _winners(
    comparison: Comparison,
    table: Sequence[Sequence[tuple[Entry, dict[str, Value]]]],
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
    ranked = [(_objective(outcome).key(_row(outcome)), n) for n, outcome in enumerate(outcomes) if outcome["best"]]
    return min(ranked)[1] if ranked else None


def _objective(outcome: Mapping[str, Any]) -> Objective:
    metric, target = outcome["best"]["metric"], outcome["target"]
    return BestMetric(metric) if target is None else ToTarget("steps", metric, target["value"])


def _row(outcome: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts that an objective needs; for a miss, the headline metric counts."""
    value, target = outcome["best"]["value"], outcome["target"]
    reached = {"steps": target["steps"]} if target and target["reached"] else None
    return {"best": value, "value": value, "to_target": reached, "steps": 0}
