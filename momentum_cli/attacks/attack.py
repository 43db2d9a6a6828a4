"""The interface of attacks, and the gradient that they follow.

Axes: B batch, T time, D channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from momentum_cli.attacks.ball import Ball
from momentum_cli.messages import refuse

Call = Callable[[Tensor], Tensor]
"""From inputs (B, T, D) to the outputs of a model."""
LossSum = Callable[[Tensor, Tensor], Tensor]
"""From outputs and targets to the loss of all sequences, summed, 0-d; that of a sequence depends on it alone."""


class Attack(Protocol):
    """The interface of an attack.

    Attributes:
        iterated: It takes more than one step.
        learns: It has parameters, which are trained together with the model that it attacks; see
            `momentum_cli.attacks.learned`.
    """

    iterated: ClassVar[bool]
    learns: ClassVar[bool]

    def __init__(self, steps: int, step_size: float | None = None) -> None:
        """Take the number of steps, >= 1, and their size in the unit of the inputs; None: one that suits the number."""

    def size(self, epsilon: float) -> float:
        """Return the size of a step in a ball of a radius."""

    def __call__(self, model: Call, targets: Tensor, loss_sum: LossSum, ball: Ball, start: Tensor) -> Tensor:
        """Return inputs of the ball with a large loss, (B, T, D).

        Args:
            model: Without dropout.
            targets: As `loss_sum` takes them.
            loss_sum: The loss that is raised.
            ball: The inputs that are allowed.
            start: (B, T, D) in [-1, 1], where the attack begins; see `Ball.spread`. 0 is the centre.
        """


def ascent(model: Call, inputs: Tensor, targets: Tensor, loss_sum: LossSum) -> Tensor:
    """Return the gradient of the loss of each sequence with respect to its inputs, (B, T, D).

    Parameters keep the gradients they have.
    """
    # cuDNN has no backward pass in evaluation mode.
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        moved = inputs.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss_sum(model(moved), targets), moved)
    return gradient


def check_steps(steps: int, step_size: float | None) -> None:
    """Refuse a number of steps or a size outside its range.

    Args:
        steps: >= 1.
        step_size: A finite number > 0, or None.

    Raises:
        ValueError: One of them is outside.
    """
    if steps < 1:
        raise ValueError(refuse("steps", steps, "be >= 1"))
    if step_size is not None and not (math.isfinite(step_size) and step_size > 0):
        raise ValueError(refuse("step_size", step_size, "be a finite number > 0"))


def reaching(epsilon: float, steps: int) -> float:
    """Return a size of steps that takes a walk from any place of a ball to any other, with some to spare.

    Reference: Madry et al., ICLR 2018, section 5: 2.5 epsilon / steps.
    """
    return 2.5 * epsilon / steps
