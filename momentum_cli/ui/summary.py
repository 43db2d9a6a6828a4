"""The lines that every display shares: the header, an evaluation, the target, and the summary at the end of a run."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from typing import Any, NamedTuple

from momentum_cli.messages import counted
from momentum_cli.metrics import better
from momentum_cli.progress import Evaluation, RunStart
from momentum_cli.wording import (
    batch_text,
    coverage_text,
    interval_text,
    metric_text,
    seconds_text,
    short_path,
    speed_text,
    step_time_text,
    target_text,
)

STOP_REASONS = {
    "epochs": "all epochs are done",
    "max_steps": "the budget in steps is used up",
    "max_seconds": "the budget in seconds is used up",
    "target": "the target is reached",
    "early_stopping": "early: the {metric} no longer improves",
}


class Row(NamedTuple):
    """One line of the summary; `good` colours it (None: neither good nor bad)."""

    label: str
    value: str
    good: bool | None = None


def title(run: RunStart) -> str:
    """`momentum on pmnist`."""
    return f"{run.cell} on {run.task}"


def header(run: RunStart) -> list[str]:
    """The facts of a run, the most important first."""
    facts = [
        f"{run.parameters:,} parameters",
        f"{run.backend} on {run.device}",
        run.precision,
        counted(run.train_samples, "sequence"),
        f"batch {batch_text(run.batch_size, run.batch_unit)}",
        f"seed {run.seed}",
    ]
    if run.start_step:
        facts.append(f"resumed at step {run.start_step:,}")
    return facts


def of(value: int, total: int | None) -> str:
    """`3/30`, or `3` without an end."""
    return f"{value:,}" if total is None else f"{value:,}/{total:,}"


def metrics_text(metrics: Mapping[str, Any], first: str = "") -> str:
    """All metrics in a line, the headline one first; a squared error is its own loss and is shown once."""
    shown = [name for name in metrics if name != "loss" or "mse" not in metrics]
    names = sorted(shown, key=lambda name: (name != first, shown.index(name)))
    return ", ".join(f"{name} {metric_text(name, metrics[name])}" for name in names)


def evaluation_text(evaluation: Evaluation, run: RunStart | None) -> str:
    """`epoch 3/30, step 690: validation accuracy 94.72 %, loss 0.1830 (best)`."""
    epoch = of(evaluation.epoch, run.epochs if run else None)
    values = metrics_text(evaluation.metrics, run.metric if run else "")
    best = " (best)" if evaluation.best else ""
    return f"epoch {epoch}, step {evaluation.step:,}: {evaluation.split} {values}{best}"


def reached_text(target: Mapping[str, Any]) -> str:
    """Time to target in all its units, from `target` as in result.json."""
    times = f"{seconds_text(target['train_seconds'])} of training ({seconds_text(target['wall_seconds'])} wall)"
    wanted = target_text(target["metric"], target["value"])
    return f"{wanted} reached after {counted(target['steps'], 'step')}, {counted(target['samples'], 'sample')}, {times}"


def summary_rows(result: Mapping[str, Any]) -> list[Row]:
    """The summary of a finished run.

    Args:
        result: the content of result.json; missing keys are omitted.

    Returns:
        The rows in reading order: results, target, time, model, folder.
    """
    best, target = result.get("best") or {}, result.get("target")
    metric, chosen_on = str(best.get("metric", "")), str(best.get("split") or result.get("selected_on", "validation"))
    rows = []
    if best.get("value") is not None:
        values = {**(result.get(chosen_on) or {}), metric: best["value"]}
        where = f"epoch {best.get('epoch', '-')}, step {best.get('step', 0):,}"
        note = "; selected on test" if chosen_on == "test" else ""
        rows.append(Row(f"best {chosen_on}", f"{metrics_text(values, metric)} ({where}{note})"))
    last = result.get("final")
    if last and last["step"] != best.get("step"):
        where = f"epoch {last['epoch']}, step {last['step']:,}"
        rows.append(Row(f"last {last['split']}", f"{metrics_text(last['metrics'], metric)} ({where})"))
    if result.get("test") and chosen_on != "test":
        bar = (result.get("test_intervals") or {}).get(metric)
        beside = "" if bar is None else f"; {metric} {interval_text(metric, bar)}"
        rows.append(Row("test", f"{metrics_text(result['test'], metric)} (at the best {chosen_on}{beside})"))
    for interval in result.get("coverage") or ():
        rows.append(Row(f"{100 * interval['level']:.4g} % interval", coverage_text(interval)))
    if result.get("test") and result.get("baselines"):
        rows.append(naive_row(result["test"], result["baselines"][0], metric))
    if target:
        rows.append(target_row(target))
    time = f"{seconds_text(result.get('train_seconds'))} of training, {seconds_text(result.get('wall_seconds'))} wall"
    epochs, steps = (counted(result.get(f"{unit}s") or 0, unit) for unit in ("epoch", "step"))
    rows.append(Row("time", f"{time}; {epochs}, {steps}"))
    speed = f"{speed_text(result.get('samples_per_second'))}, {step_time_text(result.get('ms_per_step'))}"
    rows.append(Row("speed", speed))
    backend = f"{result.get('backend', '-')} on {result.get('device', '-')}"
    model = f"{result.get('cell', '-')}, {result.get('parameters') or 0:,} parameters, {backend}"
    rows.append(Row("model", f"{model}, seed {result.get('seed', '-')}"))
    reason = str(result.get("stop_reason", "-"))
    rows.append(Row("stopped", STOP_REASONS.get(reason, reason).format(metric=metric_name(result))))
    if result.get("run_dir"):
        rows.append(Row("run folder", short_path(result["run_dir"])))
    return rows


def metric_name(result: Mapping[str, Any]) -> str:
    """Return the name of the metric that early stopping used."""
    return str(result.get("stopping_metric") or "metric").replace("_", " ")


def naive_row(test: Mapping[str, Any], naive: Mapping[str, Any], metric: str) -> Row:
    """The best naive predictor on the test set, with a remark if the model is no better."""
    values, mine = naive["metrics"], test.get(metric)
    text = f"{metrics_text(values, metric)} ({naive['name']})"
    # A value that is not a number is null in a file.
    if mine is None or values.get(metric) is None or better(metric, mine, values[metric]):
        return Row("naive", text)
    return Row("naive", f"{text}: the model is no better", good=False)


def target_row(target: Mapping[str, Any]) -> Row:
    """Time and steps to target, or that it was not reached."""
    if target.get("reached"):
        return Row("target", reached_text(target), good=True)
    return Row("target", f"{target_text(target['metric'], target['value'])} not reached", good=False)


def next_steps(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(purpose, command) that can be pasted into a shell."""
    if not result.get("run_dir"):
        return []
    run = shlex.quote(short_path(result["run_dir"]))
    more = {
        "max_steps": f"train.max_steps={2 * int(result.get('steps') or 1)}",
        "max_seconds": f"train.max_seconds={2 * math.ceil(result.get('train_seconds') or 1)}",
        "target": "train.stop_at_target=false",
        "early_stopping": "train.early_stopping=null",
    }.get(str(result.get("stop_reason")), f"train.epochs={2 * int(result.get('epochs') or 1)}")
    return [
        ("evaluate", f"momentumrnn eval {run}"),
        ("continue", f"momentumrnn train --resume {run} {more}"),
    ]
