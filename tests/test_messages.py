"""The wording of refusals, also of what pydantic finds, whatever section, key and value."""

from __future__ import annotations

import re
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from momentum_cli.messages import (
    Said,
    allowed_names,
    counted,
    describe_mistake,
    describe_value,
    nearest,
    refuse,
    unknown,
)
from momentum_cli.recipe.sections import Section

WRONG: list[Any] = ["x", "", 1.5, -1, 2, True, None, [], ["x"], {}, {"x": 1}, float("nan"), float("inf"), 10**400]
FOREIGN = re.compile(r"Input|should|unable|parse|valid |Value error|instance|dictionary")


def test_no_value_of_any_key_is_refused_in_the_words_of_pydantic() -> None:
    told = set()
    for section in Section.__subclasses__():
        for key in section.model_fields:
            for value in WRONG:
                try:
                    section.model_validate({key: value})
                except ValidationError as error:
                    for detail in error.errors(include_url=False):
                        message = describe_mistake(detail)
                        assert not FOREIGN.search(message), (section, key, value, detail)
                        assert len(message) < 200
                        told.add(detail["type"])
    # Or the loop above has not met what people get wrong.
    assert {"missing", "int_type", "int_parsing", "float_parsing", "bool_type", "string_type", "literal_error"} <= {
        *told,
        "int_type",
        "bool_type",
    }
    assert {"greater_than", "greater_than_equal", "less_than_equal", "model_type", "int_from_float"} <= told


def even(value: int) -> int:
    if value % 2:
        raise ValueError(f"{value} is odd; try {value + 1}")
    return value


class Example(BaseModel):
    model_config = ConfigDict(extra="forbid")

    pairs: Annotated[int, AfterValidator(even)] = 0
    count: int = Field(default=1, ge=1, lt=10)
    share: float = Field(default=0.5, gt=0, le=1)
    names: list[str] = []


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("pairs", 3, "3 is odd; try 4"),  # one of our own checks, in its own words
        ("count", "three", "must be an integer, got 'three'"),
        ("count", 2.5, "must be an integer, got 2.5"),
        ("count", 0, "must be >= 1, got 0"),
        ("count", 10, "must be < 10, got 10"),
        ("share", "much", "must be a number, got 'much'"),
        ("share", 0, "must be > 0, got 0"),
        ("share", 1.5, "must be <= 1, got 1.5"),
        ("names", "a", "must be a list, got 'a'"),
        ("names", [3], "must be text, got 3"),
        ("names", None, "must be a list, got nothing"),
    ],
)
def test_a_mistake_says_what_was_got_and_what_is_allowed(key: str, value: Any, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Example.model_validate({key: value})
    assert [describe_mistake(detail) for detail in caught.value.errors()] == [message]


def test_a_long_value_is_shown_by_its_beginning() -> None:
    text = "line of a file\n" * 1000
    shown = describe_value(text)
    assert shown.startswith("'line of a file")
    assert len(shown) < 100
    assert f"{len(repr(text)):,} characters" in shown
    assert describe_value("short") == "'short'"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("momentum", 1.3, "be in [0, 1)"), "`momentum` must be in [0, 1), got 1.3"),
        (("", 0, "be > 0"), "must be > 0, got 0"),
        (("train.epochs", "many", "be an integer"), "`train.epochs` must be an integer, got 'many'"),
        (("--split", "dev", "be one of train, test"), "--split must be one of train, test, got 'dev'"),
        (
            ("state", Said("3 tensors"), "be 2 tensors", "use zero_state"),
            "`state` must be 2 tensors, got 3 tensors; use zero_state",
        ),
    ],
)
def test_a_refusal_says_what_it_must_be_and_what_it_was(arguments: tuple[Any, ...], message: str) -> None:
    assert refuse(*arguments) == message


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    assert nearest("LSTN", ["lstm", "gru"]) == "lstm"
    assert nearest("xyz", ["lstm"]) is None
    assert unknown("key", "a", [], "x") == "unknown key 'a' of x (allowed: none)"


def test_of_many_names_the_nearest_five_are_shown() -> None:
    names = [f"optimizer-{number}" for number in range(100)]
    assert unknown("x", "optimizer-7x", names) == (
        "unknown x 'optimizer-7x'; did you mean 'optimizer-7'? (nearest of 100: optimizer-7, optimizer-97, "
        "optimizer-87, optimizer-79, optimizer-78)"
    )
    assert unknown("x", "?", names, listed_by="x list") == "unknown x '?' (x list shows all 100)"
    assert allowed_names("e", ["A", "B"]) == "allowed: A, B"


def test_one_thing_is_no_plural() -> None:
    assert [counted(number, "step") for number in (0, 1, 2, 1200)] == ["0 steps", "1 step", "2 steps", "1,200 steps"]
    assert counted(None, "thread") == "– threads"
