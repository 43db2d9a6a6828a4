"""The result of a search: trials.csv, best.yaml, tune.json."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from momentum_cli.machine import environment
from momentum_cli.recipe.document import in_comment
from momentum_cli.recipe.recipe import to_yaml
from momentum_cli.runs.files import csv_cell, write_json, write_text
from momentum_cli.tuning.folder import RESULT
from momentum_cli.tuning.objective import Objective
from momentum_cli.tuning.space import Space, Values

FORMAT = "momentumrnn tune"
BEST, TABLE = "best.yaml", "trials.csv"
_COLUMNS = ("trial", "status", "score", "best", "value", "steps_to_target", "seconds_to_target")
_COSTS = ("steps", "train_seconds", "wall_seconds", "host", "parameters", "test", "error")


def ranking(rows: Sequence[Mapping[str, Any]], objective: Objective) -> list[Mapping[str, Any]]:
    """Return the trials that were neither pruned nor failed, the best one first; equal ones in their order."""
    return sorted((row for row in rows if row["status"] == "done"), key=objective.key)


def best_row(rows: Sequence[Mapping[str, Any]], objective: Objective) -> Mapping[str, Any] | None:
    """Return the best trial; None if no unpruned trial ended with a score."""
    return next((row for row in ranking(rows, objective) if objective.score(row) is not None), None)


def values_text(values: Mapping[str, Any], keys: Sequence[str] = ()) -> str:
    """Return drawn values in words: ``lr 0.01, momentum 0.6``.

    Args:
        values: Key -> value.
        keys: All keys of the search; their last parts are used where these differ.
    """
    names = short_names([*keys, *values])
    shown = []
    for key, value in values.items():
        number = isinstance(value, float) and not isinstance(value, bool)
        shown.append(f"{names[key]} {f'{value:.4g}' if number else value}")
    return ", ".join(shown)


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Return the last part of each key, or as many parts as it takes to tell them apart."""
    keys = list(dict.fromkeys(keys))
    names = {}
    for key in keys:
        parts = key.split(".")
        for count in range(1, len(parts) + 1):
            name = ".".join(parts[-count:])
            if sum(other in (key, name) or other.endswith(f".{name}") for other in keys) == 1:
                break
        names[key] = name
    return names


def write_table(path: Path, rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> None:
    """Write ``trials.csv``: one row per trial, with an empty cell for a key that had no effect."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow((*_COLUMNS, *keys, *_COSTS))
    for row in rows:
        to_target = row["to_target"] or {}
        cells = [row["trial"], row["status"], row["score"], row["best"], row["value"]]
        cells += [to_target.get("steps"), to_target.get("train_seconds")]
        cells += [row["values"].get(key) for key in keys] + [row.get(name) for name in _COSTS]
        writer.writerow([csv_cell(cell) for cell in cells])
    write_text(path, buffer.getvalue())


def write_best(path: Path, space: Space, values: Values, row: Mapping[str, Any], words: str) -> None:
    """Write ``best.yaml``, a recipe for `train` whose first line describes it."""
    recipe = space.recipe_of(values)
    lines = (f"The best of the trials of a search: trial {row['trial']}, {words}.", values_text(values))
    head = "".join(f"# {in_comment(line)}\n" for line in lines)
    write_text(path, head + to_yaml(recipe.dump()))


def summary_of(
    rows: Sequence[Mapping[str, Any]],
    space: Space,
    objective: Objective,
    *,
    folder: Path,
    plan: Mapping[str, Any],
    metric: str,
    importance: Mapping[str, float],
    over: bool,
) -> dict[str, Any]:
    """Return the content of ``tune.json``; `over` is True if all trials are done."""
    tune = plan["recipe"]["tune"]
    told = [{**row, "words": objective.text(row) if row["status"] == "done" else ""} for row in rows]
    best = best_row(told, objective)
    counts = {status: sum(row["status"] == status for row in rows) for status in ("done", "pruned", "failed")}
    return {
        "format": FORMAT,
        "format_version": 1,
        "folder": str(folder),
        "name": plan["name"],
        "task": plan["recipe"]["task"]["name"],
        "settings": tune,
        "keys": space.keys,
        "metric": metric,
        "target": plan["recipe"]["target"],
        "counts": counts,
        "over": over,
        "wall_seconds": math.fsum(row["wall_seconds"] for row in rows),
        "train_seconds": math.fsum(row["train_seconds"] for row in rows),
        "steps": sum(row["steps"] for row in rows),
        "best": best,
        "own": next((row for row in told if row["values"] == space.own()), None),
        "importance": dict(importance),
        "ranking": ranking(told, objective),
        "trials": told,
    }


def write_summary(folder: Path, summary: Mapping[str, Any]) -> dict[str, Any]:
    """Write ``tune.json`` and return its content."""
    whole = {**summary, "environment": environment()}
    write_json(folder / RESULT, whole)
    return whole
