"""Projected gradient descent on the negative loss: signed steps, each projected into the ball."""

from __future__ import annotations

import math
from typing import ClassVar

from torch import Tensor

from momentum_cli.attacks.attack import Call, Losses, ascent
from momentum_cli.attacks.ball import Ball
from momentum_cli.messages import refuse

# Length of the whole walk in radii of the ball: enough to reach any place from any other, with some to spare.
_REACH = 2.5


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

    def __init__(self, steps: int = 50, step_size: float | None = None) -> None:
        if steps < 1:
            raise ValueError(refuse("steps", steps, "be >= 1"))
        if step_size is not None and not (math.isfinite(step_size) and step_size > 0):
            raise ValueError(refuse("step_size", step_size, "be a finite number > 0"))
        self.steps, self.step_size = steps, step_size

    def __call__(self, model: Call, targets: Tensor, losses: Losses, ball: Ball, start: Tensor) -> Tensor:
        """Return the attacked inputs; see `Attack`."""
        size = _REACH * ball.epsilon / self.steps if self.step_size is None else self.step_size
        found = ball.spread(start)
        for _ in range(self.steps):
            found = ball.project(found + size * ascent(model, found, targets, losses).sign())
        return found
