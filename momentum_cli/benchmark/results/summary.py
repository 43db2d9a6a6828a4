"""The content of bench.json from the results of runs, as a pure function."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from momentum_cli.benchmark.plan.grid import Axis
from momentum_cli.benchmark.plan.plan import FEWEST_SEEDS, Comparison, Entry, Plan, run_spec
from momentum_cli.benchmark.results.rates import best_rate, robustness
from momentum_cli.benchmark.results.statistics import (
    LARGEST_RATIO,
    Point,
    Traces,
    bootstrap_interval,
    first_crossing,
    geometric_mean,
    mean_and_deviation,
    performance_ratios,
    pooled,
    profile_score,
    quartiles,
    speed_up,
)
from momentum_cli.benchmark.running.outcome import used_budget
from momentum_cli.recipe.building import build_task
from momentum_cli.recipe.sections import PublishedOptions

FORMAT = "momentumrnn bench"
FORMAT_VERSION = 1
CLOCKS = ("train_seconds", "steps", "samples", "wall_seconds")
FEWEST_FOR_PROFILE = 3


def summarise(
    plan: Plan,
    results: Mapping[str, Mapping[str, Any]],
    points: Mapping[str, Sequence[Point]],
    traces: Traces | None = None,
    *,
    scored: str = "train_seconds",
) -> dict[str, Any]:
    """Return the comparisons and their aggregate.

    With a grid of learning rates ``cells`` of a comparison are the arms at their best rate, and ``arms`` has them at
    every rate; with a grid over options ``grids`` has them at every point. ``published`` has what a paper reports.

    Args:
        plan: the plan of the benchmark.
        results: id of a run -> its result.json.
        points: id of a run -> its evaluations in the compared metric.
        traces: id of a run -> diagnostics of its optimizer.
        scored: the clock of speed-ups, "train_seconds" or "steps".

    Returns:
        JSON-able (infinities aside): ``scored``, ``seeds``, ``rates``, ``baseline``, ``anecdotal``, ``comparisons``,
        ``aggregate``.
    """
    known = traces or {}
    comparisons = [_comparison(plan, comparison, results, points, known, scored) for comparison in plan.comparisons]
    return {
        "scored": scored,
        "seeds": list(plan.seeds),
        "rates": list(plan.rates),
        "axes": [asdict(axis) for axis in plan.axes],
        "baseline": plan.baseline,
        "full": plan.full,
        "figure": plan.figure or None,
        "anecdotal": len(plan.seeds) < FEWEST_SEEDS,
        "comparisons": comparisons,
        "aggregate": _aggregate(comparisons, scored),
    }


def summarise_runs(results: Sequence[Mapping[str, Any]], points: Mapping[str, Sequence[Point]]) -> dict[str, Any]:
    """Return trainings outside a benchmark in the form of `summarise`.

    Args:
        results: contents of ``result.json``, each with an ``id``; runs with the same task, metric and target are a
            comparison.
        points: id of a run -> its evaluations in the compared metric.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        target = result["target"]
        metric = target["metric"] if target else (result["best"] or {}).get("metric", "loss")
        key = repr((result["task"], metric, target and target["value"], result["selected_on"]))
        pair = (metric, target["value"]) if target else None
        missing = {"memory_bytes": None, "error": None, "miss": "target not reached"}
        run = _run({**missing, **result, "label": result["id"]}, points.get(result["id"], ()), pair)
        groups.setdefault(key, []).append({"run": run, "result": result, "metric": metric, "target": pair})
    comparisons = [_side_by_side(group) for group in groups.values()]
    return {
        "scored": "train_seconds",
        "seeds": sorted({result["seed"] for result in results}),
        "baseline": results[0]["id"],
        "full": True,
        "single_runs": True,
        "anecdotal": True,
        "comparisons": comparisons,
        "aggregate": None,
    }


def _side_by_side(group: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    first = group[0]
    cells = []
    for entry in group:
        run, recipe = entry["run"], entry["result"]["recipe"]
        row = _cell([run])
        if first["target"] is not None:
            times = [first["run"]["to_target"]["train_seconds"]], [run["to_target"]["train_seconds"]]
            row |= {"speed_up": speed_up(*times), "speed_up_interval": None}
        dynamics = recipe["cells"].get(run["cell"], {})
        cells.append({"label": run["id"], "cell": run["cell"], "options": [], "dynamics": dynamics, **row})
    target = first["target"]
    return {
        "name": first["result"]["task"],
        "task": first["result"]["task"],
        "metric": first["metric"],
        "split": first["result"]["selected_on"],
        "target": None if target is None else {"metric": target[0], "value": target[1]},
        "recipe": first["result"]["recipe"],
        "recipes": {entry["run"]["id"]: entry["result"]["recipe"] for entry in group},
        "cells": cells,
        "naive": _naive([entry["result"] for entry in group]),
        "runs": [entry["run"] for entry in group],
    }


def _comparison(
    plan: Plan,
    comparison: Comparison,
    results: Mapping[str, Mapping[str, Any]],
    points: Mapping[str, Sequence[Point]],
    traces: Traces,
    scored: str,
) -> dict[str, Any]:
    runs = [
        _run(results[spec.id], points.get(spec.id, ()), comparison.goal(spec.seed))
        for entry in comparison.entries
        for spec in (run_spec(comparison.name, entry, seed) for seed in plan.seeds)
    ]
    metric, split = _watched(comparison, results, runs)
    sizes = build_task(comparison.recipe).sizes()
    arms: dict[str, list[dict[str, Any]]] = {}
    for entry in comparison.entries:
        mine = [run for run in runs if run["label"] == entry.label]
        arms.setdefault(entry.arm, []).append({**_names(entry), **_cell(mine), **_told(mine, traces)})
    chosen = {arm: best_rate(rows, metric) for arm, rows in arms.items()}
    cells = [arms[arm][index] for arm, index in chosen.items()]
    # In a published table not every recipe has every cell.
    first = plan.baseline if plan.baseline in arms else next(iter(arms))
    baseline = arms[first][chosen[first]]["label"]
    target = comparison.target
    if target is not None:
        base = [run["to_target"][scored] for run in runs if run["label"] == baseline]
        for row in cells:
            times = [run["to_target"][scored] for run in runs if run["label"] == row["label"]]
            row["speed_up"] = speed_up(base, times)
            interval = None if row["label"] == baseline else bootstrap_interval(base, times)
            row["speed_up_interval"] = None if interval is None else list(interval)
    return {
        "name": comparison.name,
        "task": comparison.recipe.task.name,
        "metric": metric,
        "split": split,
        "length": None if sizes is None else sizes.length,
        "target": _target(comparison, plan.seeds),
        "baseline": baseline,
        "recipe": comparison.recipe.dump(),
        "recipes": {entry.label: entry.recipe.dump() for entry in comparison.entries},
        "cells": cells,
        "arms": [_arm(plan.rates, rows, chosen[arm], target is not None) for arm, rows in arms.items()]
        if plan.rates
        else None,
        "grids": [_grid(plan.axes, rows, chosen[arm]) for arm, rows in arms.items()] if plan.axes else None,
        "published": None if comparison.published is None else _published(comparison, comparison.published),
        "naive": _naive([results[run["id"]] for run in runs]),
        "runs": runs,
    }


def _names(entry: Entry) -> dict[str, Any]:
    optimizer = entry.optimizer
    return {
        "label": entry.label,
        "arm": entry.arm,
        "cell": entry.variant.cell,
        "cell_label": entry.variant.label,
        "optimizer": entry.recipe.optimizer.name,
        "optimizer_label": None if optimizer is None else optimizer.label,
        "lr": entry.recipe.optimizer.lr,
        "options": list(entry.options),
        "dynamics": entry.recipe.cells.get(entry.variant.cell, {}),
    }


def _arm(rates: Sequence[float], rows: Sequence[Mapping[str, Any]], best: int, targeted: bool) -> dict[str, Any]:
    """Return a cell with its optimizer at every learning rate."""
    points = _points(rows)
    return _swept(rows, best) | {
        "options": rows[0]["options"],
        "best_lr": rates[best],
        "robustness": asdict(robustness(rates, [point["reached"] for point in points])) if targeted else None,
        "rates": points,
    }


def _grid(axes: Sequence[Axis], rows: Sequence[Mapping[str, Any]], best: int) -> dict[str, Any]:
    """Return a cell with its optimizer at every point of a grid over its options; the last option changes fastest."""
    values = itertools.product(*(axis.values for axis in axes))
    points = [point | {"values": list(at)} for point, at in zip(_points(rows), values, strict=True)]
    return _swept(rows, best) | {"axes": [asdict(axis) for axis in axes], "points": points}


def _swept(rows: Sequence[Mapping[str, Any]], best: int) -> dict[str, Any]:
    same = ("arm", "cell", "cell_label", "optimizer", "optimizer_label")
    return {key: rows[0][key] for key in same} | {"best": rows[best]["label"]}


def _points(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    keys = ("label", "lr", "runs", "hits", "best", "steps", "train_seconds")
    return [{key: row[key] for key in keys} | {"reached": math.isfinite(row["steps"]["median"])} for row in rows]


def _published(comparison: Comparison, known: Mapping[str, PublishedOptions]) -> dict[str, Any]:
    """Return the published results of each entry; a cell with changed options is not the published one."""
    return {
        entry.label: known[entry.variant.cell].model_dump()
        for entry in comparison.entries
        if entry.variant.cell in known and not entry.options
    }


def _told(runs: Sequence[Mapping[str, Any]], traces: Traces) -> dict[str, Any]:
    """Return the median and the quartiles of the optimizer's diagnostics, over all logged steps of all seeds."""
    values: dict[str, list[float]] = {}
    for run in runs:
        for name, trace in traces.get(run["id"], {}).items():
            values.setdefault(name, []).extend(value for _, value in trace if math.isfinite(value))
    found = {name: quartiles(row) for name, row in values.items() if row}
    return {"diagnostics": {name: dict(zip(("q1", "median", "q3"), row, strict=True)) for name, row in found.items()}}


def _target(comparison: Comparison, seeds: Sequence[int]) -> dict[str, Any] | None:
    """Return the target; that of a baseline has ``values``, one per seed, and their median as ``value``."""
    target = comparison.target
    if target is None:
        return None
    if comparison.leader is None:
        return {"metric": target.metric, "value": target.value}
    values = [comparison.goals[seed] for seed in seeds]
    found = {"metric": target.metric, "value": pooled(target.metric, values), "values": values}
    return found | {"baseline": target.baseline, "pooled": target.pooled}


def _watched(
    comparison: Comparison, results: Mapping[str, Mapping[str, Any]], runs: Sequence[Mapping[str, Any]]
) -> tuple[str, str]:
    """Return the compared metric and its split, guessed if all runs failed."""
    known = [results[run["id"]] for run in runs if results[run["id"]]["best"]]
    split = known[0]["selected_on"] if known else "validation"
    if comparison.target is not None:
        return comparison.target.metric, split
    return (known[0]["best"]["metric"] if known else "loss"), split


def _run(result: Mapping[str, Any], points: Sequence[Point], target: tuple[str, float] | None) -> dict[str, Any]:
    crossing = None if target is None else first_crossing(points, *target)
    at = {
        "train_seconds": math.inf if crossing is None else crossing.train_seconds,
        "steps": math.inf if crossing is None else crossing.step,
        "samples": math.inf if crossing is None else crossing.samples,
        "wall_seconds": math.inf if crossing is None else crossing.wall_seconds,
    }
    # A run to the end of its budget may have been made for another target, or for none.
    missed = None if target is None else f"target not reached within {used_budget(result)}"
    best = result["best"]
    metric = target[0] if target is not None else best["metric"] if best else None
    chosen = result["validation"] if result["selected_on"] == "validation" else result["test"]
    keys = ("id", "label", "cell", "seed", "steps", "samples", "epochs", "train_seconds", "wall_seconds", "ms_per_step")
    also = ("parameters", "backend", "device", "threads", "memory_bytes", "stop_reason", "error")
    return {key: result[key] for key in (*keys, *also)} | {
        "reached": crossing is not None,
        "to_target": at,
        "target": None if target is None else target[1],
        "miss": None if crossing is not None else result["miss"] or missed,
        "best": (chosen or {}).get(metric),
        "best_step": best["step"] if best else None,
        "test": (result["test"] or {}).get(metric),
    }


def _naive(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the naive predictors on the test set, which are the same for all runs on the same data; [] if unknown."""
    return next((list(result["baselines"]) for result in results if result.get("baselines")), [])


def _cell(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "runs": len(runs),
        "hits": sum(run["reached"] for run in runs),
        "misses": [{"seed": run["seed"], "reason": run["miss"]} for run in runs if run["miss"]],
        "parameters": _first(runs, "parameters"),
        "backend": _first(runs, "backend"),
        "device": _first(runs, "device"),
    }
    for clock in CLOCKS:
        times = [run["to_target"][clock] for run in runs]
        row[clock] = {"median": float(median(times)), "min": min(times), "max": max(times)}
    for name in ("best", "test"):
        values = [run[name] for run in runs if run[name] is not None]
        mean, deviation = mean_and_deviation(values) if values else (None, None)
        row[name] = {"mean": mean, "sd": deviation, "runs": len(values)}
    for name in ("ms_per_step", "memory_bytes"):
        values = [run[name] for run in runs if run[name] is not None]
        row[name] = float(median(values)) if values else None
    return row


def _first(runs: Sequence[Mapping[str, Any]], key: str) -> Any:
    return next((run[key] for run in runs if run[key] is not None), None)


def _aggregate(comparisons: Sequence[Mapping[str, Any]], scored: str) -> dict[str, Any] | None:
    """Return the comparison over recipes, or None for one recipe or when a recipe has no target."""
    if len(comparisons) < 2 or any(comparison["target"] is None for comparison in comparisons):
        return None
    held = [{cell["arm"] for cell in comparison["cells"]} for comparison in comparisons]
    labels = [cell["arm"] for cell in comparisons[0]["cells"] if all(cell["arm"] in arms for arms in held)]
    if not labels:
        return None
    column = {label: [_row(comparison, label) for comparison in comparisons] for label in labels}
    times = {label: [row[scored]["median"] for row in rows] for label, rows in column.items()}
    ratios = performance_ratios(times)
    profile = len(comparisons) >= FEWEST_FOR_PROFILE
    return {
        "recipes": [comparison["name"] for comparison in comparisons],
        "largest_ratio": LARGEST_RATIO,
        "cells": [
            {
                "label": label,
                "hits": sum(row["hits"] for row in rows),
                "runs": sum(row["runs"] for row in rows),
                "ratios": ratios[label],
                "score": profile_score(ratios[label]) if profile else None,
                "speed_ups": [row["speed_up"] for row in rows],
                "geometric_mean": geometric_mean([row["speed_up"] for row in rows]),
            }
            for label, rows in column.items()
        ],
    }


def _row(comparison: Mapping[str, Any], arm: str) -> Mapping[str, Any]:
    row: Mapping[str, Any] = next(cell for cell in comparison["cells"] if cell["arm"] == arm)
    return row
