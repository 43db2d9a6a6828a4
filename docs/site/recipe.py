"""The reference of recipes: the keys from the JSON Schema, the cells from their tables, and the shipped recipes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from momentum_cli.inspection.cells import describe_cells
from momentum_cli.recipe.recipe import describe_recipes
from momentum_cli.recipe.schema import complete_schema
from momentum_cli.recipe.shipped import shipped_recipes

Schema = dict[str, Any]
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<", "le": "≤"}

# Sections whose keys depend on a name have no description of their own in the schema.
GUIDES = {
    "task": "The task and its options. [Data](../data.md) explains them.",
    "optimizer": "The optimizer and the arguments of its class. [Optimizers](../optimizers.md) explains them.",
    "cells": "Options of cells, by the name of the cell. [Cells](cells.md) lists them with their ranges.",
    "published": "Published results, by the name of the cell.",
    "metrics": "Metrics in front of those of the task. [Metrics](../metrics.md) defines them.",
    "plugins": "Names of the plugins that the cells come from. [Plugins](../plugins.md) explains them.",
}

KEYS_INTRO = """# Keys of a recipe

Every key that a recipe may have, from the JSON Schema that `momentumrnn recipes schema` prints.
[Recipes](../recipes.md) explains how they work together.
"""
CELLS_INTRO = """# Cells

Every built-in cell with the update of one step. `u` is the projected input, `d` what the recurrence takes in;
`momentumrnn cells list` shows the same, and the cells of your plugins.
"""
SHIPPED_INTRO = """# Shipped recipes

`momentumrnn train NAME` runs one of them, `momentumrnn recipes copy NAME my.yaml` starts your own from it.
"""


def pages() -> dict[str, str]:
    """Return the pages on recipes, by their file names."""
    return {"recipe-keys.md": _keys_page(), "cells.md": _cells_page(), "shipped-recipes.md": _shipped_page()}


def _keys_page() -> str:
    schema = complete_schema()
    parts = [KEYS_INTRO]
    for name, value in schema["properties"].items():
        required = "Required. " if name in schema["required"] else ""
        section = _resolve(value, schema)
        parts.append(f"## {name}\n\n{required}{GUIDES.get(name) or section['description']}")
        parts += _section(name, section, schema)
    return "\n\n".join(parts) + "\n"


def _section(path: str, section: Schema, root: Schema) -> Iterator[str]:
    """Yield the tables of a section: one for its keys, or one for each of its forms."""
    if "oneOf" in section:
        for form in section["oneOf"]:
            name = form["properties"]["name"]
            yield f"### {path}.name: {name['const'] if 'const' in name else name['pattern']}"
            yield _table({key: value for key, value in form["properties"].items() if key != "name"}, form, root)
    elif path == "cells":
        return
    elif properties := section.get("properties"):
        yield _table(properties, section, root)
        for key, value in properties.items():
            inner = _resolve(value, root)
            if "properties" in inner:
                yield f"### {path}.{key}\n\n{inner['description']}"
                yield _table(inner["properties"], inner, root)
    elif "additionalProperties" in section:
        inner = _resolve(section["additionalProperties"], root)
        yield inner["description"]
        yield _table(inner["properties"], inner, root)


def _table(properties: Schema, section: Schema, root: Schema) -> str:
    if not properties:
        return "No options."
    rows = []
    for key, value in properties.items():
        default = "required" if key in section.get("required", ()) else f"`{_shown(value.get('default'))}`"
        rows.append(f"| `{key}` | {default} | {_type(value, root)} |")
    return "\n".join(["| key | default | value |", "|---|---|---|", *rows])


def _type(value: Schema, root: Schema) -> str:
    """Return what a key takes, in words."""
    if "$ref" in value:
        return "mapping"
    if "anyOf" in value:
        return " or ".join(_type(option, root) for option in value["anyOf"])
    if "const" in value:
        return f"`{_shown(value['const'])}`"
    if "enum" in value:
        # The names of all cells would fill the page.
        return ", ".join(f"`{_shown(each)}`" for each in value["enum"]) if len(value["enum"]) < 12 else "a name"
    if value.get("type") == "array":
        items = _type(value["items"], root) if "items" in value else "any value"
        return f"list of {items}"
    names = {"integer": "whole number", "number": "number", "boolean": "`true`, `false`", "string": "text"}
    words = {"null": "`null`", "object": "mapping", **names}.get(value.get("type", ""), "any value")
    bounds = [f"{sign} {json.dumps(value[key])}" for key, sign in BOUNDS.items() if key in value]
    return " ".join([words, ", ".join(bounds)]).strip()


def _resolve(value: Schema, root: Schema) -> Schema:
    """Return the schema that a reference, or an optional reference, leads to."""
    for option in (value, *value.get("anyOf", ())):
        if "$ref" in option:
            found: Schema = root["$defs"][option["$ref"].rpartition("/")[2]]
            return found
    return value


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _cells_page() -> str:
    parts = [CELLS_INTRO]
    for cell in describe_cells():
        lines = "\n".join(cell["equation"].split("; "))
        parts.append(f"## {cell['name']}\n\n```text\n{lines}\n```")
        if cell["options"]:
            rows = [
                f"| `{name}` | `{_shown(option['default'])}` | {option['range']} |"
                for name, option in cell["options"].items()
            ]
            parts.append("\n".join(["| option | default | range |", "|---|---|---|", *rows]))
    return "\n\n".join(parts) + "\n"


def _shipped_page() -> str:
    files, parts = shipped_recipes(), [SHIPPED_INTRO]
    for entry in describe_recipes():
        text = files[entry["name"]].read_text(encoding="utf-8")
        parts.append(f"## {entry['name']}\n\n{entry['about']}\n\n```yaml\n{text}```")
    return "\n\n".join(parts) + "\n"
