"""The fast gradient sign method: one step to a corner of the ball."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from momentum_cli.attacks.attack import Call, Losses, ascent
from momentum_cli.attacks.ball import Ball
from momentum_cli.messages import refuse


class FGSM:
    """x + epsilon sign(dL/dx), projected; it begins at x itself.

    Args:
        steps: 1.
        step_size: None; the step is epsilon.

    Raises:
        ValueError: Another number of steps, or a step size.

    Reference: Goodfellow, Shlens and Szegedy, Explaining and Harnessing Adversarial Examples, ICLR 2015, section 4.
    """

    iterated: ClassVar[bool] = False

    def __init__(self, steps: int = 1, step_size: float | None = None) -> None:
        if steps != 1:
            raise ValueError(refuse("steps", steps, "be 1 for fgsm", "pgd takes more"))
        if step_size is not None:
            raise ValueError(refuse("step_size", step_size, "be left out for fgsm", "its step is epsilon"))

    def __call__(self, model: Call, targets: Tensor, losses: Losses, ball: Ball, start: Tensor) -> Tensor:
        """Return the attacked inputs; see `Attack`."""
        return ball.project(ball.centre + ball.epsilon * ascent(model, ball.centre, targets, losses).sign())
