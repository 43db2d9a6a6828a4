"""A plugin with a dynamics that is only a step: the velocity of the signs of the input."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from momentum_cli.dynamics import StepDynamics
from momentum_cli.dynamics.state import State


@dataclass(frozen=True)
class SignMomentum(StepDynamics):
    momentum: float = field(default=0.5, metadata={"range": "[0, 1)"})
    equation: ClassVar[str] = "v' = momentum v + sign(u); d = v'"
    state_names: ClassVar[tuple[str, ...]] = ("velocity",)

    def step(self, u: Tensor, state: State) -> tuple[Tensor, State]:
        velocity = self.momentum * state[0] + u.sign()
        return velocity, (velocity,)


DYNAMICS = {"signs": SignMomentum}
