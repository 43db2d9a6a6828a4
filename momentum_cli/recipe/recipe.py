"""Recipes: everything that decides a training run, typed and checked before any of it starts.

Options of tasks, dynamics and optimizers are those of the objects in `TASKS`, `DYNAMICS` and `OPTIMIZERS`; this module
adds the sections that belong to no object. Every mistake of a recipe is reported in one `RecipeError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import Field, ModelWrapValidatorHandler, model_validator

from momentum_cli.errors import RecipeError
from momentum_cli.options import (
    Problem,
)
from momentum_cli.recipe.document import Document, visible
from momentum_cli.recipe.sections import (
    AveragingOptions,
    BpttOptions,
    EarlyStoppingOptions,
    LanguageModelOptions,
    ModelOptions,
    Named,
    OptimizerOptions,
    PublishedOptions,
    ScheduleOptions,
    Section,
    TargetOptions,
    TrainOptions,
)
from momentum_cli.recipe.shipped import find_recipe, shipped_recipes

if TYPE_CHECKING:
    pass

__all__ = [
    "AveragingOptions",
    "BpttOptions",
    "EarlyStoppingOptions",
    "InvalidRecipeError",
    "LanguageModelOptions",
    "ModelOptions",
    "Named",
    "OptimizerOptions",
    "PublishedOptions",
    "Recipe",
    "ScheduleOptions",
    "TargetOptions",
    "TrainOptions",
    "find_recipe",
    "load_recipe",
    "recipe_schema",
    "shipped_recipes",
    "to_yaml",
]


class InvalidRecipeError(RecipeError):
    """A recipe with mistakes.

    Attributes:
        problems: All of them.
        entries: The same, JSON-able: where, path, message.
    """

    def __init__(self, problems: Sequence[Problem], document: Document | None = None) -> None:
        self.problems = list(problems)
        self.entries = [
            {
                "where": document.origin(problem.path) if document else "",
                "path": visible(problem.path),
                "message": problem.message,
            }
            for problem in problems
        ]
        lines = [": ".join(part for part in entry.values() if part) for entry in self.entries]
        super().__init__(lines[0] if len(lines) == 1 else "\n".join([f"{len(lines)} mistakes in the recipe", *lines]))


class Recipe(Section):
    """A checked recipe with all defaults filled in; build one with `load_recipe` or `Recipe.model_validate(mapping)`.

    Raises:
        RecipeError: Something in it is wrong; the message lists every mistake.
    """

    task: Named
    model: ModelOptions
    cells: dict[str, dict[str, Any]] = Field(default_factory=dict)
    optimizer: OptimizerOptions
    schedule: ScheduleOptions = ScheduleOptions()
    train: TrainOptions
    target: TargetOptions | None = None
    published: dict[str, PublishedOptions] = Field(default_factory=dict)
    plugins: list[str] = Field(default_factory=list)

    @model_validator(mode="wrap")
    @classmethod
    def _check(cls, data: Any, handler: ModelWrapValidatorHandler[Recipe]) -> Recipe:
        if isinstance(data, Recipe):
            return data
        from momentum_cli.recipe.checks import check_recipe

        checked, problems = check_recipe(data, {name: field.is_required() for name, field in cls.model_fields.items()})
        if problems:
            raise InvalidRecipeError(problems)
        return handler(checked)

    def override(self, *overrides: str) -> Recipe:
        """Return this recipe with `key.path=value` texts applied.

        Raises:
            RecipeError: A text or what becomes of the recipe is wrong.
        """
        return _from_document(Document(to_yaml(self.dump()), ""), overrides)

    def dump(self) -> dict[str, Any]:
        """Return the whole recipe as plain mappings, lists, texts and numbers, which `Recipe.model_validate` takes."""
        content = self.model_dump(mode="json")
        if not content["optimizer"]["groups"]:
            del content["optimizer"]["groups"]
        for section in ("published", "plugins"):
            if not content[section]:
                del content[section]
        return content

    def save(self, path: Path) -> None:
        """Write the whole recipe as YAML, in one piece or not at all; `load_recipe` gives an equal recipe."""
        from momentum_cli.runs.files import write_text

        write_text(path, to_yaml(self.dump()))


def load_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Load a recipe file, or a shipped recipe by its name, and apply overrides.

    Args:
        name_or_path: A path, or a name of `shipped_recipes()` with or without ``.yaml``.
        overrides: ``key.path=value`` texts, values typed as YAML; the last one wins.

    Raises:
        RecipeError: There is no such recipe, or it has mistakes; each is given with file, line and path.
    """
    path = find_recipe(name_or_path)
    # A path below the current folder is shown the way the user would type it.
    try:
        shown = str(path.relative_to(Path.cwd())) if path.is_absolute() else str(path)
    except ValueError:
        shown = str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise RecipeError(f"{shown}: cannot be read: {reason}{_if_data(path)}") from error
    try:
        document = Document(text, shown)
    except RecipeError as error:
        raise RecipeError(f"{error}{_if_data(path)}") from error
    return _with_paths(_from_document(document, overrides), path.parent)


def _if_data(path: Path) -> str:
    """Return what to do when the file that was given as a recipe is data."""
    if path.suffix in (".yaml", ".yml"):
        return ""
    return f". If it is data of your own, momentumrnn init {path} writes a recipe for it"


def _with_paths(recipe: Recipe, folder: Path) -> Recipe:
    """Return the recipe with ``task.path`` absolute when the file stands beside the recipe, so that a run finds it."""
    given = recipe.task.options.get("path")
    if not isinstance(given, str) or not given or Path(given).expanduser().is_absolute():
        return recipe
    place = (folder / given).resolve()
    if not place.exists():
        return recipe
    task = Named(name=recipe.task.name, **{**recipe.task.options, "path": str(place)})
    return recipe.model_copy(update={"task": task})


def to_yaml(content: dict[str, Any]) -> str:
    """Return the content of a recipe as YAML; flow style where a mapping or list holds plain values only."""
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)


def recipe_schema() -> dict[str, Any]:
    """Return the JSON Schema of recipes, with the options of every task, cell and optimizer."""
    from momentum_cli.recipe.checks import describe_families

    schema = Recipe.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    for section, description in describe_families().items():
        schema["properties"][section] = description
    cells = list(schema["properties"]["cells"]["properties"])
    schema["$defs"]["ModelOptions"]["properties"]["cell"]["enum"] = cells
    schema["properties"]["published"]["propertyNames"] = {"enum": cells}
    for unused in ("Named", "OptimizerOptions"):
        del schema["$defs"][unused]
    return schema


def _from_document(document: Document, overrides: Sequence[str]) -> Recipe:
    document.override(overrides)
    try:
        recipe = Recipe.model_validate(document.data)
    except InvalidRecipeError as error:
        raise InvalidRecipeError([*document.problems, *error.problems], document) from None
    if document.problems:
        raise InvalidRecipeError(document.problems, document)
    return recipe
