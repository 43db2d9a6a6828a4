"""Projected gradient descent on the negative loss: signed steps, each projected into the ball."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from momentum_cli.attacks.attack import Call, LossSum, ascent, check_steps, reaching
from momentum_cli.attacks.ball import Ball


class PGD:
    """x <- project(x + step_size sign(dL/dx)), from a random place in the ball.

    Args:
        steps: >= 1.
        step_size: > 0, in the unit of the inputs; None: 2.5 epsilon / steps.

    Raises:
        ValueError: An option is outside its range.

    Reference: Madry, Makelov, Schmidt, Tsipras and Vladu, Towards Deep Learning Models Resistant to Adversarial
    Attacks, ICLR 2018, section 2.1; the default step is 2.5 epsilon / steps, as in section 5.
    """

    iterated: ClassVar[bool] = True
    learns: ClassVar[bool] = False

    def __init__(self, steps: int = 50, step_size: float | None = None) -> None:
        check_steps(steps, step_size)
        self.steps, self.step_size = steps, step_size

    def size(self, epsilon: float) -> float:
        """See `Attack`."""
        return reaching(epsilon, self.steps) if self.step_size is None else self.step_size

    def __call__(self, model: Call, targets: Tensor, loss_sum: LossSum, ball: Ball, start: Tensor) -> Tensor:
        """Return the attacked inputs; see `Attack`."""
        found, size = ball.spread(start), self.size(ball.epsilon)
        for _ in range(self.steps):
            found = ball.project(found + size * ascent(model, found, targets, loss_sum).sign())
        return found
