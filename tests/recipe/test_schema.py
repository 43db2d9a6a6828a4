"""The JSON Schema knows every option and accepts what is shipped."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from momentum_cli.cells.catalogue import all_cells
from momentum_cli.data import TASKS
from momentum_cli.optim import OPTIMIZERS
from momentum_cli.recipe.document import Document
from momentum_cli.recipe.schema import recipe_schema
from momentum_cli.recipe.shipped import shipped_recipes


def test_schema_knows_every_option() -> None:
    schema = recipe_schema()
    assert schema["additionalProperties"] is False
    tasks = {entry["properties"]["name"]["const"]: entry for entry in schema["properties"]["task"]["anyOf"]}
    assert tasks.keys() == TASKS.keys()
    assert set(tasks["pmnist"]["properties"]) == {
        "name",
        "pixels_per_step",
        "validation",
        "split_seed",
        "permutation_seed",
        "shift",
    }
    assert all(entry["additionalProperties"] is False for entry in tasks.values())
    optimizers = {entry["properties"]["name"]["const"] for entry in schema["properties"]["optimizer"]["anyOf"]}
    assert optimizers == OPTIMIZERS.keys()
    assert schema["properties"]["cells"]["properties"].keys() == all_cells().keys()
    assert schema["$defs"]["ModelOptions"]["properties"]["cell"]["enum"] == list(all_cells())
    assert schema["properties"]["published"]["propertyNames"]["enum"] == list(all_cells())
    references = set(re.findall(r"#/\$defs/(\w+)", str(schema)))
    assert references == schema["$defs"].keys()


# Of the vocabularies core, applicator, validation and meta-data of draft 2020-12: those that a recipe needs.
KEYWORDS = {
    *("$schema", "$defs", "$ref", "title", "description", "default", "type", "enum", "const"),
    *(
        "properties",
        "required",
        "additionalProperties",
        "propertyNames",
        "items",
        "prefixItems",
        "minItems",
        "maxItems",
    ),
    *("minProperties", "maxProperties", "anyOf", "oneOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
}


def keywords(schema: Any) -> Iterator[str]:
    """Yield the keywords of a schema and of all schemas in it."""
    if isinstance(schema, bool):
        return
    yield from schema
    for name in ("properties", "$defs"):
        for inner in schema.get(name, {}).values():
            yield from keywords(inner)
    for name in ("anyOf", "oneOf", "prefixItems"):
        for inner in schema.get(name, ()):
            yield from keywords(inner)
    for name in ("items", "additionalProperties", "propertyNames"):
        if name in schema:
            yield from keywords(schema[name])


def test_schema_uses_standard_keywords_only() -> None:
    """An editor ignores others, such as pydantic's `le`, and with them the limit."""
    assert set(keywords(recipe_schema())) <= KEYWORDS
    layers = recipe_schema()["$defs"]["ModelOptions"]["properties"]["num_layers"]
    assert (layers["minimum"], layers["maximum"]) == (1, 1000)


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_schema_accepts_shipped_recipes(name: str) -> None:
    validator = pytest.importorskip("jsonschema").Draft202012Validator(recipe_schema())
    document = Document(shipped_recipes()[name].read_text(encoding="utf-8"), name)
    assert list(validator.iter_errors(document.data)) == []


@pytest.mark.parametrize(
    ("data", "accepted"),
    [
        ({"extends": "digits", "optimizer": {"lr": 0.1}, "target": {"value": 0.9}, "model": {"cell": "adam"}}, True),
        ({"extends": "digits", "optimizer": {"lrr": 0.1}}, False),
        ({"extends": "digits", "optimizer": {"name": "sgd", "betas": [0.9, 0.99]}}, False),
        ({"task": {"name": "digits"}, "model": {"hidden_size": 4}, "optimizer": {"name": "sgd"}, "train": {}}, True),
        ({"task": {"name": "digits"}, "model": {}, "optimizer": {"name": "sgd"}, "train": {}}, False),
        ({"task": {"name": "digits"}, "model": {"hidden_size": 4}, "optimizer": {"lr": 0.1}, "train": {}}, False),
        ({"task": {"name": "digits"}, "model": {"hidden_size": 4}, "train": {}}, False),
        ({"task": {}, "model": {"hidden_size": 4}, "optimizer": {"name": "sgd"}, "train": {}}, False),
    ],
)
def test_only_a_recipe_that_extends_another_one_may_leave_out_what_is_required(data: Any, accepted: bool) -> None:
    validator = pytest.importorskip("jsonschema").Draft202012Validator(recipe_schema())
    assert validator.is_valid(data) == accepted
