"""The JSON Schema of recipes, for completion and checks in an editor."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import TypeAdapter

from momentum_cli.cells.catalogue import all_cells, cell_options
from momentum_cli.data import TASKS
from momentum_cli.optim import OPTIMIZERS
from momentum_cli.options import Option, dataclass_options, options_model, signature_options
from momentum_cli.recipe.checks import NOT_OPTIONS
from momentum_cli.recipe.parameter_groups import GROUPS
from momentum_cli.recipe.recipe import Recipe


def recipe_schema() -> dict[str, Any]:
    """Return the JSON Schema of recipe files, with the options of every task, cell and optimizer.

    A recipe that extends another one may leave out anything, in any section.
    """
    schema = complete_schema()
    asked: dict[str, Any] = {"required": schema.pop("required"), "properties": {}}
    for name, section in schema["properties"].items():
        if keys := _take_required(schema, section):
            asked["properties"][name] = {"required": keys}
    schema["anyOf"] = [{"required": ["extends"]}, asked]
    return schema


def complete_schema() -> dict[str, Any]:
    """Return the JSON Schema of recipes that have everything that they must have."""
    schema = TypeAdapter(Recipe).json_schema()
    schema |= {"$schema": "https://json-schema.org/draft/2020-12/schema", "additionalProperties": False}
    cells = {name: options_model(name, cell_options(cell)).model_json_schema() for name, cell in all_cells().items()}
    properties, definitions = schema["properties"], schema["$defs"]
    about = "A recipe, by file or name, whose values count where this one has none."
    properties["extends"] = {"type": "string", "description": about}
    properties["task"] = _one_of({name: dataclass_options(task) for name, task in TASKS.items()})
    properties["optimizer"] = _optimizers()
    properties["cells"] = _closed(cells)
    properties["published"]["propertyNames"] = {"enum": list(cells)}
    definitions["ModelOptions"]["properties"]["cell"]["enum"] = list(cells)
    # Described above, because their keys depend on a name.
    for described in ("TaskOptions", "OptimizerOptions"):
        del definitions[described]
    return schema


def _take_required(schema: dict[str, Any], section: dict[str, Any]) -> list[str]:
    """Remove the required keys of a section, and return those that it has in every form."""
    if "$ref" in section:
        section = schema["$defs"][section["$ref"].rpartition("/")[2]]
    if "oneOf" in section:  # without its name a section can have several forms
        section["anyOf"] = section.pop("oneOf")
    forms = section.get("anyOf", [])
    found = [_take_required(schema, form) for form in forms if form != {"type": "null"}]
    shared = [key for key in found[0] if all(key in keys for keys in found)] if found else []
    return [*section.pop("required", []), *shared]


def _optimizers() -> dict[str, Any]:
    described = _one_of({name: signature_options(cls, NOT_OPTIONS) for name, cls in OPTIMIZERS.items()})
    for entry in described["oneOf"]:
        group = _closed({key: value for key, value in entry["properties"].items() if key != "name"})
        entry["properties"]["groups"] = _closed(dict.fromkeys(GROUPS, group))
    return described


def _one_of(family: dict[str, tuple[Option, ...]]) -> dict[str, Any]:
    """Return the schema of an object with a name and the options that belong to it."""
    models = (options_model(name, options, name=(Literal[name], ...)) for name, options in family.items())
    return {"oneOf": [model.model_json_schema() for model in models]}


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}
