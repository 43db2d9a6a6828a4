"""The search space of a recipe: drawing values, and the recipe of a trial."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from momentum_cli.errors import RecipeError
from momentum_cli.recipe.axes import MOST_POINTS, Axis, Range, Value, parse_axis
from momentum_cli.recipe.recipe import Recipe, parse_recipe
from momentum_cli.recipe.short_keys import full_key
from momentum_cli.recipe.tuning import NAMES, applied, has_effect, idle_axes

Values = dict[str, Value]
"""Whole path of a key -> drawn value."""


@dataclass(frozen=True)
class Space:
    """A search space around a recipe.

    Args:
        recipe: The recipe; its section `tune` is not used.
        axes: Whole path of a key -> its axis.
    """

    recipe: Recipe
    axes: Mapping[str, Axis]

    @cached_property
    def content(self) -> dict[str, Any]:
        """The content of the recipe."""
        return self.recipe.dump()

    @cached_property
    def keys(self) -> list[str]:
        """The keys in the order in which they are drawn: first those that decide which others have an effect."""
        return sorted(self.axes, key=lambda key: key not in NAMES)

    def draw(self, pick: Callable[[str, Axis], Value]) -> Values:
        """Return a value for every key that has an effect together with the others.

        Args:
            pick: Returns the value of a key on its axis.
        """
        drawn: Values = {}
        for key in self.keys:
            if has_effect(key, self.content, drawn):
                drawn[key] = pick(key, self.axes[key])
        return drawn

    def recipe_of(self, values: Mapping[str, Value]) -> Recipe:
        """Return the recipe with drawn values.

        Raises:
            InvalidRecipeError: The values do not fit together.
        """
        return parse_recipe(applied(self.content, values))

    def own(self) -> Values | None:
        """Return the recipe's own values; None if one of them is not in the space."""
        found: Values = {}
        for key in self.keys:
            if not has_effect(key, self.content, found):
                continue
            value: Any = self.content
            for part in key.split("."):
                value = value.get(part) if isinstance(value, dict) else None
            if not self.axes[key].contains(value):
                return None
            found[key] = value
        return found

    def grid(self) -> list[Values]:
        """Return every combination of values, each once.

        Raises:
            RecipeError: An axis, or the grid, has too many values.
        """
        points = {key: self.axes[key].points() for key in self.keys}
        endless = [key for key, values in points.items() if values is None]
        if endless:
            raise RecipeError(
                f"tune.sampler grid needs axes with a finite number of values: give {', '.join(endless)} a step, as in "
                "{float: [0, 1, 0.25]}, or a list of choices"
            )
        count = math.prod(len(values or ()) for values in points.values())
        if count > MOST_POINTS:
            raise RecipeError(
                f"tune.sampler grid: must have at most {MOST_POINTS:,} combinations, got {count:,}; give longer steps"
            )
        return list(_combined(self, [values or [] for values in points.values()]))


def _combined(space: Space, points: Sequence[Sequence[Value]]) -> Iterator[Values]:
    seen = set()
    for row in itertools.product(*points):
        at = dict(zip(space.keys, row, strict=True))
        drawn = space.draw(lambda key, axis, at=at: at[key])  # type: ignore[misc]
        mark = tuple((key, type(value), value) for key, value in drawn.items())
        if mark not in seen:
            seen.add(mark)
            yield drawn


# Ranges of the options of cells, which contain the values in the recipes of the papers and of this package.
CELL_AXES: dict[str, Range] = {
    "momentum": Range(0.0, 0.95),
    "step_size": Range(0.1, 3.0, log=True),
    "beta2": Range(0.0, 0.999),
    "restart_every": Range(2, 64, log=True, whole=True),
}
LR_FACTOR = 10.0
"""The learning rate is searched from the recipe's divided by this to the recipe's times this."""


def rate_axis(lr: float) -> Range:
    """Return the axis of a learning rate around a recipe's."""
    return Range(float(f"{lr / LR_FACTOR:.4g}"), float(f"{lr * LR_FACTOR:.4g}"), log=True)


def default_axes(recipe: Recipe) -> dict[str, Axis]:
    """Return the axes of a recipe that names none: its learning rate, and the options of its cell."""
    cell = recipe.model.cell
    axes: dict[str, Axis] = {"optimizer.lr": rate_axis(recipe.optimizer.lr)}
    axes |= {f"cells.{cell}.{name}": CELL_AXES[name] for name in recipe.cells.get(cell, {}) if name in CELL_AXES}
    return axes


def given_axes(texts: Sequence[str], recipe: Recipe) -> dict[str, Axis]:
    """Return the axes of ``KEY=AXIS`` texts of the command line; a text may hold several, separated by semicolons.

    Raises:
        RecipeError: A text is not of this form, or a key has no section.
    """
    axes: dict[str, Axis] = {}
    for text in (part.strip() for given in texts for part in given.split(";") if part.strip()):
        key, equals, body = (part.strip() for part in text.partition("="))
        if not equals or not key or not body:
            raise RecipeError(f"--space {text!r}: must be KEY=AXIS, such as 'optimizer.lr=log:1e-4..1e-1'")
        try:
            whole = key if "." in key else full_key(key, recipe.dump())
            if whole in axes:
                raise ValueError(f"{whole} is there twice; leave one out")
            axes[whole] = parse_axis(body)
        except ValueError as error:
            raise RecipeError(f"--space {text!r}: {error}") from error
    return axes


def with_tune(recipe: Recipe, axes: Mapping[str, Axis], **settings: Any) -> Recipe:
    """Return a recipe whose section `tune` is complete and checked.

    Args:
        recipe: A recipe with or without such a section.
        axes: Axes in place of its space; {} keeps its space, and an empty space becomes the default.
        settings: Replace the section's values, unless None.

    Raises:
        RecipeError: The section has mistakes, or an axis never has an effect.
    """
    content = recipe.dump()
    section = content.get("tune") or {}
    space = {key: axis.dump() for key, axis in axes.items()} or section.get("space")
    space = space or {key: axis.dump() for key, axis in default_axes(recipe).items()}
    content["tune"] = section | {"space": space} | {key: value for key, value in settings.items() if value is not None}
    made = parse_recipe(content)
    idle = idle_axes(content, made.tune.space) if made.tune else {}
    if idle:
        reasons = "; ".join(f"tune.space.{key}: never has an effect: {reason}" for key, reason in idle.items())
        raise RecipeError(f"{reasons}; leave it out or add what has it")
    return made


def without_tune(recipe: Recipe) -> Recipe:
    """Return a recipe without its section `tune`."""
    return replace(recipe, tune=None)
