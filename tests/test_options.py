"""Options as a class declares them: types and ranges in words, and every wrong value found, not only the first."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field
from typing import Any, Literal

import pytest

from momentum_cli.options import Problem, check_options, dataclass_options, describe_type, signature_options


@dataclass(frozen=True)
class Filter:
    size: int
    rate: float = field(default=0.5, metadata={"range": "(0, 1]"})
    mode: Literal["low", "high"] | None = None

    def __post_init__(self) -> None:
        if not 0 < self.rate <= 1:
            raise ValueError(f"`rate` must be in (0, 1], got {self.rate}")
        if self.size < 1:
            raise ValueError(f"`size` must be >= 1, got {self.size}")


def check(**given: Any) -> tuple[dict[str, Any], list[Problem]]:
    return check_options("filter", dataclass_options(Filter), given, Filter)


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (int | None, "an integer or null"),
        (tuple[float, bool], "a list [a number, true or false]"),
        (list[str], "a list of text"),
        (int | Literal["none"], "an integer or 'none'"),
    ],
)
def test_types_in_words(annotation: Any, words: str) -> None:
    assert describe_type(annotation) == words


def test_options_are_the_fields_with_their_ranges() -> None:
    assert [(option.name, option.default, option.range) for option in dataclass_options(Filter)] == [
        ("size", MISSING, "an integer"),
        ("rate", 0.5, "(0, 1]"),
        ("mode", None, "'low' or 'high' or null"),
    ]


def test_options_are_the_parameters_of_a_signature() -> None:
    def build(params: object, lr: float = 0.1, *, nesterov: bool = False, **more: Any) -> None: ...

    options = signature_options(build, frozenset({"params"}))
    assert [(option.name, option.default, option.range) for option in options] == [
        ("lr", 0.1, "a number"),
        ("nesterov", False, "true or false"),
    ]


def test_defaults_are_filled_in_and_null_ones_left_out() -> None:
    assert check(size=3) == ({"size": 3, "rate": 0.5}, [])


def test_types_and_the_checks_of_the_object_are_reported_together() -> None:
    _, problems = check(size=2, rate=7, mode="middle", sise=1)
    assert problems == [
        Problem(("sise",), "unknown key 'sise' of filter; did you mean 'size'? (allowed: size, rate, mode)"),
        Problem(("mode",), "must be 'low' or 'high' or null, got 'middle'"),
        Problem(("rate",), "must be in (0, 1], got 7.0"),
    ]
    assert check()[1] == [Problem(("size",), "missing; must be an integer")]
    assert check(size=True)[1] == [Problem(("size",), "must be an integer, got True")]


@dataclass(frozen=True)
class Related:
    """Options of which two must agree."""

    pattern: str = "a"
    split: str | None = None
    share: float = 0.5
    window: int = 256
    hop: int = 128

    def __post_init__(self) -> None:
        if not self.pattern:
            raise ValueError("pattern must be a text")
        if self.split is not None and self.split not in self.pattern:
            raise ValueError(f"split must be in the pattern, got {self.split!r}; the pattern is {self.pattern!r}")
        if not 0 < self.share < 1:
            raise ValueError(f"share must be in (0, 1), got {self.share}")
        if self.hop > self.window:
            raise ValueError(f"hop must be at most the window, got {self.hop}")


@pytest.mark.parametrize(
    ("given", "refused"),
    [
        ({"pattern": "xy", "split": "y", "window": 128, "hop": 64}, []),
        ({"pattern": "xy", "split": "y", "share": 7.0}, ["share"]),
        ({"pattern": "", "split": "y", "share": 7.0}, ["pattern"]),
        ({"pattern": "xy", "split": "z", "share": 7.0}, ["split", "share"]),
        ({"share": 7.0, "window": 64}, ["share", "hop"]),
        ({"pattern": "xy", "split": "y", "window": 64}, ["hop"]),
    ],
)
def test_an_option_is_checked_with_the_others_that_are_given(given: dict[str, Any], refused: list[str]) -> None:
    _, problems = check_options("related", dataclass_options(Related), given, Related)
    assert [problem.path[0] for problem in problems] == refused
