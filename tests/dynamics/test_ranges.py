"""The range in the metadata of a field is the range that is checked."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from momentum_cli.dynamics.ranges import check_ranges


def holds(text: str, value: Any) -> bool:
    options = dataclasses.make_dataclass("Options", [("x", Any, dataclasses.field(metadata={"range": text}))])
    try:
        check_ranges(options(value))
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("[0, 1)", [0, 0.0, 0.999], [-1e-12, 1, 1.0]),
        ("(0, 1]", [1e-12, 1], [0, 1.001]),
        ("(-1, 1)", [-0.999, 0], [-1, 1]),
        ("> 0", [1e-300, 5], [0, -1]),
        (">= 0", [0, 1], [-1e-300]),
        ("< 2.5", [-7, 2.4], [2.5]),
        ("integer >= 1", [1, 7], [0, 1.0, 2.5]),
    ],
)
def test_edges(text: str, inside: list[Any], outside: list[Any]) -> None:
    for value in inside:
        assert holds(text, value), value
    for value in [*outside, True, math.nan, math.inf, -math.inf, "1", None, 1j]:
        assert not holds(text, value), value


def test_a_field_without_a_range_takes_anything_and_an_unreadable_range_is_an_error() -> None:
    check_ranges(dataclasses.make_dataclass("Options", ["x"])(object()))
    options = dataclasses.make_dataclass("Options", [("x", Any, dataclasses.field(metadata={"range": "about 1"}))])
    with pytest.raises(ValueError, match="cannot check the range 'about 1'"):
        check_ranges(options(1))
