"""Options shared by many optimizers, declared once with type and default and shown in every constructor."""

from __future__ import annotations

import inspect
import typing
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict


@dataclass(frozen=True)
class Default:
    """The default of an option, in the annotation of its type."""

    value: Any


class StepOptions(TypedDict, total=False):
    """Options of every optimizer.

    Args:
        maximize: Ascend.
        foreach: Many tensors per call (None or True) or one at a time (False): slower, with smaller temporaries.
    """

    maximize: Annotated[bool, Default(False)]
    foreach: Annotated[bool | None, Default(None)]


class DecayOptions(StepOptions, total=False):
    """Options of an optimizer whose weight decay is coupled by default.

    Args:
        weight_decay: λ >= 0; coupled it adds λ x to the gradient.
        decoupled_weight_decay: each step also subtracts γ λ x; g is unchanged.
    """

    weight_decay: Annotated[float, Default(0.0)]
    decoupled_weight_decay: Annotated[bool, Default(False)]


def shared_parameters(constructor: Any) -> list[inspect.Parameter]:
    """Return the options of the `TypedDict` that a constructor takes as keywords, as parameters with their defaults.

    Args:
        constructor: A function that ends in ``**options: Unpack[…]``, a class like those above.
    """
    parameters = []
    for parameter in inspect.signature(constructor).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            (declared,) = typing.get_args(typing.get_type_hints(constructor)[parameter.name])
            for name, hint in typing.get_type_hints(declared, include_extras=True).items():
                annotation, default = typing.get_args(hint)
                keyword = inspect.Parameter.KEYWORD_ONLY
                parameters.append(inspect.Parameter(name, keyword, default=default.value, annotation=annotation))
    return parameters


def whole_signature(constructor: Any, shared: list[inspect.Parameter]) -> inspect.Signature:
    """Return the signature of a class from its constructor, with the shared options in place of ``**options``."""
    hints = typing.get_type_hints(constructor)
    own = [
        parameter.replace(annotation=hints[parameter.name])
        for parameter in inspect.signature(constructor).parameters.values()
        if parameter.name != "self" and parameter.kind is not parameter.VAR_KEYWORD
    ]
    return inspect.Signature([*own, *shared])
