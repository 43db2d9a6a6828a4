"""The fast gradient sign method: one step towards a corner of the ball."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from momentum_cli.attacks.attack import Call, LossSum, ascent, check_steps
from momentum_cli.attacks.ball import Ball
from momentum_cli.messages import refuse

# Of the radius. From the centre any size >= 1 ends at the same corner; from random places 1.25 trains the most robust
# models of those that Wong, Rice and Kolter tried.
_REACH = 1.25


class FGSM:
    """project(x + step_size sign(dL/dx)), from the centre or from a random place of the ball.

    From the centre, where `eval` begins, that is Goodfellow's x + epsilon sign(dL/dx) for any step size >= epsilon.
    Training begins at random places: from the centre models soon learn to be right at the corners alone.

    Args:
        steps: 1.
        step_size: > 0, in the unit of the inputs; None: 1.25 epsilon.

    Raises:
        ValueError: An option is outside its range.

    Reference: Goodfellow, Shlens and Szegedy, Explaining and Harnessing Adversarial Examples, ICLR 2015, section 4;
    Wong, Rice and Kolter, Fast is better than free: Revisiting adversarial training, ICLR 2020, algorithm 3.
    """

    iterated: ClassVar[bool] = False
    learns: ClassVar[bool] = False

    def __init__(self, steps: int = 1, step_size: float | None = None) -> None:
        if steps != 1:
            raise ValueError(refuse("steps", steps, "be 1 for fgsm", "pgd takes more"))
        check_steps(steps, step_size)
        self.step_size = step_size

    def size(self, epsilon: float) -> float:
        """See `Attack`."""
        return _REACH * epsilon if self.step_size is None else self.step_size

    def __call__(self, model: Call, targets: Tensor, loss_sum: LossSum, ball: Ball, start: Tensor) -> Tensor:
        """Return the attacked inputs; see `Attack`."""
        place = ball.spread(start)
        return ball.project(place + self.size(ball.epsilon) * ascent(model, place, targets, loss_sum).sign())
