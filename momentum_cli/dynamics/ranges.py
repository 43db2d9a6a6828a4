"""Ranges of options: the text in the metadata of a dataclass field, shown to people and checked."""

from __future__ import annotations

import operator
import re
from dataclasses import fields
from math import isfinite
from numbers import Real
from typing import Any

from momentum_cli.messages import refuse

_SIGNS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
_BOUND = re.compile(r"(integer )?(>=|>|<=|<) (\S+)")
_INTERVAL = re.compile(r"([\[(])(\S+), (\S+)([\])])")


def check_ranges(options: Any) -> None:
    """Check the fields of a dataclass whose metadata names a ``range``.

    Args:
        options: An object with fields such as ``momentum: float = field(default=0.6, metadata={"range": "[0, 1)"})``.
            Ranges are ``> 0``, ``integer >= 1``, ``(0, 1]`` and the like.

    Raises:
        ValueError: A value is outside its range.
    """
    for field in fields(options):
        if "range" not in field.metadata:
            continue
        text, value = str(field.metadata["range"]), getattr(options, field.name)
        if not _holds(text, value):
            must = (
                f"in {text}" if _INTERVAL.fullmatch(text) else f"{'an' if text[0] == 'i' else 'a finite number'} {text}"
            )
            raise ValueError(refuse(field.name, value, f"be {must}"))


def _holds(text: str, value: object) -> bool:
    if not isinstance(value, Real) or isinstance(value, bool) or not isfinite(value):
        return False
    if interval := _INTERVAL.fullmatch(text):
        opening, low, high, closing = interval.groups()
        above = _SIGNS[">=" if opening == "[" else ">"](value, float(low))
        return bool(above and _SIGNS["<=" if closing == "]" else "<"](value, float(high)))
    bound = _BOUND.fullmatch(text)
    if bound is None:
        raise ValueError(f"cannot check the range {text!r}; write one such as '[0, 1)', '> 0' or 'integer >= 1'")
    integer, sign, limit = bound.groups()
    return bool(_SIGNS[sign](value, float(limit))) and (not integer or isinstance(value, int))
