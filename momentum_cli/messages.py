"""Messages of refusals: one wording for names that do not exist, with the nearest, and for wrong values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

# More names than this are a wall of text at the end of a message.
_READABLE = 12


def nearest(name: str, allowed: Iterable[str]) -> str | None:
    """Return the allowed name that is most like `name`, or None when none is like it; case does not count."""
    folded = {candidate.casefold(): candidate for candidate in allowed}
    found = get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def unknown(what: str, name: str, allowed: Iterable[str], owner: str = "", *, listed_by: str = "") -> str:
    """Return the message for a name that does not exist: what was got, the nearest name and all allowed ones.

    Args:
        what: What it is the name of, such as "cell" or "key".
        name: What was got.
        allowed: The names that exist, in the order to show them.
        owner: What the names belong to, such as "optimizer adam"; "" for nothing.
        listed_by: A command that shows them, named in place of all names where there are too many to read.
    """
    names = list(allowed)
    of = f" of {owner}" if owner else ""
    return f"unknown {what} {name!r}{of}{did_you_mean(name, names)} ({allowed_names(names, listed_by)})"


def did_you_mean(name: str, allowed: Iterable[str]) -> str:
    """Return "; did you mean …?" with the nearest allowed name, or "" when none is like it."""
    close = nearest(name, allowed)
    return f"; did you mean {close!r}?" if close else ""


def allowed_names(names: Sequence[str], listed_by: str = "") -> str:
    """Return all names, or how many there are and the command that shows them when they are too many to read."""
    if listed_by and len(names) > _READABLE:
        return f"{listed_by} shows all {len(names)}"
    return f"allowed: {', '.join(names) or 'none'}"


# What was wanted, by the codes of pydantic's errors; those of comparisons carry their limit.
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
    "string_type": "text",
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
    """Return what a value is, for messages: mappings and lists in a word, long texts by their beginning."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    shown = repr(value)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}… ({len(shown):,} characters)"


class Said(str):
    """Words for what was got, such as "3 tensors", which are shown as they are; other text is quoted."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def refuse(name: str, got: Any, must: str, remedy: str = "") -> str:
    """Return the message that refuses a value: "`momentum` must be in [0, 1), got 1.3".

    Args:
        name: The argument or option; a name of Python or of a recipe is quoted, a flag or a path is not. "" where the
            message follows the name anyway.
        got: Its value, or `Said` words for it.
        must: The rest of the sentence behind "must", such as "be in [0, 1)".
        remedy: What to do about it, behind a semicolon; "" where the sentence says it.
    """
    shown = f"`{name}`" if name.replace(".", "_").isidentifier() else name
    return f"{shown} must {must}, got {describe_value(got)}".lstrip() + (f"; {remedy}" if remedy else "")


def describe_mistake(detail: Mapping[str, Any]) -> str:
    """Return one error of pydantic as "must be …, got …".

    Args:
        detail: An entry of `pydantic.ValidationError.errors`: ``type``, ``input``, ``msg`` and, for limits, ``ctx``;
            the message of one of our own checks, a "value_error", is returned as it is.
    """
    code = str(detail["type"])
    message = str(detail["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    if code == "missing":
        return "missing; this key is required"
    if code == "value_error":
        return message
    if code in _SIGNS:
        sign, key = _SIGNS[code]
        must = f"{sign} {detail['ctx'][key]:g}"
    elif code in ("literal_error", "enum"):
        must = detail["ctx"]["expected"]
    else:
        must = _WANTED.get(code, message)
    return refuse("", detail["input"], f"be {must}")
