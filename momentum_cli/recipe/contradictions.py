"""Values of a recipe that are valid alone but not together, in one section or across several."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from momentum_cli.attacks import ATTACKS
from momentum_cli.cells.catalogue import LAYERS
from momentum_cli.cells.find import parse_cell
from momentum_cli.data import TASKS, Task
from momentum_cli.messages import refuse, unknown
from momentum_cli.metrics import METRICS, metrics_of
from momentum_cli.options import Problem
from momentum_cli.recipe.sections import (
    PLANNED_SCHEDULES,
    SCHEDULE_OPTIONS,
    EarlyStoppingOptions,
    ModelOptions,
    OptimizerOptions,
    PublishedOptions,
    ScheduleOptions,
    TargetOptions,
    TaskOptions,
    TrainOptions,
)
from momentum_cli.recipe.task_rules import task_contradictions


def contradictions(sections: Mapping[str, Any]) -> list[Problem]:
    """Return the values that are valid alone but not together.

    Args:
        sections: Those without problems, by name.
    """
    task: TaskOptions | None = sections.get("task")
    model: ModelOptions | None = sections.get("model")
    optimizer: OptimizerOptions | None = sections.get("optimizer")
    train: TrainOptions | None = sections.get("train")
    target: TargetOptions | None = sections.get("target")
    chosen: list[str] = sections.get("metrics", [])
    published: dict[str, PublishedOptions] = sections.get("published", {})
    found: list[Problem] = []
    if train and train.stop_at_target and target is None:
        message = "no target to stop at; add target: {metric, value}"
        found.append(Problem(("train", "stop_at_target"), message))
    if model:
        found += _model_contradictions(model)
    if model and train and train.recompute is not None and model.bidirectional:
        remedy = "a bidirectional model reads the whole sequence before its first output"
        found.append(Problem(("train", "recompute"), refuse("", train.recompute, "be left out", remedy)))
    if model and train and train.recompute is not None and model.language is not None:
        remedy = "train.bptt.length sets how many steps of a text are kept"
        found.append(Problem(("train", "recompute"), refuse("", train.recompute, "be left out", remedy)))
    if task:
        found += task_contradictions(task, model, train)
    if train and optimizer:
        found += _schedule_contradictions(sections.get("schedule", ScheduleOptions()), train, optimizer.lr)
    if target:
        found += _target_contradictions(target)
    if task:
        built = TASKS[task.name](**task.options)
        known = tuple(dict.fromkeys((*metrics_of(built.measured), *built.metrics)))
        wrong = [name for name in chosen if name not in known]
        found += [Problem(("metrics",), unknown("metric", name, known, f"task {task.name}")) for name in wrong]
        evaluated = tuple(dict.fromkeys((*chosen, *built.metrics)))
        if target:
            found += _metric_contradictions(("target",), target, task, known)
        if train:
            found += _class_contradictions(train, task)
            found += _adversarial_contradictions(train, built, evaluated)
        if train and train.early_stopping is not None and not wrong:
            found += _stopping_contradictions(train.early_stopping, task, evaluated)
        for cell, given in published.items():
            found += _metric_contradictions(("published", cell), given, task, known)
    if task and target and target.metric in known and target.metric not in (*chosen, *built.metrics):
        message = f"{target.metric} is not evaluated; add it to the list metrics: [{target.metric}]"
        found.append(Problem(("target", "metric"), message))
    return found


def _model_contradictions(model: ModelOptions) -> list[Problem]:
    found = []
    if model.forget_bias is not None and LAYERS[parse_cell(model.cell).layer].recurrence.forget_gate is None:
        remedy = f"{model.cell} has no forget gate, as LSTM cells have"
        found.append(Problem(("model", "forget_bias"), refuse("", model.forget_bias, "be left out", remedy)))
    elif model.forget_bias is not None and not model.bias:
        message = refuse("", model.forget_bias, "be left out where model.bias is false")
        found.append(Problem(("model", "forget_bias"), message))
    if model.dropout > 0 and model.num_layers == 1:
        message = refuse("", model.dropout, "be 0 with one layer", "it acts between layers")
        found.append(Problem(("model", "dropout"), message))
    return found


def _schedule_contradictions(schedule: ScheduleOptions, train: TrainOptions, lr: float) -> list[Problem]:
    found = []
    name = schedule.name

    def refused(key: str, message: str) -> None:
        found.append(Problem(("schedule", key), message))

    if name in PLANNED_SCHEDULES and train.epochs is None and train.max_steps is None:
        refused("name", f"{name!r} needs the planned length; give train.epochs or train.max_steps")
    if "every_n_steps" in SCHEDULE_OPTIONS[name] and schedule.every_n_steps is None:
        refused("every_n_steps", f"missing; schedule {name!r} needs it")
    for key in ("every_n_steps", "gamma", "patience", "min_lr"):
        unused = key not in SCHEDULE_OPTIONS[name]
        if unused and getattr(schedule, key) != ScheduleOptions.model_fields[key].default:
            able = " and ".join(other for other, uses in SCHEDULE_OPTIONS.items() if key in uses)
            refused(key, f"schedule {name!r} does not use it; {able} do{'es' * (' and ' not in able)}")
    if schedule.gamma > 1 and name == "plateau":
        refused("gamma", refuse("", schedule.gamma, "be <= 1 with plateau"))
    if schedule.min_lr > lr:
        refused("min_lr", refuse("", schedule.min_lr, f"not be above optimizer.lr = {lr}"))
    if train.max_steps is not None and schedule.warmup_steps >= train.max_steps:
        refused("warmup_steps", refuse("", schedule.warmup_steps, f"be less than train.max_steps = {train.max_steps}"))
    return found


def _class_contradictions(train: TrainOptions, task: TaskOptions) -> list[Problem]:
    """Return options of a loss over classes that are given to a task without classes."""
    measured = TASKS[task.name](**task.options).measured
    given = {"class_weights": train.class_weights, "label_smoothing": train.label_smoothing or None}
    fitting = {"class_weights": {"classes"}, "label_smoothing": {"classes", "texts"}}
    must = "be left out for a task that predicts no classes"
    return [
        Problem(("train", key), refuse("", value, must))
        for key, value in given.items()
        if value is not None and not fitting[key] & set(measured)
    ]


def _adversarial_contradictions(train: TrainOptions, task: Task, evaluated: tuple[str, ...]) -> list[Problem]:
    """Return an attack on a task that has none or with options that it does not have, or metrics without an attack."""
    given, place = train.adversarial, ("train", "adversarial")
    if given is None:
        under = [name for name in evaluated if name in METRICS and METRICS[name].attacked]
        message = "is measured under the attack of train.adversarial, which is missing"
        return [Problem(("metrics",), f"{name} {message}") for name in under]
    found = []
    if {"tokens", "texts"} & set(task.measured):
        message = refuse("", given.attack, "be left out for inputs that are not numbers", "tokens have no gradient")
        found.append(Problem(place, message))
    if given.steps not in (None, 1) and not ATTACKS[given.attack].iterated:
        message = refuse("", given.steps, f"be 1 for {given.attack}", "use train.adversarial.attack=pgd")
        found.append(Problem((*place, "steps"), message))
    if train.recompute is not None:
        remedy = "an attack keeps the activations of all steps"
        found.append(
            Problem(("train", "recompute"), refuse("", train.recompute, f"be left out with {'.'.join(place)}", remedy))
        )
    return found


def _stopping_contradictions(
    stopping: EarlyStoppingOptions, task: TaskOptions, metrics: tuple[str, ...]
) -> list[Problem]:
    """Return a metric that is not evaluated, or a mode that is not the direction of the metric."""
    place = ("train", "early_stopping")
    if stopping.metric is not None and stopping.metric not in (*metrics, "loss"):
        known = tuple(dict.fromkeys((*metrics, "loss")))
        return [Problem((*place, "metric"), unknown("metric", stopping.metric, known, f"task {task.name}"))]
    metric = stopping.metric_for(metrics[0])
    mode = "max" if METRICS[metric].higher_is_better else "min"
    if stopping.mode not in (None, mode):
        message = refuse("", stopping.mode, f"be {mode!r} for the metric {metric}", "leave it out")
        return [Problem((*place, "mode"), message)]
    return []


def _target_contradictions(target: TargetOptions) -> list[Problem]:
    if target.value is None and target.baseline is None:
        message = "missing; give a number, or baseline: the cell whose best value is the target in a benchmark"
        return [Problem(("target", "value"), message)]
    if target.value is not None and target.baseline is not None:
        message = refuse("", target.baseline, "be left out where target.value is given", "leave out one of them")
        return [Problem(("target", "baseline"), message)]
    if target.pooled and target.baseline is None:
        return [Problem(("target", "pooled"), refuse("", True, "be false without target.baseline"))]
    return []


def _metric_contradictions(
    place: tuple[str, ...], given: TargetOptions | PublishedOptions, task: TaskOptions, metrics: tuple[str, ...]
) -> list[Problem]:
    """Return a metric that the task does not have, or a value that the metric cannot have."""
    if given.metric not in metrics:
        return [Problem((*place, "metric"), unknown("metric", given.metric, metrics, f"task {task.name}"))]
    if given.value is None:
        return []
    upper = METRICS[given.metric].upper
    if METRICS[given.metric].fraction and upper < math.inf and not 0 < given.value <= upper:
        percent = f"did you mean {given.value / 100:g}?" if 1 < given.value <= 100 else ""
        return [Problem((*place, "value"), refuse("", given.value, f"be a fraction in (0, {upper:g}]", percent))]
    if METRICS[given.metric].higher_is_better and given.value > upper:
        return [Problem((*place, "value"), refuse("", given.value, f"be in (0, {upper:g}]"))]
    if given.value <= 0:
        return [Problem((*place, "value"), refuse("", given.value, "be > 0"))]
    return []
