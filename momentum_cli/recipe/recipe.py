"""Recipes: everything that determines a training run, typed and checked before it starts.

Options of tasks, cells and optimizers are those of the objects in `TASKS`, `DYNAMICS`, `LAYERS` and `OPTIMIZERS`;
`momentum_cli.recipe.sections` adds the sections that belong to no object. Every mistake of a recipe is reported in one
`InvalidRecipeError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic_core import to_jsonable_python

from momentum_cli.errors import DataError, RecipeError
from momentum_cli.messages import refuse, shortened
from momentum_cli.options import Problem
from momentum_cli.reading import expanded, read_text
from momentum_cli.recipe.document import ENDINGS, MAX_BYTES, Document, Dumper, visible
from momentum_cli.recipe.sections import (
    ModelOptions,
    OptimizerOptions,
    PublishedOptions,
    ScheduleOptions,
    TargetOptions,
    TaskOptions,
    TrainOptions,
    TuneOptions,
)
from momentum_cli.recipe.shipped import find_recipe, shipped_recipes
from momentum_cli.runs.files import write_text

# A message lists at most this many mistakes.
_SHOWN = 20
# More recipes than anyone lets extend one another.
_MAX_EXTENDED = 20


class InvalidRecipeError(RecipeError):
    """A recipe with mistakes.

    Attributes:
        problems: All of them.
        entries: The first 20, JSON-able: where, path, message.
    """

    def __init__(self, problems: Sequence[Problem], document: Document | None = None) -> None:
        self.problems = tuple(problems)
        self.entries = [
            {
                "where": shortened(document.origin(problem.path)) if document else "",
                "path": shortened(visible(problem.path)),
                "message": shortened(problem.message),
            }
            for problem in problems[:_SHOWN]
        ]
        lines = [": ".join(part for part in entry.values() if part) for entry in self.entries]
        if len(problems) > 1:
            lines.insert(0, f"{len(problems)} mistakes in the recipe")
        if len(problems) > _SHOWN:
            lines.append(f"and {len(problems) - _SHOWN:,} more")
        super().__init__("\n".join(lines))


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A checked recipe with all defaults filled in; made by `load_recipe` and `parse_recipe`."""

    task: TaskOptions
    model: ModelOptions
    cells: dict[str, dict[str, Any]] = field(default_factory=dict)
    optimizer: OptimizerOptions
    schedule: ScheduleOptions = field(default_factory=ScheduleOptions)
    train: TrainOptions
    metrics: list[str] = field(default_factory=list)
    target: TargetOptions | None = None
    published: dict[str, PublishedOptions] = field(default_factory=dict)
    tune: TuneOptions | None = None
    plugins: list[str] = field(default_factory=list)

    @property
    def goal(self) -> tuple[str, float] | None:
        """(metric, value) of the target; None without one, and for a baseline's, which only a benchmark knows."""
        target = self.target
        return None if target is None or target.value is None else (target.metric, target.value)

    def override(self, *overrides: str) -> Recipe:
        """Return this recipe with `key.path=value` texts applied.

        Raises:
            RecipeError: An override or the resulting recipe is wrong.
        """
        return _from_document(Document(to_yaml(self.dump()), ""), overrides)

    def dump(self) -> dict[str, Any]:
        """Return the whole recipe as plain mappings, lists, strings and numbers, for `parse_recipe`."""
        content = {
            "task": self.task.dump(),
            "model": self.model,
            "cells": self.cells,
            "optimizer": self.optimizer.dump(),
            "schedule": self.schedule,
            "train": self.train,
            **({"metrics": self.metrics} if self.metrics else {}),
            "target": self.target,
            **({"published": self.published} if self.published else {}),
            **({"tune": self.tune} if self.tune is not None else {}),
            **({"plugins": self.plugins} if self.plugins else {}),
        }
        plain: dict[str, Any] = to_jsonable_python(content)
        return plain

    def save(self, path: Path) -> None:
        """Write the whole recipe as YAML, completely or not at all; `load_recipe` returns an equal recipe."""
        write_text(path, to_yaml(self.dump()))


def parse_recipe(content: Any) -> Recipe:
    """Return the recipe of a mapping like the result of `Recipe.dump`.

    Raises:
        InvalidRecipeError: The recipe has mistakes; the message lists them.
    """
    # Imports torch, which showing or copying a recipe does not need.
    from momentum_cli.recipe.checks import check_recipe

    sections, problems = check_recipe(content)
    if problems:
        raise InvalidRecipeError(problems)
    return Recipe(**sections)


def load_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Load a recipe file, or a shipped recipe by its name, and apply overrides.

    Args:
        name_or_path: A path, or a name of `shipped_recipes()` with or without ``.yaml``.
        overrides: ``key.path=value`` texts, values typed as YAML; the last one wins.

    Raises:
        RecipeError: The recipe does not exist or has mistakes; each is given with file, line and path.
    """
    document, folder = _open(name_or_path)
    return _with_paths(_from_document(document, overrides), folder)


def full_overrides(name_or_path: str | Path, overrides: Sequence[str]) -> list[str]:
    """Return overrides of a recipe with the whole path of each key: ``train.epochs=3`` for ``epochs=3``.

    Args:
        name_or_path, overrides: As for `load_recipe`.

    Raises:
        RecipeError: The recipe does not exist, or an override is not one or has a key that no section has.
    """
    document, _ = _open(name_or_path)
    found = _apply(document, overrides)
    if document.problems:
        raise InvalidRecipeError(document.problems, document)
    return found


def recipe_text(name_or_path: str | Path) -> str:
    """Return the text of a recipe as it was written, mistakes included.

    Raises:
        RecipeError: It does not exist, or is not a text.
    """
    path = find_recipe(name_or_path)
    return _text(path, _shown(path))


def _open(name_or_path: str | Path) -> tuple[Document, Path]:
    """Read a recipe; return it and the folder of its file."""
    path = find_recipe(name_or_path)
    return _document(path, _shown(path)), path.parent


def _shown(path: Path) -> str:
    """Return the name of a file for messages: below the current folder as the user would type it."""
    try:
        return str(path.relative_to(Path.cwd())) if path.is_absolute() else str(path)
    except (ValueError, FileNotFoundError):  # elsewhere, or the current folder no longer exists
        return str(path)


def describe_recipes() -> list[dict[str, Any]]:
    """Return one JSON-able entry per shipped recipe: name, task, cell, its opening comment, path."""
    entries = []
    for name, path in shipped_recipes().items():
        data = _document(path, name).data
        comment = path.read_text(encoding="utf-8").partition("\n\n")[0].splitlines()
        lines = [line.removeprefix("#").strip() for line in comment if line.startswith("#")]
        entries.append(
            {
                "name": name,
                "task": data["task"]["name"],
                "cell": data["model"].get("cell", "momentum"),
                # The first line is the command, and the sentence after it describes the recipe.
                "about": _first_sentence(" ".join(lines[1:])),
                "command": lines[0] if lines else "",
                "path": str(path),
            }
        )
    return entries


def _first_sentence(text: str) -> str:
    sentence, end, _ = text.partition(". ")
    return sentence + end.strip()


def _text(path: Path, shown: str) -> str:
    try:
        return read_text(path, MAX_BYTES)
    except DataError as error:
        raise RecipeError(f"{str(error).replace(str(path), shown, 1)}{_if_data(path)}") from error


def _document(path: Path, shown: str, below: tuple[Path, ...] = ()) -> Document:
    """Read a recipe file, and the recipes that it extends.

    Args:
        path: Path of the file.
        shown: Its name for messages.
        below: The files that extend it.
    """
    text = _text(path, shown)
    try:
        document = Document(text, shown)
    except RecipeError as error:
        raise RecipeError(f"{error}{_if_data(path)}") from error
    if "extends" not in document.data:
        return document
    where, parent = document.origin(("extends",)), document.data.pop("extends")
    if not isinstance(parent, str):
        raise RecipeError(f"{where}: {refuse('extends', parent, 'be the file or the name of a recipe')}")
    beside = path.parent / parent
    try:
        file = beside if beside.is_file() else find_recipe(parent)
    except (RecipeError, OSError) as error:  # a name that no file can have
        raise RecipeError(f"{where}: extends: {shortened(str(error))}") from error
    line = (*below, path.resolve())
    if file.resolve() in line:
        raise RecipeError(f"{where}: extends: {parent} extends this recipe in turn")
    if len(line) > _MAX_EXTENDED:
        raise RecipeError(f"{where}: extends: more than {_MAX_EXTENDED} recipes extend one another")
    other = _document(file, str(file if beside.is_file() else parent), line)
    task = other.data.get("task")
    if isinstance(task, dict) and (place := _beside(task.get("path"), file.parent)) is not None:
        task["path"] = place
    document.extend(other)
    return document


def _if_data(path: Path) -> str:
    """Return advice for a data file that was given as a recipe, else ""."""
    if path.suffix in ENDINGS:
        return ""
    return f". If it is your own data, momentumrnn init {path} writes a recipe for it"


def _with_paths(recipe: Recipe, folder: Path) -> Recipe:
    """Return the recipe with ``task.path`` absolute when the file is next to the recipe, so that a run finds it."""
    place = _beside(recipe.task.options.get("path"), folder)
    if place is None:
        return recipe
    return replace(recipe, task=replace(recipe.task, options={**recipe.task.options, "path": place}))


def _beside(given: Any, folder: Path) -> str | None:
    """Return the absolute path of data next to a recipe, None if there are none."""
    if not isinstance(given, str) or not given or expanded(given).is_absolute():
        return None
    try:
        place = (folder / given).resolve()
    except (OSError, RuntimeError):  # a circle of links, which reading it refuses
        return None
    # A pattern exists if it matches a file.
    there = place.exists() or (set(given) & set("*?[") and any(folder.glob(given)))
    return str(place) if there else None


def to_yaml(content: dict[str, Any]) -> str:
    """Return the content of a recipe as YAML, with mappings and lists of plain values in flow style."""
    return yaml.dump(content, Dumper=Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)


def _apply(document: Document, overrides: Sequence[str]) -> list[str]:
    """Apply overrides, whose keys may lack their section; return them as `Document.override` does."""
    # Imports torch, which showing or copying a recipe does without.
    from momentum_cli.recipe.short_keys import full_key

    return document.override(
        overrides, lambda key: key if key in Recipe.__dataclass_fields__ else full_key(key, document.data)
    )


def _from_document(document: Document, overrides: Sequence[str]) -> Recipe:
    _apply(document, overrides)
    try:
        recipe = parse_recipe(document.data)
    except InvalidRecipeError as error:
        raise InvalidRecipeError([*document.problems, *error.problems], document) from None
    if document.problems:
        raise InvalidRecipeError(document.problems, document)
    return recipe
