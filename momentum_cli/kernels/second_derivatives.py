"""The refusal of second derivatives through a backward pass that is one of our kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def no_second_derivatives(subject: str, remedy: str) -> Callable[..., Any]:
    """Return the autograd formula of a backward pass that has none: an error that says what to do.

    Args:
        subject: What lacks second derivatives, and its verb: ``"fused kernel has"``.
        remedy: The argument of a layer that has them.
    """

    def refuse(ctx: Any, *_: Any) -> Any:
        raise RuntimeError(f"the {subject} first derivatives only; for second ones give the layer {remedy}")

    return refuse
