"""Options of an object, read from the object itself: a dataclass' fields or a callable's signature.

Recipes are checked against these, so a task, a dynamics or an optimizer is described in one place, its own class.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, NamedTuple, Union

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, create_model
from pydantic.errors import PydanticSchemaGenerationError

from momentum_cli.messages import refuse, unknown

Path = tuple[str, ...]


class Problem(NamedTuple):
    """One mistake: the path of keys to it, and its description."""

    path: Path
    message: str


class Option(NamedTuple):
    """One option of an object.

    Args:
        name: Its key.
        annotation: Its type.
        default: `dataclasses.MISSING` if it is required.
        range: Its values as text: the ``range`` in the metadata of a dataclass field, or the type.
    """

    name: str
    annotation: Any
    default: Any
    range: str


def check_number(value: Any) -> Any:
    """Return `value` unless it is a bool, which Python would treat as 0 or 1, or text such as ``1_000``.

    YAML has no underscores in numbers, so what they mean there is a guess.

    Raises:
        ValueError: It is a bool, or text with an underscore.
    """
    if isinstance(value, bool) or (isinstance(value, str) and "_" in value):
        raise ValueError(refuse("", value, "be a number"))
    return value


def dataclass_options(cls: type) -> tuple[Option, ...]:
    """Return the options of a dataclass: the fields that `__init__` takes."""
    hints = typing.get_type_hints(cls)
    options = []
    for field in dataclasses.fields(cls):
        if field.init:
            shown = field.metadata.get("range", describe_type(hints[field.name]))
            options.append(Option(field.name, hints[field.name], field.default, shown))
    return tuple(options)


def signature_options(function: Callable[..., Any], leave_out: frozenset[str]) -> tuple[Option, ...]:
    """Return the options of a callable: the parameters of its signature except those in `leave_out`.

    A tensor in a type annotation is dropped, as is a parameter of a type that YAML cannot represent, such as a module.
    """
    options = []
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        if parameter.name in leave_out or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        default = dataclasses.MISSING if parameter.default is parameter.empty else parameter.default
        annotation = Any if parameter.annotation is parameter.empty else _without_tensor(parameter.annotation)
        if _describable(annotation):
            options.append(Option(parameter.name, annotation, default, describe_type(annotation)))
    return tuple(options)


def options_model(title: str, options: tuple[Option, ...], **first: Any) -> type[BaseModel]:
    """Return a pydantic model of `options` that forbids unknown keys; `first` are fields in front of them."""
    fields: dict[str, Any] = dict(first)
    for option in options:
        required = option.default is dataclasses.MISSING
        fields[option.name] = (_numbers_are_not_bools(option.annotation), ... if required else option.default)
    config = ConfigDict(extra="forbid", allow_inf_nan=False)
    return create_model(title, __config__=config, **fields)


def check_options(
    owner: str, options: tuple[Option, ...], given: Mapping[str, Any], build: Callable[..., Any]
) -> tuple[dict[str, Any], list[Problem]]:
    """Check `given` against `options` and against the object's own checks, and fill in the defaults.

    Args:
        owner: What the options belong to, for messages, such as "task pmnist".
        options: The allowed options.
        given: Names and values to check.
        build: Builds the object from keyword arguments; its ValueErrors and TypeErrors are reported.

    Returns:
        All options with their values (omitted if not given and None by default), and the problems, with paths relative
        to the section.
    """
    allowed = {option.name: option for option in options}
    problems = [Problem((key,), unknown("key", key, allowed, owner)) for key in given if key not in allowed]
    known = {key: value for key, value in given.items() if key in allowed}
    model, wrong = options_model(owner, options), set()
    try:
        checked = model(**known)
    except ValidationError as error:
        # A union reports one error per member; one line per key is enough.
        wrong = {str(detail["loc"][0]) for detail in error.errors()}
        for name in [name for name in allowed if name in wrong]:
            must = f"be {describe_type(allowed[name].annotation)}"
            problems.append(
                Problem((name,), refuse("", known[name], must) if name in known else f"missing; must {must}")
            )
        if any(allowed[name].default is dataclasses.MISSING for name in wrong):
            return {}, problems
        # Check the other options too.
        known = {key: value for key, value in known.items() if key not in wrong}
        checked = model(**known)
    values = {
        option.name: getattr(checked, option.name)
        for option in options
        if option.name in known or option.default is not None
    }
    required = [option.name for option in options if option.default is dataclasses.MISSING]
    problems += _own_checks(build, {key: value for key, value in values.items() if key not in wrong}, known, required)
    return values, problems


def describe_type(annotation: Any) -> str:
    """Return a type in words: `int | Literal["none"]` is "an integer or 'none'"."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return describe_type(arguments[0])
    if origin is Literal:
        return " or ".join(repr(value) for value in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(describe_type(member) for member in arguments)
    if origin is tuple:
        return f"a list [{', '.join(describe_type(member) for member in arguments)}]"
    if origin is list:
        return f"a list of {describe_type(arguments[0])}"
    names = {int: "an integer", float: "a number", bool: "true or false", str: "text", types.NoneType: "null"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _own_checks(
    build: Callable[..., Any], values: dict[str, Any], given: dict[str, Any], required: list[str]
) -> list[Problem]:
    """Build the object; if it fails, find every option that it refuses, not only the first.

    An option that is refused takes its default again, for the next one. What is then refused because of that default
    is no mistake: the message about two options names both.
    """
    problems: list[Problem] = []
    left, dropped = dict(values), list[str]()
    while (message := _error(build, left)) is not None:
        problem = _refused(message, left)
        if not problem.path:
            # The message names no option: it is the one whose default is accepted, if there is just one.
            to_blame = [
                key
                for key in given
                if key in left
                and key not in required
                and _error(build, {k: v for k, v in left.items() if k != key}) != message
            ]
            problem = Problem((to_blame[0],) if len(to_blame) == 1 else (), message)
        if any(re.search(rf"\b{name}\b", problem.message) for name in dropped):
            break
        problems.append(problem)
        key = problem.path[0] if problem.path else ""
        if key not in given or key in required:
            break
        del left[key]
        dropped.append(key)
    return problems


def _error(build: Callable[..., Any], values: dict[str, Any]) -> str | None:
    """Return the message with which an object refuses its options, None if it does not."""
    try:
        build(**values)
    except (ValueError, TypeError) as error:
        return str(error)
    return None


def _refused(message: str, values: dict[str, Any]) -> Problem:
    """Return the problem with the option that the object's message begins with, or with the only option."""
    for key in values:
        for start in (f"`{key}` ", f"{key}: ", f"{key} "):
            if message.startswith(start):
                return Problem((key,), message.removeprefix(start))
    return Problem(tuple(values) if len(values) == 1 else (), message)


def _describable(annotation: Any) -> bool:
    try:
        TypeAdapter(annotation)
    except PydanticSchemaGenerationError:
        return False
    return True


def _without_tensor(annotation: Any) -> Any:
    import torch

    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (Union, types.UnionType):
        members = [_without_tensor(member) for member in arguments if member is not torch.Tensor]
        return Union[tuple(members)]  # noqa: UP007 - the members are known at run time only
    if origin is tuple:
        return tuple[tuple(_without_tensor(member) for member in arguments)]  # type: ignore[misc]  # known at run time only
    return annotation


def _numbers_are_not_bools(annotation: Any) -> Any:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in (int, float):
        return Annotated[annotation, BeforeValidator(check_number)]
    if origin in (Union, types.UnionType) and bool not in arguments:
        return Union[tuple(_numbers_are_not_bools(member) for member in arguments)]  # noqa: UP007 - as above
    return annotation


PositiveInt = Annotated[int, Field(ge=1), BeforeValidator(check_number)]
NaturalInt = Annotated[int, Field(ge=0), BeforeValidator(check_number)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False), BeforeValidator(check_number)]
NaturalFloat = Annotated[float, Field(ge=0, allow_inf_nan=False), BeforeValidator(check_number)]
Number = Annotated[float, Field(allow_inf_nan=False), BeforeValidator(check_number)]
UnitInterval = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), BeforeValidator(check_number)]
