"""Checking the content of a recipe and converting it to sections. All mistakes are found, and none hides another.

`momentum_cli.recipe.contradictions` then compares the sections.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from momentum_cli.cells.catalogue import cell_objects, cell_options
from momentum_cli.cells.find import parse_cell
from momentum_cli.cells.names import Cell
from momentum_cli.cells.plugins import is_loaded, missing_plugin, plugins_of
from momentum_cli.data import TASKS
from momentum_cli.errors import RecipeError
from momentum_cli.messages import describe_mistake, refuse, unknown
from momentum_cli.optim import EXTERNAL, OPTIMIZERS, resolve
from momentum_cli.options import Option, Path, Problem, check_options, dataclass_options, signature_options
from momentum_cli.recipe.contradictions import contradictions
from momentum_cli.recipe.parameter_groups import GROUPS
from momentum_cli.recipe.sections import (
    ModelOptions,
    OptimizerOptions,
    PublishedOptions,
    ScheduleOptions,
    Section,
    TargetOptions,
    TaskOptions,
    TrainOptions,
    TuneOptions,
)
from momentum_cli.recipe.task_rules import complete_for_task
from momentum_cli.recipe.tuning import space_problems

# Arguments of torch's optimizers that are not settings of a training: the first is the model, the others would ascend,
# differentiate through the optimizer, or prepare it for a CUDA graph.
NOT_OPTIONS = frozenset({"params", "maximize", "differentiable", "capturable"})

_BUDGETS = ("epochs", "max_steps", "max_seconds")
Checked = tuple[Any, list[Problem]]
"""A section, or its valid part, and its problems with paths relative to it."""


def check_recipe(content: Any) -> tuple[dict[str, Any], list[Problem]]:
    """Check a whole recipe and fill in the defaults of its objects.

    Args:
        content: Mappings, lists, strings and numbers.

    Returns:
        The sections by name, and no problems; or nothing, and all problems.
    """
    if not isinstance(content, Mapping):
        return {}, [Problem((), refuse("", content, "be a mapping of sections"))]
    content = _with_text_keys(content)
    plugins, problems = _check_plugins(content.get("plugins"))
    if problems:
        # Without the plugin its cells are unknown, which is not the actual mistake.
        return {}, problems
    names = [*_SECTIONS, "metrics", "plugins"]
    problems = [Problem((key,), unknown("section", key, names)) for key in content if key not in names]
    sound: dict[str, Any] = {}
    for name, check in _SECTIONS.items():
        given = content.get(name)
        if name not in content and name in _REQUIRED:
            problems.append(Problem((name,), "missing; this section is required"))
        elif given is not None or (name in content and name in _REQUIRED):
            section, found = check(given) if isinstance(given, Mapping) else (None, [_no_mapping(given)])
            problems += _below(name, found)
            # A section with a problem is not compared with the others, or the problem would be reported twice.
            if not found:
                sound[name] = section
    sound["metrics"], found = _check_metrics(content.get("metrics"))
    problems += found + contradictions(sound)
    known = {problem.path for problem in problems}
    problems += [problem for problem in _empty_texts((), content) if problem.path not in known]
    tune = sound.get("tune")
    if tune is not None and not problems:
        problems = _below("tune", space_problems(content, tune.space, lambda changed: check_recipe(changed)[1]))
    return ({}, problems) if problems else (_complete(sound, plugins), [])


def _empty_texts(path: Path, value: Any) -> list[Problem]:
    """Return the empty texts below a path: no name, path or format is empty, and none stands for a default."""
    if value == "":
        return [Problem(path, refuse("", value, "not be empty", "leave the key out"))]
    if isinstance(value, Mapping):
        # An empty cell is a missing value anyway, so it does no harm to say so.
        below = [(key, inner) for key, inner in value.items() if (*path, key) != ("task", "missing_values")]
        return [problem for key, inner in below for problem in _empty_texts((*path, key), inner)]
    if isinstance(value, list):
        return [Problem(path, problem.message) for inner in value for problem in _empty_texts((), inner)][:1]
    return []


def _with_text_keys(value: Any) -> Any:
    """Return a copy with keys as strings, so that a key such as 1 is reported like any other unknown key."""
    if isinstance(value, Mapping):
        return {str(key): _with_text_keys(inner) for key, inner in value.items()}
    return value


def _no_mapping(given: Any, of: str = "") -> Problem:
    return Problem((), refuse("", given, f"be a mapping{of}"))


def _below(key: str, problems: list[Problem]) -> list[Problem]:
    return [Problem((key, *problem.path), problem.message) for problem in problems]


def _check_fields(section: type[Section], data: Mapping[str, Any]) -> Checked:
    """Check a section that has fixed keys, and the sections in it."""
    try:
        return section.model_validate(data), []
    except ValidationError as error:
        problems = []
        for detail in error.errors(include_url=False):
            where = tuple(str(part) for part in detail["loc"])
            if detail["type"] == "extra_forbidden":
                problems.append(Problem(where, unknown("key", where[-1], _keys(section, where[:-1]))))
            else:
                problems.append(Problem(where, describe_mistake(detail)))
        return None, problems


def _keys(section: type[BaseModel], path: Path) -> list[str]:
    """Return the keys of a section, or of the section at a path inside it."""
    for part in path:
        annotation = section.model_fields[part].annotation
        section = next(cls for cls in (annotation, *get_args(annotation)) if _is_section(cls))
    return list(section.model_fields)


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def _check_train(data: Mapping[str, Any]) -> Checked:
    train, problems = _check_fields(TrainOptions, data)
    if all(data.get(budget) is None for budget in _BUDGETS):
        problems.append(Problem((), f"no budget; give one or more of {', '.join(_BUDGETS)}"))
    return train, problems


def _check_name(what: str, data: Mapping[str, Any], family: Mapping[str, Any]) -> tuple[str | None, list[Problem]]:
    name = data.get("name")
    if isinstance(name, str) and name in family:
        return name, []
    if name is None:
        return None, [Problem(("name",), f"missing; one of {', '.join(family)}")]
    return None, [Problem(("name",), unknown(what, str(name), family))]


def _check_task(data: Mapping[str, Any]) -> Checked:
    name, problems = _check_name("task", data, TASKS)
    if name is None:
        return None, problems
    given = {key: value for key, value in data.items() if key != "name"}
    values, problems = check_options(f"task {name}", dataclass_options(TASKS[name]), given, TASKS[name])
    return TaskOptions(name, values), problems


def _check_optimizer(data: Mapping[str, Any]) -> Checked:
    # An optimizer of the optional package is not in our table; `resolve` knows both.
    name: str | None = str(data.get("name"))
    if name is None or not name.startswith(EXTERNAL):
        name, problems = _check_name("optimizer", data, OPTIMIZERS)
    if name is None:
        return None, problems
    try:
        optimizer = resolve(name)
    except ValueError as error:
        return None, [Problem(("name",), str(error))]

    def build(**options: Any) -> None:
        # torch's optimizers check their options before their parameters; without parameters nothing is allocated, and
        # the compiler is not imported (1.5 s) by the first parameter group.
        try:
            optimizer([], **options)
        except ValueError as error:
            if "empty parameter list" not in str(error):
                raise

    given = {key: value for key, value in data.items() if key not in ("name", "groups")}
    options = signature_options(optimizer, NOT_OPTIONS)
    values, problems = _check_rate(f"optimizer {name}", options, given, build)
    groups, found = _check_groups(f"optimizer {name}", data.get("groups"), options, given, build)
    problems += _below("groups", found)
    return None if problems else OptimizerOptions(name, values.pop("lr"), values, groups), problems


def _check_rate(
    owner: str, options: tuple[Option, ...], given: Mapping[str, Any], build: Callable[..., Any]
) -> tuple[dict[str, Any], list[Problem]]:
    """Check the options of an optimizer, and refuse a learning rate of 0, which torch allows."""
    values, problems = check_options(owner, options, given, build)
    if values.get("lr") == 0:
        problems.append(Problem(("lr",), refuse("", 0, "be > 0")))
    return values, problems


def _check_groups(
    owner: str, data: Any, options: tuple[Option, ...], section: Mapping[str, Any], build: Callable[..., Any]
) -> Checked:
    """Check the parameter groups' own options; for the rest they use those of the optimizer."""
    if data is None:
        return {}, []
    if not isinstance(data, Mapping):
        return None, [_no_mapping(data, " of groups")]
    checked: dict[str, dict[str, Any]] = {}
    problems = []
    for name, given in data.items():
        if name not in GROUPS:
            problems.append(Problem((name,), unknown("parameter group", name, GROUPS)))
        elif given is not None and not isinstance(given, Mapping):
            problems += _below(name, [_no_mapping(given, " of options")])
        else:
            own = given or {}
            values, found = _check_rate(f"group {name} of {owner}", options, {**section, **own}, build)
            # Mistakes in the section itself are reported there.
            problems += _below(name, [problem for problem in found if problem.path and problem.path[0] in own])
            checked[name] = {key: value for key, value in values.items() if key in own}
    return checked, problems


def _check_cells(data: Mapping[str, Any]) -> Checked:
    def check(cell: Cell, given: Mapping[str, Any]) -> Checked:
        return check_options(f"cell {cell.name}", cell_options(cell), given, lambda **own: cell_objects(cell, own))

    return _check_by_cell({name: {} if given is None else given for name, given in data.items()}, " of options", check)


def _check_published(data: Mapping[str, Any]) -> Checked:
    def check(cell: Cell, given: Mapping[str, Any]) -> Checked:
        return _check_fields(PublishedOptions, given)

    return _check_by_cell(data, " of metric, value, source and more", check)


def _check_by_cell(data: Mapping[str, Any], of: str, check: Callable[[Cell, Mapping[str, Any]], Checked]) -> Checked:
    """Check a mapping of cells, each by ``check(cell, given)``; `of` describes the values for messages."""
    checked: dict[str, Any] = {}
    problems = []
    for name, given in data.items():
        try:
            cell = parse_cell(name)
        except RecipeError as error:
            problems.append(Problem((name,), str(error)))
            continue
        if cell.name in checked:
            problems.append(Problem((name,), f"the same cell as {cell.name!r}, which is listed already"))
        elif not isinstance(given, Mapping):
            problems += _below(name, [_no_mapping(given, of)])
        else:
            checked[cell.name], found = check(cell, given)
            problems += _below(name, found)
    return checked, problems


def _check_plugins(data: Any) -> tuple[list[str], list[Problem]]:
    """Check the names of plugins, which must all be loaded already, because a recipe never runs one."""
    if data is None:
        return [], []
    if not isinstance(data, list) or not all(isinstance(name, str) and name for name in data):
        return [], [Problem(("plugins",), refuse("", data, "be a list of names of plugins"))]
    return data, [Problem(("plugins",), missing_plugin(name)) for name in data if not is_loaded(name)]


def _check_metrics(data: Any) -> tuple[list[str], list[Problem]]:
    """Check the names of metrics; `contradictions` says which of them a task has."""
    if data is None:
        return [], []
    if not isinstance(data, list) or not all(isinstance(name, str) for name in data):
        return [], [Problem(("metrics",), refuse("", data, "be a list of names of metrics"))]
    twice = [name for number, name in enumerate(data) if name in data[:number]]
    return data, [Problem(("metrics",), f"{name!r} is there twice") for name in dict.fromkeys(twice)]


def _complete(sections: dict[str, Any], plugins: list[str]) -> dict[str, Any]:
    """Fill in the defaults of the cell and the task, and the plugins."""
    model, train, cells = sections["model"], sections["train"], sections.get("cells", {})
    if model.cell not in cells:
        defaults = {option.name: option.default for option in cell_options(parse_cell(model.cell))}
        cells = {**cells, **({model.cell: defaults} if defaults else {})}
    model, train = complete_for_task(sections["task"].name, model, train)
    plugins = sorted({*plugins, *plugins_of([model.cell, *cells, *sections.get("published", {})])})
    return {**sections, "model": model, "train": train, "cells": cells, "plugins": plugins}


_SECTIONS: dict[str, Callable[[Mapping[str, Any]], Checked]] = {
    "task": _check_task,
    "model": partial(_check_fields, ModelOptions),
    "cells": _check_cells,
    "optimizer": _check_optimizer,
    "schedule": partial(_check_fields, ScheduleOptions),
    "train": _check_train,
    "target": partial(_check_fields, TargetOptions),
    "published": _check_published,
    "tune": partial(_check_fields, TuneOptions),
}
_REQUIRED = ("task", "model", "optimizer", "train")
