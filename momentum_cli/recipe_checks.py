"""What makes a recipe valid: section by section, then across sections. Every mistake is found, none hides another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from momentum_cli.cells import CELLS, canonical_name, parse_cell
from momentum_cli.document import describe_value
from momentum_cli.errors import RecipeError
from momentum_cli.lookup import unknown
from momentum_cli.options import (
    Option,
    Problem,
    check_options,
    dataclass_options,
    options_model,
    signature_options,
)
from momentum_cli.recipe import (
    AveragingOptions,
    BpttOptions,
    EarlyStoppingOptions,
    LanguageModelOptions,
    ModelOptions,
    PublishedOptions,
    Recipe,
    ScheduleOptions,
    TargetOptions,
    TrainOptions,
)

# Sections that belong to no object, by path.
SECTIONS: dict[tuple[str, ...], type[BaseModel]] = {
    ("model",): ModelOptions,
    ("model", "language"): LanguageModelOptions,
    ("schedule",): ScheduleOptions,
    ("train",): TrainOptions,
    ("train", "early_stopping"): EarlyStoppingOptions,
    ("train", "bptt"): BpttOptions,
    ("train", "averaging"): AveragingOptions,
    ("target",): TargetOptions,
    ("published", "*"): PublishedOptions,
}

# Metrics of each task's evaluations; a test holds the headline metric against the loaded data.
METRICS: dict[str, tuple[str, ...]] = {
    "digits": ("accuracy", "loss"),
    "mnist": ("accuracy", "loss"),
    "pmnist": ("accuracy", "loss"),
    "adding": ("mse", "mae", "loss"),
    "copying": ("accuracy", "loss"),
    # One of the three, by task.level; see `metrics_of`.
    "language": ("bits_per_character", "bits_per_byte", "perplexity", "loss"),
    # By task.kind, likewise.
    "files": ("accuracy", "mse", "mae", "loss"),
    "speech": ("mse", "mae", "loss"),
    "speech-classify": ("accuracy", "loss"),
}

# Arguments of torch's optimizers that are no settings of a training: the first is the model, the others would train
# away from the minimum or through the optimizer itself.
_NOT_OPTIONS = frozenset({"params", "maximize", "differentiable", "capturable"})

_BUDGETS = ("epochs", "max_steps", "max_seconds")
_COMPARISONS = (
    ("greater than or equal to", ">="),
    ("less than or equal to", "<="),
    ("greater than", ">"),
    ("less than", "<"),
)

Checked = tuple[Any, list[Problem]]


def check_recipe(data: Any) -> tuple[dict[str, Any], list[Problem]]:
    """Check a whole recipe and fill in what its objects take by default.

    Args:
        data: The content of a recipe.

    Returns:
        The content in canonical form, and all problems; with problems the content is not complete.
    """
    if not isinstance(data, Mapping):
        return {}, [Problem((), f"got {describe_value(data)}, allowed is a mapping of sections")]
    data = _with_text_keys(data)
    if lacking := _check_plugins(data.get("plugins"))[1]:
        # Without the plugin its cells are unknown, and that is not the mistake.
        return {}, lacking
    names = list(Recipe.model_fields)
    problems = [Problem((key,), unknown("section", key, names)) for key in data if key not in names]
    checked: dict[str, Any] = {}
    for name in names:
        required = Recipe.model_fields[name].is_required()
        if name not in data and required:
            problems.append(Problem((name,), "missing; this section is required"))
        elif name == "plugins" and name in data:
            checked[name], found = _check_plugins(data[name])
            problems += found
        elif name in data and not (data[name] is None and not required):
            checked[name], found = _check_section(name, data[name])
            problems += [Problem((name, *problem.path), problem.message) for problem in found]
    # A section with a problem is left out of the comparison with others: it would be reported twice.
    sound = {name: value for name, value in checked.items() if not any(p.path[:1] == (name,) for p in problems)}
    problems += _contradictions(sound)
    if "model" in sound and "cells" not in checked.keys() - sound.keys():
        _complete_cells(checked)
    if not problems and checked["task"]["name"] == "language":
        _complete_language(checked)
    if not problems:
        _complete_plugins(checked)
    return checked, problems


def _with_text_keys(value: Any) -> Any:
    """Return a copy whose keys are texts, so that a key such as 1 is reported like any other unknown one."""
    if isinstance(value, Mapping):
        return {str(key): _with_text_keys(inner) for key, inner in value.items()}
    return value


def describe_families() -> dict[str, dict[str, Any]]:
    """Return the JSON Schema of the sections whose keys depend on a name: task, optimizer and cells."""
    from momentum_cli.data import TASKS
    from momentum_cli.kinds import cell_options
    from momentum_cli.optim import OPTIMIZERS
    from momentum_cli.parameter_groups import GROUPS

    def one_of(family: dict[str, tuple[Option, ...]]) -> dict[str, Any]:
        return {
            "oneOf": [
                options_model(name, options, name=(Literal[name], ...)).model_json_schema()
                for name, options in family.items()
            ]
        }

    optimizers = one_of({name: signature_options(cls, _NOT_OPTIONS) for name, cls in OPTIMIZERS.items()})
    for entry in optimizers["oneOf"]:
        options = {key: value for key, value in entry["properties"].items() if key != "name"}
        group = {"type": "object", "properties": options, "additionalProperties": False}
        groups = {"type": "object", "properties": dict.fromkeys(GROUPS, group), "additionalProperties": False}
        entry["properties"]["groups"] = groups

    cells = {name: options_model(name, cell_options(name)).model_json_schema() for name in CELLS}
    return {
        "task": one_of({name: dataclass_options(task) for name, task in TASKS.items()}),
        "optimizer": optimizers,
        "cells": {"type": "object", "properties": cells, "additionalProperties": False},
    }


def _check_section(name: str, data: Any) -> Checked:
    if not isinstance(data, Mapping):
        return None, [Problem((), f"got {describe_value(data)}, allowed is a mapping")]
    if name == "task":
        return _check_task(data)
    if name == "optimizer":
        return _check_optimizer(data)
    if name == "cells":
        return _check_cells(data)
    if name == "published":
        return _check_published(data)
    checked, problems = _check_fields((name,), data)
    if name == "train" and all(data.get(budget) is None for budget in _BUDGETS):
        problems.append(Problem((), f"no budget; give one or more of {', '.join(_BUDGETS)}"))
    if name == "model" and isinstance(data.get("cell"), str):
        try:
            checked["cell"] = canonical_name(data["cell"])
        except RecipeError as error:
            problems.append(Problem(("cell",), str(error)))
    return checked, problems


def _check_fields(path: tuple[str, ...], data: Mapping[str, Any]) -> Checked:
    """Check a section that has a class of its own, and the sections in it."""
    section = SECTIONS[path]
    problems = []
    try:
        section.model_validate(data)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            where = tuple(str(part) for part in detail["loc"])
            if detail["type"] == "extra_forbidden":
                fields = SECTIONS[path + where[:-1]].model_fields
                problems.append(Problem(where, unknown("key", where[-1], fields)))
            else:
                problems.append(Problem(where, _wording(detail["type"], detail["msg"], detail["input"])))
    return dict(data), problems


def _wording(kind: str, message: str, got: Any) -> str:
    if kind == "missing":
        return "missing; this key is required"
    wanted = message.removeprefix("Input should be ").removeprefix("Value error, ").partition(", unable to")[0]
    wanted = "a mapping" if kind in ("model_type", "dict_type") else wanted
    for words, sign in _COMPARISONS:
        wanted = wanted.replace(words, sign)
    return f"got {describe_value(got)}, allowed is {wanted}"


def _check_name(kind: str, data: Mapping[str, Any], family: Mapping[str, Any]) -> tuple[str | None, list[Problem]]:
    name = data.get("name")
    if isinstance(name, str) and name in family:
        return name, []
    if name is None:
        return None, [Problem(("name",), f"missing; one of {', '.join(family)}")]
    return None, [Problem(("name",), unknown(kind, str(name), family))]


def _check_task(data: Mapping[str, Any]) -> Checked:
    from momentum_cli.data import TASKS

    name, problems = _check_name("task", data, TASKS)
    if name is None:
        return None, problems
    given = {key: value for key, value in data.items() if key != "name"}
    values, problems = check_options(f"task {name}", dataclass_options(TASKS[name]), given, TASKS[name])
    return {"name": name, **values}, problems


def _check_optimizer(data: Mapping[str, Any]) -> Checked:
    from momentum_cli.optim import EXTERNAL, OPTIMIZERS, resolve

    # One of the optional package is not in our table; `resolve` knows both.
    given_name = str(data.get("name"))
    if given_name.startswith(EXTERNAL):
        name: str | None = given_name
    else:
        name, problems = _check_name("optimizer", data, OPTIMIZERS)
    if name is None:
        return None, problems
    try:
        optimizer = resolve(name)
    except ValueError as error:
        return None, [Problem(("name",), str(error))]

    def build(**options: Any) -> None:
        # torch's optimizers check their options before they look at the parameters; without parameters nothing is
        # allocated, and the compiler is not imported (1.5 s), which the first parameter group would do.
        try:
            optimizer([], **options)
        except ValueError as error:
            if "empty parameter list" not in str(error):
                raise

    given = {key: value for key, value in data.items() if key not in ("name", "groups")}
    options = signature_options(optimizer, _NOT_OPTIONS)
    values, problems = check_options(f"optimizer {name}", options, given, build)
    # torch allows 0, which trains nothing
    if values.get("lr") == 0:
        problems.append(Problem(("lr",), "got 0, allowed is > 0"))
    groups, found = _check_groups(f"optimizer {name}", data.get("groups"), options, given, build)
    problems += [Problem(("groups", *problem.path), problem.message) for problem in found]
    return {"name": name, **values, **({"groups": groups} if groups else {})}, problems


def _check_groups(
    owner: str, data: Any, options: tuple[Option, ...], section: Mapping[str, Any], build: Callable[..., Any]
) -> Checked:
    """Check the options that parameter groups have of their own; what they do not give is that of the optimizer."""
    from momentum_cli.parameter_groups import GROUPS

    if data is None:
        return {}, []
    if not isinstance(data, Mapping):
        return None, [Problem((), f"got {describe_value(data)}, allowed is a mapping of groups")]
    checked: dict[str, dict[str, Any]] = {}
    problems = []
    for name, given in data.items():
        if name not in GROUPS:
            problems.append(Problem((name,), unknown("parameter group", name, GROUPS)))
        elif given is not None and not isinstance(given, Mapping):
            problems.append(Problem((name,), f"got {describe_value(given)}, allowed is a mapping of options"))
        else:
            own = given or {}
            values, found = check_options(f"group {name} of {owner}", options, {**section, **own}, build)
            if values.get("lr") == 0:
                found.append(Problem(("lr",), "got 0, allowed is > 0"))
            # What is wrong in the section itself is reported there.
            found = [problem for problem in found if problem.path and problem.path[0] in own]
            problems += [Problem((name, *problem.path), problem.message) for problem in found]
            checked[name] = {key: value for key, value in values.items() if key in own}
    return checked, problems


def _check_cells(data: Mapping[str, Any]) -> Checked:
    from momentum_cli.kinds import cell_objects, cell_options

    checked: dict[str, dict[str, Any]] = {}
    problems = []
    for name, given in data.items():
        try:
            cell = canonical_name(name)
        except RecipeError as error:
            problems.append(Problem((name,), str(error)))
            continue
        if cell in checked:
            problems.append(Problem((name,), f"the same cell as {cell!r}, which is there already"))
        elif given is not None and not isinstance(given, Mapping):
            problems.append(Problem((name,), f"got {describe_value(given)}, allowed is a mapping of options"))
        else:

            def build(_cell: str = cell, **options: Any) -> None:
                cell_objects(_cell, options)

            checked[cell], found = check_options(f"cell {cell}", cell_options(cell), given or {}, build)
            problems += [Problem((name, *problem.path), problem.message) for problem in found]
    return checked, problems


def _check_published(data: Mapping[str, Any]) -> Checked:
    """Check what is published, a mapping of cells."""
    checked: dict[str, Any] = {}
    problems = []
    for name, given in data.items():
        try:
            cell = canonical_name(name)
        except RecipeError as error:
            problems.append(Problem((name,), str(error)))
            continue
        if cell in checked:
            problems.append(Problem((name,), f"the same cell as {cell!r}, which is there already"))
        elif not isinstance(given, Mapping):
            message = f"got {describe_value(given)}, allowed is a mapping of metric, value, source and more"
            problems.append(Problem((name,), message))
        else:
            checked[cell], found = _check_fields(("published", "*"), given)
            problems += [Problem((name, *problem.path), problem.message) for problem in found]
    return checked, problems


def _complete_cells(checked: dict[str, Any]) -> None:
    """Write down the defaults of the chosen cell when the recipe does not name it."""
    cell = checked["model"].get("cell", ModelOptions.model_fields["cell"].default)
    from momentum_cli.kinds import cell_options

    cells = checked.setdefault("cells", {})
    if cell not in cells:
        defaults = {option.name: option.default for option in cell_options(cell)}
        if defaults:
            checked["cells"] = {**cells, cell: defaults}


def _check_plugins(data: Any) -> Checked:
    """Check the names of plugins, all of which have to be loaded: a recipe never runs one."""
    from momentum_cli.plugins import is_loaded, missing_plugin

    if data is None:
        return [], []
    if not isinstance(data, list) or not all(isinstance(name, str) for name in data):
        return None, [Problem(("plugins",), f"got {describe_value(data)}, allowed is a list of names of plugins")]
    return list(data), [Problem(("plugins",), missing_plugin(name)) for name in data if not is_loaded(name)]


def _complete_plugins(checked: dict[str, Any]) -> None:
    """Write down which plugins the cells of the recipe are from."""
    from momentum_cli.plugins import plugins_of

    cell = checked["model"].get("cell", ModelOptions.model_fields["cell"].default)
    used = plugins_of([cell, *checked.get("cells", {}), *checked.get("published", {})])
    if used:
        checked["plugins"] = sorted({*checked.get("plugins", []), *used})


def _complete_language(checked: dict[str, Any]) -> None:
    """Write down the defaults of a language model that the recipe does not name."""
    model, train = dict(checked["model"]), dict(checked["train"])
    model["language"] = LanguageModelOptions(**(model.get("language") or {})).model_dump()
    train["bptt"] = BpttOptions(**(train.get("bptt") or {})).model_dump()
    # Each of the sequences evaluated side by side is a stream that starts without context.
    train.setdefault("eval_batch_size", 1)
    checked |= {"model": model, "train": train}


def metrics_of(task: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the metrics of a task's evaluations, the headline one first.

    Args:
        task: A section of a checked recipe: ``name`` and all options.
    """
    if task["name"] == "language":
        from momentum_cli.data import Language

        return (Language(**{key: value for key, value in task.items() if key != "name"}).metric, "loss")
    if task["name"] == "files":
        from momentum_cli.data.files import METRICS as METRICS_OF_KIND

        return METRICS_OF_KIND[task["kind"]]
    return METRICS[task["name"]]


def _contradictions(sound: Mapping[str, Any]) -> list[Problem]:
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
    if model.forget_bias is not None and parse_cell(model.cell).recurrence not in ("lstm", "sr-coupled"):
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
    if language.weight_dropout > 0 and parse_cell(model.cell).recurrence in ("dtriv", "exprnn"):
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
    metrics = metrics_of(task)
    if given.metric not in metrics:
        return [Problem((*place, "metric"), unknown("metric", given.metric, metrics, f"task {task['name']}"))]
    if given.metric == "accuracy" and not 0 < given.value <= 1:
        percent = f"; did you mean {given.value / 100:g}?" if 1 < given.value <= 100 else ""
        return [Problem((*place, "value"), f"got {given.value:g}, allowed is a fraction in (0, 1]{percent}")]
    if given.metric != "accuracy" and given.value <= 0:
        return [Problem((*place, "value"), f"got {given.value:g}, allowed is > 0")]
    return []
