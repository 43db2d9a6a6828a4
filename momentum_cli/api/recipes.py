"""The forms in which a recipe and changes to it are given from Python."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic_core import PydanticSerializationError, to_jsonable_python

from momentum_cli.errors import RecipeError
from momentum_cli.messages import Said, refuse
from momentum_cli.recipe.recipe import Recipe, load_recipe, parse_recipe
from momentum_cli.recipe.shipped import find_recipe

RecipeLike = str | os.PathLike[str] | Mapping[str, Any] | Recipe
"""A recipe file, the name of a shipped recipe, a mapping with the sections of a recipe, or a `Recipe`."""
Overrides = Sequence[str] | Mapping[str, Any]
"""Changes to a recipe: texts ``"key.path=value"`` as on the command line, or a mapping of key paths to values."""


def override_texts(overrides: Overrides) -> list[str]:
    """Return changes as texts ``key.path=value``.

    Raises:
        RecipeError: They are a single text, which Python would read as a list of letters, or a recipe cannot hold one.
    """
    if isinstance(overrides, Mapping):
        return [f"{key}={_written(key, value)}" for key, value in overrides.items()]
    if isinstance(overrides, str):
        raise RecipeError(refuse("overrides", overrides, "be a list of texts or a mapping", f"write [{overrides!r}]"))
    return list(overrides)


def _written(key: str, value: Any) -> str:
    try:
        # Written as JSON, a value keeps its type when it is read as YAML.
        return json.dumps(to_jsonable_python(value))
    except (PydanticSerializationError, ValueError) as error:
        raise RecipeError(refuse(key, value, "be a value that a recipe can hold")) from error


def read_recipe(recipe: RecipeLike, overrides: Overrides = ()) -> tuple[Recipe, Path | None]:
    """Return a checked recipe with changes applied, and its file if it has one.

    Raises:
        RecipeError: The recipe does not exist, or it or a change is wrong.
    """
    changes = override_texts(overrides)
    if isinstance(recipe, Mapping):
        recipe = parse_recipe(dict(recipe))
    if isinstance(recipe, Recipe):
        return recipe.override(*changes) if changes else recipe, None
    file = find_recipe(os.fspath(recipe))
    return load_recipe(file, changes), file


def recipe_files(recipes: Sequence[RecipeLike], folder: Path) -> list[str]:
    """Return recipes as files and names; those that have no file are written to a folder, named after their task."""
    found = []
    for recipe in recipes:
        if isinstance(recipe, Mapping | Recipe):
            checked, _ = read_recipe(recipe)
            file = folder / f"{checked.task.name}.yaml"
            checked.save(file)
            found.append(str(file))
        else:
            found.append(os.fspath(recipe))
    return found


def run_name(recipe: RecipeLike) -> str:
    """Return the name of a run to resume, or of the recipe whose newest run is wanted.

    Raises:
        RecipeError: It is a recipe without a name.
    """
    if isinstance(recipe, Mapping | Recipe):
        raise RecipeError(refuse("recipe", Said("a recipe"), "be a run folder or the name of a recipe with resume"))
    return os.fspath(recipe)
