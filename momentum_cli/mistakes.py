"""What pydantic finds wrong with a value, in the words of this program: got, allowed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What was wanted, by the kinds of pydantic's errors; those of comparisons carry their limit.
_WANTED = {
    "int_type": "an integer",
    "int_parsing": "an integer",
    "int_parsing_size": "an integer of fewer digits",
    "int_from_float": "an integer",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "a text",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "list_type": "a list",
    "tuple_type": "a list",
}
_SIGNS = {
    "greater_than": (">", "gt"),
    "greater_than_equal": (">=", "ge"),
    "less_than": ("<", "lt"),
    "less_than_equal": ("<=", "le"),
}
_LONGEST = 60


def describe_value(value: Any) -> str:
    """Return what a value is, for messages: mappings and lists by kind, long texts by their beginning."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    shown = repr(value)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}… ({len(shown):,} characters)"


def describe_mistake(detail: Mapping[str, Any]) -> str:
    """Return one error of pydantic as "got …, allowed is …".

    Args:
        detail: An entry of `pydantic.ValidationError.errors`: ``type``, ``input``, ``msg`` and, for limits, ``ctx``.
    """
    kind, got = str(detail["type"]), describe_value(detail["input"])
    if kind == "missing":
        return "missing; this key is required"
    if kind in _SIGNS:
        sign, key = _SIGNS[kind]
        return f"got {got}, allowed is {sign} {detail['ctx'][key]:g}"
    if kind in ("literal_error", "enum"):
        return f"got {got}, allowed is {detail['ctx']['expected']}"
    message = str(detail["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    return f"got {got}, allowed is {_WANTED.get(kind, message)}"
