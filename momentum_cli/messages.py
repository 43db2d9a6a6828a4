"""Messages: one wording for unknown names, with the nearest known one, for wrong values and for numbers of things."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

# A message lists at most this many names; if there are more, it lists the nearest ones.
_READABLE = 20
_NEAREST = 5


def nearest(name: str, allowed: Iterable[str]) -> str | None:
    """Return the allowed name most similar to `name`, ignoring case, or None if none is similar."""
    folded = {candidate.casefold(): candidate for candidate in allowed}
    found = get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def unknown(what: str, name: str, allowed: Iterable[str], owner: str = "", *, listed_by: str = "") -> str:
    """Return the message for an unknown name: the name, the nearest known one, and all known ones or the nearest five.

    Args:
        what: The kind of object named, such as "cell" or "key".
        name: The unknown name.
        allowed: The known names, in the order to show them.
        owner: The owner of the names, such as "optimizer adam"; "" for none.
        listed_by: A command that lists the names, for where there are too many to read.
    """
    names = list(allowed)
    of = f" of {owner}" if owner else ""
    return f"unknown {what} {name!r}{of}{did_you_mean(name, names)} ({allowed_names(name, names, listed_by)})"


def did_you_mean(name: str, allowed: Iterable[str]) -> str:
    """Return "; did you mean …?" with the nearest allowed name, or "" if none is similar."""
    close = nearest(name, allowed)
    return f"; did you mean {close!r}?" if close else ""


def allowed_names(name: str, names: Sequence[str], listed_by: str = "") -> str:
    """Return all names; if there are too many to read, the command that lists them, or the five nearest to `name`.

    Args:
        name: The unknown name.
        names: The known ones.
        listed_by: A command that lists them; "" for none.
    """
    if len(names) <= _READABLE:
        return f"allowed: {', '.join(names) or 'none'}"
    if listed_by:
        return f"{listed_by} shows all {len(names)}"
    folded = {candidate.casefold(): candidate for candidate in names}
    close = [folded[key] for key in get_close_matches(name.casefold(), folded, n=_NEAREST, cutoff=0.0)]
    return f"nearest of {len(names)}: {', '.join(close)}"


# The expected value by the code of pydantic's error; codes of comparisons come with their limit.
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
_LONGEST_MESSAGE = 500


def shortened(message: str) -> str:
    """Return the first 500 characters of a message, in which a file may have put a name of any length."""
    return message if len(message) <= _LONGEST_MESSAGE else f"{message[:_LONGEST_MESSAGE]}…"


def describe_value(value: Any) -> str:
    """Describe a value for messages: mappings and lists in a word, long texts by their beginning."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    shown = repr(value)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}… ({len(shown):,} characters)"


class Said(str):
    """A description of a value, such as "3 tensors", which is shown as it is; other text is quoted."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def refuse(name: str, got: Any, must: str, remedy: str = "") -> str:
    """Return the message that refuses a value: "`momentum` must be in [0, 1), got 1.3".

    Args:
        name: The argument or option; a name in Python or in a recipe is quoted, a flag or a path is not. "" if the
            caller puts the name in front.
        got: Its value, or a `Said` description of it.
        must: The rest of the sentence after "must", such as "be in [0, 1)".
        remedy: What to do about it, after a semicolon; "" if the sentence says it.
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


def counted(number: int | None, noun: str) -> str:
    """A number with its noun: `1 epoch`, `2,000 steps`, `– threads` where it is unknown."""
    return f"{'–' if number is None else f'{number:,}'} {plural(noun, number)}"


def plural(noun: str, number: float | None) -> str:
    """A noun that takes an s, in the form for a number."""
    return noun if number == 1 else f"{noun}s"
