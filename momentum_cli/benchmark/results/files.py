"""The files of a benchmark: bench.json with every number, runs.csv with every evaluation."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from momentum_cli.benchmark.results.statistics import Point, Traces
from momentum_cli.benchmark.results.summary import FORMAT, FORMAT_VERSION
from momentum_cli.benchmark.running.folder import BENCH, RUNS
from momentum_cli.errors import DataError, system_error
from momentum_cli.reading import check_regular, parse_json, read_text
from momentum_cli.runs.files import csv_cell, write_json, write_text
from momentum_cli.runs.metrics_log import diagnostic_names, read_metrics

CURVES = "runs.csv"
TRACES = "diagnostics.csv"
_COLUMNS = (
    *("run", "comparison", "cell", "seed", "step", "samples"),
    *("train_seconds", "wall_seconds", "metric", "metric_name"),
)


def read_points(folder: Path, run_id: str, metric: str) -> list[Point]:
    """Return the evaluations of a run in one metric; none if it failed before the first."""
    home = folder / RUNS / run_id
    if not os.path.lexists(home / "metrics.jsonl"):
        return []
    return [
        Point(row["step"], row["samples"], row["train_seconds"], row["wall_seconds"], row[metric])
        for row in read_metrics(home, "eval")
        if metric in row
    ]


def add_losses(content: Mapping[str, Any], folder: Path) -> None:
    """Give every run ``losses``: per evaluation its step, its epoch, the mean training loss since the last, its loss.

    The training loss is that of the steps that were logged (train.log_every_n_steps).

    Args:
        content: that of bench.json, changed in place.
        folder: of the benchmark.
    """
    for run in (run for comparison in content["comparisons"] for run in comparison["runs"]):
        home = folder / RUNS / run["id"]
        rows = read_metrics(home) if (home / "metrics.jsonl").is_file() else []
        since: list[float] = []
        run["losses"] = []
        for row in rows:
            if row["kind"] == "train":
                since += [row["loss"]] if "loss" in row else []
            elif "loss" in row:
                mean = math.fsum(since) / len(since) if since else math.nan
                run["losses"].append([row["step"], row["epoch"], mean, row["loss"]])
                since = []


def read_trace(home: Path) -> dict[str, list[tuple[int, float]]]:
    """Return the diagnostics of the optimizer of a run: name -> (step, value); {} for most optimizers.

    Args:
        home: the run folder.
    """
    rows = read_metrics(home, "train") if os.path.lexists(home / "metrics.jsonl") else []
    names = diagnostic_names(rows)
    return {name: [(row["step"], row[name]) for row in rows if name in row] for name in names}


def write_traces(path: Path, traces: Traces) -> None:
    """Write ``diagnostics.csv``, one row per logged step and name; no file without diagnostics."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("run", "step", "name", "value"))
    rows = [
        (run, step, name, value)
        for run, trace in traces.items()
        for name, values in trace.items()
        for step, value in values
    ]
    if rows:
        writer.writerows(rows)
        write_text(path, buffer.getvalue())
    else:
        path.unlink(missing_ok=True)


def read_traces(path: Path) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Return the content of ``diagnostics.csv``; {} without it.

    Raises:
        DataError: The file is damaged.
    """
    traces: dict[str, dict[str, list[tuple[int, float]]]] = {}
    if not path.exists():
        return {}
    try:
        with open(check_regular(path), encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                trace = traces.setdefault(row["run"], {}).setdefault(row["name"], [])
                trace.append((int(row["step"]), float(row["value"])))
    except OSError as error:
        raise system_error(error, path) from error
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise DataError(f"{path} is damaged ({error!r}); run the benchmark again to write it anew") from error
    return traces


def write_curves(path: Path, comparisons: Sequence[Mapping[str, Any]], points: Mapping[str, Sequence[Point]]) -> None:
    """Write ``runs.csv``: one row per evaluation."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for comparison in comparisons:
        for run in comparison["runs"]:
            who = (run["id"], csv_cell(comparison["name"]), csv_cell(run["label"]), run["seed"])
            for p in points.get(run["id"], ()):
                row = (p.step, p.samples, p.train_seconds, p.wall_seconds, p.value, comparison["metric"])
                writer.writerow((*who, *row))
    write_text(path, buffer.getvalue())


def read_curves(path: Path) -> dict[str, list[Point]]:
    """Return the evaluations in ``runs.csv`` by run.

    Raises:
        DataError: The file is missing or damaged.
    """
    curves: dict[str, list[Point]] = {}
    try:
        with open(check_regular(path), encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                clocks = float(row["train_seconds"]), float(row["wall_seconds"])
                point = Point(int(row["step"]), int(row["samples"]), *clocks, float(row["metric"]))
                curves.setdefault(row["run"], []).append(point)
    except DataError as error:
        raise DataError(f"{error}; it must be in the folder of {BENCH}") from error
    except OSError as error:
        raise system_error(error, path) from error
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise DataError(f"{path} is damaged ({error!r}); run the benchmark again to write it anew") from error
    return curves


def write_bench(folder: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """Write ``bench.json`` and return its content."""
    whole = {"format": FORMAT, "format_version": FORMAT_VERSION, **content}
    write_json(folder / BENCH, whole)
    return whole


def read_bench(folder: Path) -> dict[str, Any]:
    """Read ``bench.json``.

    Raises:
        DataError: It is missing, damaged or of another version.
    """
    path = folder / BENCH
    try:
        content = read_numbers(read_text(path))
    except DataError as error:
        raise DataError(f"{error}; is the benchmark finished?") from error
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error})") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DataError(f"{path} is not the result of a benchmark")
    if content.get("format_version") != FORMAT_VERSION:
        raise DataError(
            f"{path}: format version must be {FORMAT_VERSION}, got {content.get('format_version')!r}; run the "
            "benchmark again"
        )
    return content


def read_numbers(text: str) -> Any:
    """Read JSON with the words "Infinity", "-Infinity" and "NaN" as numbers, the inverse of `json_text`.

    Raises:
        ValueError: It is not JSON.
    """
    return _numbers(parse_json(text))


def _numbers(value: Any) -> Any:
    """Convert the words for infinities and NaN back to numbers."""
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    return float(value) if isinstance(value, str) and value in ("Infinity", "-Infinity", "NaN") else value
