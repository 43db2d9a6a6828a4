"""Values of a recipe that are fine alone and not together, across its sections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from momentum_cli.cells.catalogue import LAYERS
from momentum_cli.cells.find import parse_cell
from momentum_cli.data import TASKS
from momentum_cli.layers.orthogonal import OrthogonalRNN
from momentum_cli.messages import unknown
from momentum_cli.metrics import METRICS
from momentum_cli.options import Problem
from momentum_cli.recipe.sections import (
    LanguageModelOptions,
    ModelOptions,
    PublishedOptions,
    ScheduleOptions,
    TargetOptions,
    TrainOptions,
)


def contradictions(sound: Mapping[str, Any]) -> list[Problem]:
    """Find values that are fine alone and not together; only sections without problems are looked at."""
    found: list[Problem] = []
    train = TrainOptions(**sound["train"]) if "train" in sound else None
    if train and train.stop_at_target and "target" not in sound:
        message = "there is no target to stop at; add target: {metric, value}"
        found.append(Problem(("train", "stop_at_target"), message))
    if "model" in sound:
        found += _model_contradictions(ModelOptions(**sound["model"]))
    if "task" in sound:
        model = ModelOptions(**sound["model"]) if "model" in sound else None
        found += _language_contradictions(sound["task"]["name"], model, train)
    if train and "optimizer" in sound:
        found += _schedule_contradictions(
            ScheduleOptions(**sound.get("schedule", {})), train, float(sound["optimizer"]["lr"])
        )
    if "target" in sound and "task" in sound:
        found += _metric_contradictions(("target",), TargetOptions(**sound["target"]), sound["task"])
    if "task" in sound:
        for cell, given in sound.get("published", {}).items():
            place = ("published", cell)
            found += _metric_contradictions(place, PublishedOptions(**given), sound["task"])
    return found


def _model_contradictions(model: ModelOptions) -> list[Problem]:
    found = []
    if model.forget_bias is not None and not LAYERS[parse_cell(model.cell).layer].recurrence.has_forget_gate:
        message = f"got {model.forget_bias}, but {model.cell} has no forget gate; leave it out or choose an LSTM cell"
        found.append(Problem(("model", "forget_bias"), message))
    elif model.forget_bias is not None and not model.bias:
        found.append(Problem(("model", "forget_bias"), f"got {model.forget_bias}, but bias is false"))
    if model.dropout > 0 and model.num_layers == 1:
        message = f"got {model.dropout} with one layer; it acts between layers, so num_layers must be 2 or more"
        found.append(Problem(("model", "dropout"), message))
    return found


def _language_contradictions(task: str, model: ModelOptions | None, train: TrainOptions | None) -> list[Problem]:
    found = []
    if task != "language":
        for path, given in (
            (("model", "language"), model and model.language),
            (("train", "bptt"), train and train.bptt),
        ):
            if given is not None:
                found.append(Problem(path, f"belongs to the task language, and the task is {task}; leave it out"))
        return found
    if train is not None and train.bptt is not None and train.bptt.variable and train.bptt.length < 20:
        message = f"got {train.bptt.length}; windows of variable length have a standard deviation of 5: use 20 or more"
        found.append(Problem(("train", "bptt", "length"), message))
    if model is None:
        return found
    language = model.language or LanguageModelOptions()
    for name in LanguageModelOptions.model_fields:
        if name.endswith("dropout") and getattr(language, name) == 1.0:
            found.append(Problem(("model", "language", name), "got 1.0, allowed is < 1"))
    if model.bidirectional:
        found.append(Problem(("model", "bidirectional"), "a token must not be predicted from itself; leave it out"))
    if model.dropout > 0:
        message = "a language model has model.language.hidden_dropout between its layers instead"
        found.append(Problem(("model", "dropout"), message))
    if language.hidden_dropout > 0 and model.num_layers == 1:
        message = f"got {language.hidden_dropout} with one layer; it acts between layers; see output_dropout"
        found.append(Problem(("model", "language", "hidden_dropout"), message))
    if language.weight_dropout > 0 and LAYERS[parse_cell(model.cell).layer].build is OrthogonalRNN:
        message = f"got {language.weight_dropout}, but the recurrent matrix of {model.cell} must stay orthogonal"
        found.append(Problem(("model", "language", "weight_dropout"), message))
    if language.tied and language.cutoffs:
        message = "an adaptive softmax has no matrix of the embedding's shape; leave out tied or cutoffs"
        found.append(Problem(("model", "language", "cutoffs"), message))
    if language.cutoffs != sorted(set(language.cutoffs)):
        found.append(Problem(("model", "language", "cutoffs"), f"got {language.cutoffs}, allowed is ascending numbers"))
    return found


def _schedule_contradictions(schedule: ScheduleOptions, train: TrainOptions, lr: float) -> list[Problem]:
    found = []
    name = schedule.name
    falls_to_end, in_steps = name in ("cosine", "linear"), name in ("step", "exponential")
    if falls_to_end and train.epochs is None and train.max_steps is None:
        message = f"{name!r} needs the planned length; give train.epochs or train.max_steps"
        found.append(Problem(("schedule", "name"), message))
    if in_steps and schedule.every_n_steps is None:
        found.append(Problem(("schedule", "every_n_steps"), f"missing; schedule {name!r} needs it"))
    if not in_steps and schedule.every_n_steps is not None:
        message = f"schedule {name!r} does not use it; allowed with step and exponential"
        found.append(Problem(("schedule", "every_n_steps"), message))
    if not in_steps and schedule.gamma != ScheduleOptions.model_fields["gamma"].default:
        message = f"schedule {name!r} does not use it; allowed with step and exponential"
        found.append(Problem(("schedule", "gamma"), message))
    if name == "constant" and schedule.min_lr > 0:
        found.append(Problem(("schedule", "min_lr"), "schedule 'constant' does not use it"))
    elif schedule.min_lr > lr:
        found.append(Problem(("schedule", "min_lr"), f"got {schedule.min_lr}, above optimizer.lr = {lr}"))
    if train.max_steps is not None and schedule.warmup_steps >= train.max_steps:
        message = f"got {schedule.warmup_steps}, which is not less than train.max_steps = {train.max_steps}"
        found.append(Problem(("schedule", "warmup_steps"), message))
    return found


def _metric_contradictions(
    place: tuple[str, ...], given: TargetOptions | PublishedOptions, task: Mapping[str, Any]
) -> list[Problem]:
    """Find a metric that the task has not, and a value that the metric cannot have."""
    metrics = TASKS[task["name"]](**{key: value for key, value in task.items() if key != "name"}).metrics
    if given.metric not in metrics:
        return [Problem((*place, "metric"), unknown("metric", given.metric, metrics, f"task {task['name']}"))]
    if METRICS[given.metric].fraction and not 0 < given.value <= 1:
        percent = f"; did you mean {given.value / 100:g}?" if 1 < given.value <= 100 else ""
        return [Problem((*place, "value"), f"got {given.value:g}, allowed is a fraction in (0, 1]{percent}")]
    if given.value <= 0:
        return [Problem((*place, "value"), f"got {given.value:g}, allowed is > 0")]
    return []
