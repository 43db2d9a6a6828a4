"""What makes a recipe valid, section by section. Every mistake is found, none hides another.

`momentum_cli.recipe.contradictions` then looks across the sections.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from momentum_cli.cells.catalogue import all_cells, cell_objects, cell_options
from momentum_cli.cells.find import canonical_name, parse_cell
from momentum_cli.cells.names import Cell
from momentum_cli.errors import RecipeError
from momentum_cli.messages import describe_mistake, describe_value, unknown
from momentum_cli.options import (
    Option,
    Problem,
    check_options,
    dataclass_options,
    options_model,
    signature_options,
)
from momentum_cli.recipe.contradictions import contradictions
from momentum_cli.recipe.sections import (
    AveragingOptions,
    BpttOptions,
    EarlyStoppingOptions,
    LanguageModelOptions,
    ModelOptions,
    PublishedOptions,
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

# Arguments of torch's optimizers that are no settings of a training: the first is the model, the others would train
# away from the minimum or through the optimizer itself.
_NOT_OPTIONS = frozenset({"params", "maximize", "differentiable", "capturable"})

_BUDGETS = ("epochs", "max_steps", "max_seconds")
Checked = tuple[Any, list[Problem]]


def check_recipe(data: Any, sections: Mapping[str, bool]) -> tuple[dict[str, Any], list[Problem]]:
    """Check a whole recipe and fill in what its objects take by default.

    Args:
        data: The content of a recipe.
        sections: Names of the sections, and whether each is required.

    Returns:
        The content in canonical form, and all problems; with problems the content is not complete.
    """
    if not isinstance(data, Mapping):
        return {}, [Problem((), f"got {describe_value(data)}, allowed is a mapping of sections")]
    data = _with_text_keys(data)
    if lacking := _check_plugins(data.get("plugins"))[1]:
        # Without the plugin its cells are unknown, and that is not the mistake.
        return {}, lacking
    problems = [Problem((key,), unknown("section", key, sections)) for key in data if key not in sections]
    checked: dict[str, Any] = {}
    for name, required in sections.items():
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
    problems += contradictions(sound)
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
    from momentum_cli.optim import OPTIMIZERS
    from momentum_cli.recipe.parameter_groups import GROUPS

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

    cells = {name: options_model(name, cell_options(cell)).model_json_schema() for name, cell in all_cells().items()}
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
                problems.append(Problem(where, describe_mistake(detail)))
    return dict(data), problems


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
    from momentum_cli.recipe.parameter_groups import GROUPS

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
    def check(cell: Cell, given: Mapping[str, Any]) -> Checked:
        return check_options(f"cell {cell.name}", cell_options(cell), given, lambda **own: cell_objects(cell, own))

    return _check_by_cell({name: {} if given is None else given for name, given in data.items()}, "options", check)


def _check_published(data: Mapping[str, Any]) -> Checked:
    def check(cell: Cell, given: Mapping[str, Any]) -> Checked:
        return _check_fields(("published", "*"), given)

    return _check_by_cell(data, "metric, value, source and more", check)


def _check_by_cell(
    data: Mapping[str, Any], content: str, check: Callable[[Cell, Mapping[str, Any]], Checked]
) -> Checked:
    """Check a mapping of cells, each by ``check(cell, given)``, where ``content`` says what a cell is given."""
    checked: dict[str, Any] = {}
    problems = []
    for name, given in data.items():
        try:
            cell = parse_cell(name)
        except RecipeError as error:
            problems.append(Problem((name,), str(error)))
            continue
        if cell.name in checked:
            problems.append(Problem((name,), f"the same cell as {cell.name!r}, which is there already"))
        elif not isinstance(given, Mapping):
            problems.append(Problem((name,), f"got {describe_value(given)}, allowed is a mapping of {content}"))
        else:
            checked[cell.name], found = check(cell, given)
            problems += [Problem((name, *problem.path), problem.message) for problem in found]
    return checked, problems


def _complete_cells(checked: dict[str, Any]) -> None:
    """Write down the defaults of the chosen cell when the recipe does not name it."""
    cell = checked["model"].get("cell", ModelOptions.model_fields["cell"].default)
    cells = checked.setdefault("cells", {})
    if cell not in cells:
        defaults = {option.name: option.default for option in cell_options(parse_cell(cell))}
        if defaults:
            checked["cells"] = {**cells, cell: defaults}


def _check_plugins(data: Any) -> Checked:
    """Check the names of plugins, all of which have to be loaded: a recipe never runs one."""
    from momentum_cli.cells.plugins import is_loaded, missing_plugin

    if data is None:
        return [], []
    if not isinstance(data, list) or not all(isinstance(name, str) for name in data):
        return None, [Problem(("plugins",), f"got {describe_value(data)}, allowed is a list of names of plugins")]
    return list(data), [Problem(("plugins",), missing_plugin(name)) for name in data if not is_loaded(name)]


def _complete_plugins(checked: dict[str, Any]) -> None:
    """Write down which plugins the cells of the recipe are from."""
    from momentum_cli.cells.plugins import plugins_of

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
