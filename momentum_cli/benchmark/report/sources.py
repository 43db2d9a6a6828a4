"""The sources of a report: benchmarks and trainings, read from their folders, from one machine by default."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from momentum_cli.benchmark.results.files import (
    CURVES,
    TRACES,
    read_bench,
    read_curves,
    read_numbers,
    read_trace,
    read_traces,
)
from momentum_cli.benchmark.results.statistics import Point, Traces
from momentum_cli.benchmark.results.summary import summarise_runs
from momentum_cli.benchmark.running.folder import BENCH
from momentum_cli.errors import DataError, RecipeError
from momentum_cli.reading import parse_json, read_text
from momentum_cli.runs.metrics_log import read_metrics
from momentum_cli.tuning.folder import read_plan

# Times depend on these; sources that differ in one of them are put into one report only with --force.
MACHINE = ("cpu", "cores", "threads", "devices", "torch")


@dataclass(frozen=True)
class Source:
    """One benchmark, or all given trainings.

    Args:
        name: its name in the report.
        summary: in the form of bench.json.
        points: id of a run -> its evaluations.
        machine: the facts that times depend on.
        environment: environment of the process that measured.
        traces: id of a run -> diagnostics of its optimizer.
    """

    name: str
    summary: dict[str, Any]
    points: dict[str, list[Point]]
    machine: dict[str, Any]
    environment: dict[str, Any]
    traces: Traces = field(default_factory=dict)


def read_sources(paths: Sequence[Path]) -> list[Source]:
    """Read benchmarks and trainings in the order given, with trainings together at the end.

    Raises:
        DataError: A folder is neither, unfinished, or damaged.
    """
    sources, runs = [], []
    for path in paths:
        folder = path.parent if path.name in (BENCH, "result.json") else path
        if os.path.lexists(folder / BENCH):
            sources.append(_bench(folder))
        elif os.path.lexists(folder / "result.json"):
            runs.append(folder)
        elif not folder.exists():
            raise DataError(f"{path}: no such folder")
        elif read_plan(folder) is not None:
            raise DataError(f"{path} is a search: finish it by the same momentumrnn tune, and name it alone")
        else:
            raise DataError(f"{path} holds neither {BENCH} nor result.json; name a finished benchmark or run")
    names = [source.name for source in sources]
    if len(set(names)) != len(names):
        raise DataError("the same benchmark is given twice")
    return sources + ([_runs(runs)] if runs else [])


def differences(sources: Sequence[Source]) -> list[str]:
    """Return descriptions of how the machines of the sources differ."""
    machines = [(source.name, source.machine) for source in sources]
    for source in sources:
        machines += [(name, other) for name, other in source.summary.get("machines", {}).items()]
        machines += [(source.name, other) for other in source.summary.get("earlier_machines", ())]
    found = []
    for key in MACHINE:
        values: dict[str, dict[str, None]] = {}
        for name, where in machines:
            values.setdefault(json.dumps(where.get(key)), {})[name] = None
        if len(values) > 1:
            words = "; ".join(f"{json.loads(value)} ({', '.join(names)})" for value, names in values.items())
            found.append(f"{key}: {words}")
    return found


def require_one_machine(sources: Sequence[Source]) -> None:
    """Raise RecipeError when the sources were measured on different machines.

    A benchmark scored in steps that was resumed on another machine shows no seconds; on its own it only gets a warning.
    """
    if len(sources) == 1 and sources[0].summary.get("earlier_machines"):
        return
    found = differences(sources)
    if found:
        raise RecipeError(
            f"these results are from different machines, so their times cannot be compared ({' | '.join(found)}); "
            "--force puts them into one report that says so"
        )


def _bench(folder: Path) -> Source:
    content = read_bench(folder)
    curves = read_curves(folder / CURVES)
    traces = read_traces(folder / TRACES)
    return Source(str(folder), content, curves, content["machine"], content["environment"], traces)


def _runs(folders: Sequence[Path]) -> Source:
    results: list[dict[str, Any]] = []
    points: dict[str, list[Point]] = {}
    traces: dict[str, dict[str, list[tuple[int, float]]]] = {}
    machines: dict[str, dict[str, Any]] = {}
    for folder in folders:
        result = read_result(folder)
        name = folder.name or folder.resolve().name
        if any(name == other["id"] for other in results):
            name = str(folder)
        results.append({**result, "id": name})
        metric = result["target"]["metric"] if result["target"] else (result["best"] or {}).get("metric", "loss")
        split = result["selected_on"]
        points[name] = [
            Point(row["step"], row["samples"], row["train_seconds"], row["wall_seconds"], row[metric])
            for row in read_metrics(folder, "eval")
            if metric in row and row.get("split") == split
        ]
        if trace := read_trace(folder):
            traces[name] = trace
        environment = result.get("environment") or _environment(folder)
        machines[name] = machine_of(environment, result["threads"])
    summary = summarise_runs(results, points) | {"machines": machines}
    return Source("runs", summary, points, machines[results[0]["id"]], _environment(folders[0]), traces)


def read_result(folder: Path) -> dict[str, Any]:
    """Return the result of a finished training.

    Raises:
        DataError: It cannot be read, or is no such result.
    """
    try:
        result = read_numbers(read_text(folder / "result.json"))
    except ValueError as error:
        raise DataError(f"{folder / 'result.json'} cannot be read: {error}") from error
    needed = ("task", "cell", "seed", "target", "best", "recipe", "selected_on", "threads", "steps")
    if not isinstance(result, dict) or any(key not in result for key in needed):
        raise DataError(f"{folder / 'result.json'} is not the result of a training")
    return result


def _environment(folder: Path) -> dict[str, Any]:
    try:
        content = parse_json(read_text(folder / "environment.json"))
    except (DataError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def machine_of(environment: Mapping[str, Any], threads: int | None) -> dict[str, Any]:
    """Return the facts that times depend on."""
    cpu = environment.get("cpu") or {}
    return {
        "cpu": cpu.get("name"),
        "cores": cpu.get("cores"),
        "threads": threads,
        "devices": [device["name"] for device in environment.get("devices") or []],
        "torch": (environment.get("packages") or {}).get("torch"),
    }
