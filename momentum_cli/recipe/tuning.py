"""The search space of a recipe: the changes that values make, when they have an effect, and which are mistakes."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from momentum_cli.cells.find import canonical_name
from momentum_cli.errors import RecipeError
from momentum_cli.optim import OPTIMIZERS, resolve
from momentum_cli.options import Problem, signature_options
from momentum_cli.recipe.axes import Axis, Value
from momentum_cli.recipe.sections import SCHEDULE_OPTIONS, ModelOptions, ScheduleOptions

NAMES = ("model.cell", "optimizer.name", "schedule.name")
"""Keys whose value decides which other keys have an effect."""


def applied(content: Mapping[str, Any], drawn: Mapping[str, Value]) -> dict[str, Any]:
    """Return the content of a recipe with the drawn values, without its section `tune`.

    A drawn optimizer or schedule other than the recipe's takes none of the recipe's options but the learning rate.

    Args:
        content: Content of the recipe.
        drawn: Whole path of a key -> value.
    """
    changed = copy.deepcopy({key: value for key, value in content.items() if key != "tune"})
    for section, kept in (("optimizer", ("lr",)), ("schedule", ())):
        name, own = drawn.get(f"{section}.name"), changed.get(section)
        if name is not None and isinstance(own, dict) and own.get("name") != name:
            changed[section] = {"name": name, **{key: own[key] for key in kept if key in own}}
    for key, value in drawn.items():
        *path, last = key.split(".")
        target = changed
        for part in path:
            if not isinstance(target.get(part), dict):
                target[part] = {}
            target = target[part]
        target[last] = value
    return changed


def has_effect(key: str, content: Mapping[str, Any], drawn: Mapping[str, Value]) -> bool:
    """Return True if a key has an effect with the drawn values: it belongs to no other cell, optimizer or schedule.

    Args:
        key: A whole path.
        content: Content of the recipe.
        drawn: The drawn values, at least those of `NAMES`.
    """
    section, _, rest = key.partition(".")
    condition = _CONDITIONS.get(section)
    return condition is None or condition(rest, content, drawn)


def _of_cell(rest: str, content: Mapping[str, Any], drawn: Mapping[str, Value]) -> bool:
    names = rest.partition(".")[0], _name("model", "cell", content, drawn, ModelOptions.model_fields["cell"].default)
    try:
        return canonical_name(names[0]) == canonical_name(names[1])
    except RecipeError:
        return names[0] == names[1]


def _of_optimizer(rest: str, content: Mapping[str, Any], drawn: Mapping[str, Value]) -> bool:
    if rest.partition(".")[0] in ("name", "lr", "groups"):
        return True
    name = _name("optimizer", "name", content, drawn, "")
    try:
        known = _options_of(name)
    except ValueError:
        return False
    # A key that no optimizer has is refused with the recipe's own optimizer.
    return rest in known or (
        "optimizer.name" not in drawn and not any(rest in _options_of(each) for each in OPTIMIZERS)
    )


def _options_of(optimizer: str) -> set[str]:
    return {option.name for option in signature_options(resolve(optimizer), frozenset())}


def _of_schedule(rest: str, content: Mapping[str, Any], drawn: Mapping[str, Value]) -> bool:
    name = _name("schedule", "name", content, drawn, ScheduleOptions.model_fields["name"].default)
    conditional = frozenset().union(*SCHEDULE_OPTIONS.values())
    return rest not in conditional or rest in SCHEDULE_OPTIONS.get(name, conditional)


_CONDITIONS: dict[str, Callable[[str, Mapping[str, Any], Mapping[str, Value]], bool]] = {
    "cells": _of_cell,
    "optimizer": _of_optimizer,
    "schedule": _of_schedule,
}


def _name(section: str, key: str, content: Mapping[str, Any], drawn: Mapping[str, Value], default: str) -> str:
    own = content.get(section)
    return str(drawn.get(f"{section}.{key}") or (own.get(key) if isinstance(own, Mapping) else None) or default)


def contexts(space: Mapping[str, Axis]) -> Iterator[dict[str, Value]]:
    """Yield every combination of the cells, optimizers and schedules of a search space."""
    named = {key: space[key].points() or [] for key in NAMES if key in space}
    for values in itertools.product(*named.values()):
        yield dict(zip(named, values, strict=True))


def space_problems(
    content: Mapping[str, Any],
    space: Mapping[str, Axis],
    check: Callable[[Mapping[str, Any]], list[Problem]],
) -> list[Problem]:
    """Return the axes that give recipes with mistakes, with paths relative to the section `tune`.

    Each axis is tried at its ends and in its middle, or at every choice, with the first cell, optimizer and schedule
    with which it has an effect. One that never has an effect is none here, as options of other cells are none in
    `cells`: a benchmark gives the recipe other cells. A search refuses it, see `idle_axes`.

    Args:
        content: Content of a recipe without mistakes outside `tune`.
        space: Its search space.
        check: Returns the mistakes of a recipe without `tune`.
    """
    problems: list[Problem] = []
    around = list(contexts(space))
    for key, axis in space.items():
        place = ("space", key)
        section = key.partition(".")[0]
        if "." not in key or section not in TUNABLE:
            allowed = ", ".join(TUNABLE)
            problems.append(Problem(place, f"must be the whole path of a key in {allowed}, such as optimizer.lr"))
            continue
        beside = next((drawn for drawn in around if has_effect(key, content, drawn)), None)
        if beside is None:
            continue
        for value in axis.samples():
            found = check(applied(content, {**beside, key: value}))
            if found:
                where = ".".join(found[0].path)
                problems.append(Problem(place, f"with {value!r}: {where + ': ' if where else ''}{found[0].message}"))
                break
    return problems


def idle_axes(content: Mapping[str, Any], space: Mapping[str, Axis]) -> dict[str, str]:
    """Return the keys of a search space that never have an effect, with the reason.

    Args:
        content: Content of a recipe.
        space: A search space without other mistakes.
    """
    around = list(contexts(space))
    return {
        key: _other(key.partition(".")[0])
        for key in space
        if not any(has_effect(key, content, drawn) for drawn in around)
    }


TUNABLE = ("task", "model", "cells", "optimizer", "schedule", "train")
"""Sections whose keys can be searched."""


def _other(section: str) -> str:
    what = {"cells": "the recipe has another cell", "schedule": "the recipe's schedule does not use it"}
    return what.get(section, "no optimizer of the search has it")
