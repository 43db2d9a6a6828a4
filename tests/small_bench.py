"""A benchmark that takes a second, the adding problem with six steps, and results made up without training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from momentum_cli.benchmark.plan.plan import Plan, run_spec
from momentum_cli.benchmark.plan.planning import make_plan
from momentum_cli.benchmark.results.statistics import Point
from momentum_cli.progress import NullBenchUi, RunState

RECIPE = """
task: {name: adding, length: 6, train_size: 96, validation_size: 64, test_size: 64}
model: {cell: lstm, hidden_size: 8}
optimizer: {name: adam, lr: 0.01}
train: {max_steps: 24, batch_size: 16, eval_every_n_steps: 4, seed: 0}
target: {metric: mse, value: 0.0001}
"""
GRID = 4


def write_recipe(folder: Path, name: str = "small", **changes: str) -> str:
    """Write the small recipe and return its path; `changes` replace sections."""
    text = RECIPE
    for section, line in changes.items():
        text = "\n".join(f"{section}: {line}" if row.startswith(f"{section}:") else row for row in text.splitlines())
    path = folder / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def small_plan(folder: Path, cells: str = "lstm,momentum", seeds: str = "0-1", **options: Any) -> Plan:
    """Return a plan of the small recipe."""
    return make_plan([write_recipe(folder)], cells=[cells], seeds=seeds, **options)


class RecordingUi(NullBenchUi):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.states: list[RunState] = []
        self.notes: list[str] = []

    def update(self, state: RunState) -> None:
        self.states.append(state)

    def note(self, text: str, level: str = "info") -> None:
        self.notes.append(text)


def curve(values: Sequence[float], seconds_a_step: float) -> list[Point]:
    """Evaluations every `GRID` steps of 16 samples."""
    return [
        Point(GRID * i, 16 * GRID * i, GRID * i * seconds_a_step, GRID * i * seconds_a_step + i, value)
        for i, value in enumerate(values, start=1)
    ]


def made_up(plan: Plan, curves: dict[str, Sequence[Sequence[float]]], seconds_a_step: dict[str, float]) -> Any:
    """Return results and points as a run of the plan would have left them.

    Args:
        curves: label -> a list of values of the metric for each seed.
        seconds_a_step: label -> training seconds per step.
    """
    results: dict[str, dict[str, Any]] = {}
    points: dict[str, list[Point]] = {}
    for comparison in plan.comparisons:
        for entry in comparison.entries:
            for seed, values in zip(plan.seeds, curves[entry.label], strict=True):
                goal = comparison.goal(seed)
                assert goal is not None
                metric, wanted = goal
                sign = -1 if metric in ("mse", "loss") else 1
                run = run_spec(comparison.name, entry, seed).id
                points[run] = curve(values, seconds_a_step[entry.label])
                reached = any(sign * value >= sign * wanted for value in values)
                best = sign * max((sign * value for value in values), default=-math.inf)
                steps = GRID * len(values)
                seconds = steps * seconds_a_step[entry.label]
                results[run] = {
                    "id": run,
                    "comparison": comparison.name,
                    "label": entry.label,
                    "cell": entry.variant.cell,
                    "seed": seed,
                    "run_dir": f"runs/{run}",
                    "task": comparison.recipe.task.name,
                    "parameters": 100,
                    "device": "cpu",
                    "backend": "native",
                    "threads": 1,
                    "precision": "fp32",
                    "processes": 1,
                    "memory_bytes": 2**28,
                    "epochs": 1,
                    "steps": steps,
                    "samples": 16 * steps,
                    "train_seconds": seconds,
                    "wall_seconds": seconds + len(values),
                    "samples_per_second": 16 * steps / seconds if seconds else None,
                    "ms_per_step": 1000 * seconds_a_step[entry.label],
                    "validation": {metric: best} if values else None,
                    "test": {metric: best} if values else None,
                    "best": {"metric": metric, "value": best, "step": 4, "epoch": 1, "split": "validation", "file": "b"}
                    if values
                    else None,
                    "final": None,
                    "selected_on": "validation",
                    "target": {"metric": metric, "value": wanted, "reached": reached},
                    "stop_reason": "target" if reached else "max_steps",
                    "error": None,
                    "miss": None if reached else "target not reached within 24 steps",
                    "recipe": entry.seeded(seed).dump(),
                }
    return results, points
