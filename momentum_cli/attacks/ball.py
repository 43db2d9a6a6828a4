"""The set of inputs that an attack may choose from.

Axes: B batch, T time, D channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from momentum_cli.errors import RecipeError
from momentum_cli.messages import refuse


def check_epsilon(option: str, epsilon: float, limits: tuple[float, float] | None) -> None:
    """Refuse a radius beyond the range of the inputs, which was given in another unit: 8 for 8 levels of 255.

    Args:
        option: The option that gave it, for the message.
        epsilon, limits: As for `Ball`.

    Raises:
        RecipeError: It is larger than the range.
    """
    if limits is not None and epsilon > limits[1] - limits[0]:
        low, high = limits
        must = f"be at most {high - low:g}, as inputs are from {low:g} to {high:g}"
        raise RecipeError(refuse(option, epsilon, must, "divide grey levels by the highest one"))


@dataclass(frozen=True)
class Ball:
    """All inputs whose every number differs from the given one by at most epsilon: a ball of the maximum norm.

    Args:
        centre: (B, T, D) inputs as the model gets them.
        epsilon: Radius, > 0, in the unit of the inputs.
        lengths: (B,) valid steps of each sequence, whose padding stays as it is; None if all have T.
        limits: The lowest and the highest value that an input can have; None: any.

    Raises:
        ValueError: epsilon is not a finite number > 0.
    """

    centre: Tensor
    epsilon: float
    lengths: Tensor | None = None
    limits: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.epsilon) and self.epsilon > 0):
            raise ValueError(refuse("epsilon", self.epsilon, "be a finite number > 0"))

    def project(self, inputs: Tensor) -> Tensor:
        """Return the nearest inputs of the ball, (B, T, D)."""
        found = torch.clamp(inputs, self.centre - self.epsilon, self.centre + self.epsilon)
        if self.limits is not None:
            # An input outside the limits is not pulled into them: that could leave the ball.
            low, high = self.limits
            found = torch.clamp(found, self.centre.clamp(max=low), self.centre.clamp(min=high))
        return found if self.lengths is None else torch.where(self._valid(), found, self.centre)

    def spread(self, start: Tensor) -> Tensor:
        """Return the inputs at the relative places `start`, (B, T, D), where -1 and 1 are the ends of the ball."""
        return self.project(self.centre + self.epsilon * start)

    def _valid(self) -> Tensor:
        assert self.lengths is not None
        steps = torch.arange(self.centre.shape[1], device=self.centre.device)
        return (steps < self.lengths.to(self.centre.device).unsqueeze(1)).unsqueeze(2)
