"""Axes of a search space: how they are written, and which values are on them."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from momentum_cli.recipe.axes import Choices, Range, parse_axis, read_axis


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("0..0.95", [0, 0.95]),
        ("0..1:0.25", {"float": [0, 1, 0.25]}),
        ("log:1e-4..1e-1", {"log": [1e-4, 1e-1]}),
        ("int:32..256:32", {"int": [32, 256, 32]}),
        ("int:1..4", {"int": [1, 4, 1]}),
        ("log_int:2..64", {"log_int": [2, 64]}),
        ("-1..-0.5", [-1, -0.5]),
        ("lstm,momentum", ["lstm", "momentum"]),
        ("choice:32,64", {"choice": [32, 64]}),
        ("32,64,128", [32, 64, 128]),
        ("true,false,null", [True, False, None]),
    ],
)
def test_the_command_line_and_a_recipe_write_the_same_axis(text: str, given: Any) -> None:
    axis = parse_axis(text)
    assert axis == read_axis(given) == read_axis(axis.dump())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"log": [0, 1]}, "`low` must be > 0"),
        ({"log": [1, 2, 3]}, "two ends"),
        ([1, 0], "`high` must be > low"),
        ([0, math.inf], "finite"),
        ({"int": [0, 1.5]}, "an integer"),
        ({"float": [0, 1, 2]}, "`step` must be > 0 and at most 1"),
        ({"flaot": [0, 1]}, "did you mean 'float'"),
        ({"int": [0, 1], "log": [1, 2]}, "one key"),
        ({"choice": 3}, "list of choices"),
        (["a", "a"], "twice"),
        ([[1], [2]], "a choice"),
        ([], "must not be empty"),
        (0.5, "such as [0, 0.95]"),
        ("a", "such as [0, 0.95]"),
    ],
)
def test_what_is_no_axis_is_refused(given: Any, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        read_axis(given)


@pytest.mark.parametrize("text", ["logg:1..2", "log:a..b", "log:1,2", "..", "1..", "log:", "[1..2]"])
def test_a_text_that_is_no_axis_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must|unknown|not"):
        parse_axis(text)


@pytest.mark.parametrize(
    "axis",
    [
        Range(-1.0, 3.0),
        Range(1e-5, 10.0, log=True),
        Range(2, 64, log=True, whole=True),
        Range(3, 11, whole=True),
        Range(0.0, 1.0, step=0.3),
        Range(32, 250, whole=True, step=32),
        Choices(("a", 1, True, None)),
    ],
)
def test_places_cover_an_axis_in_order_and_stay_on_it(axis: Range | Choices) -> None:
    values = [axis.at(number / 1000) for number in range(1000)]
    assert all(axis.contains(value) for value in values + axis.samples())
    if isinstance(axis, Range):
        assert values == sorted(values)  # type: ignore[type-var]
        assert values[0] == axis.low
    points = axis.points()
    if points is not None:
        assert {(type(value), value) for value in values} == {(type(value), value) for value in points}


def test_a_logarithmic_axis_gives_each_decade_its_share() -> None:
    axis = Range(1e-4, 1.0, log=True)
    assert [axis.at(place) for place in (0.0, 0.25, 0.5, 0.75)] == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1])
    # Of integers, both ends have as large a share as their logarithm.
    values = [Range(1, 3, log=True, whole=True).at((number + 0.5) / 10_000) for number in range(10_000)]
    width = math.log(3.5 / 0.5)
    for value in (1, 2, 3):
        assert values.count(value) / 10_000 == pytest.approx(math.log((value + 0.5) / (value - 0.5)) / width, abs=1e-3)


def test_the_digits_of_a_value_are_those_that_differ_in_its_range() -> None:
    """Four digits of them all would leave ten different values between 0.999 and 1."""
    for low, high in ((0.999, 0.99999), (10_000.0, 10_010.0), (-3.0, 3.0)):
        values = [Range(low, high).at(place / 1000) for place in range(1000)]
        assert len(set(values)) == 1000
        assert all(low <= float(str(value)) <= high for value in values)
    assert Range(1e-4, 1e-1, log=True).at(0.123456) == 2.346e-4
