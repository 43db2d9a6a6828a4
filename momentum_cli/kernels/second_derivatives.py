"""The error for second derivatives through one of our kernels' backward passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def no_second_derivatives(subject: str, remedy: str) -> Callable[..., Any]:
    """Return an autograd formula for a backward pass without derivatives: an error that says what to do.

    Args:
        subject: Subject and verb of the message: ``"fused kernel has"``.
        remedy: The argument that gives a layer second derivatives.
    """

    def refuse(ctx: Any, *_: Any) -> Any:
        raise RuntimeError(f"the {subject} first derivatives only; for second ones give the layer {remedy}")

    return refuse
