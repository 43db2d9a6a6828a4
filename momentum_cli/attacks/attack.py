"""The interface of attacks, and the gradient that they follow.

Axes: B batch, T time, D channels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from momentum_cli.attacks.ball import Ball

Call = Callable[[Tensor], Tensor]
"""From inputs (B, T, D) to the outputs of a model."""
Losses = Callable[[Tensor, Tensor], Tensor]
"""From outputs and targets to the loss of each sequence, (B,)."""


class Attack(Protocol):
    """The interface of an attack.

    Attributes:
        iterated: It takes more than one step, and starts at random places.
    """

    iterated: ClassVar[bool]

    def __init__(self, steps: int, step_size: float | None = None) -> None:
        """Take the number of steps, >= 1, and their size in the unit of the inputs; None: one that suits the number."""

    def __call__(self, model: Call, targets: Tensor, losses: Losses, ball: Ball, start: Tensor) -> Tensor:
        """Return inputs of the ball with a large loss, (B, T, D).

        Args:
            model: Without dropout.
            targets: As `losses` takes them.
            losses: The loss that is raised.
            ball: The inputs that are allowed.
            start: (B, T, D) in [-1, 1], where the attack begins; see `Ball.spread`.
        """


def ascent(model: Call, inputs: Tensor, targets: Tensor, losses: Losses) -> Tensor:
    """Return the gradient of the loss of each sequence with respect to its inputs, (B, T, D).

    Parameters keep the gradients they have.
    """
    # cuDNN has no backward pass in evaluation mode.
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        moved = inputs.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(losses(model(moved), targets).sum(), moved)
    return gradient
