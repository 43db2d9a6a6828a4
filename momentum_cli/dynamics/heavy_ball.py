"""Heavy-ball momentum."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from momentum_cli.dynamics.protocol import State
from momentum_cli.dynamics.ragged import at_end
from momentum_cli.dynamics.ranges import check_ranges
from momentum_cli.dynamics.scan import decay_scan


@dataclass(frozen=True)
class HeavyBall:
    """Heavy-ball momentum: ``v_t = momentum v_{t-1} + step_size u_t``, ``d_t = v_t``.

    State: ``(velocity (B, C),)``.

    Args:
        momentum: Decay of the velocity a step, in [0, 1).
        step_size: Weight of the new input, > 0.

    Raises:
        ValueError: A value is outside its range.

    Reference: arXiv 2006.06919, equation 8 (MomentumRNN cell). In the authors' code ``mu`` and ``epsilon``.
    """

    momentum: float = field(default=0.6, metadata={"range": "[0, 1)"})
    step_size: float = field(default=1.0, metadata={"range": "> 0"})
    equation: ClassVar[str] = "v' = momentum v + step_size u; d = v'"
    linear: ClassVar[bool] = True
    state_names: ClassVar[tuple[str, ...]] = ("velocity",)

    def __post_init__(self) -> None:
        check_ranges(self)

    def init(self, u: Tensor) -> State:
        """Return the zero velocity."""
        return (torch.zeros_like(u),)

    def step(self, u: Tensor, state: State) -> tuple[Tensor, State]:
        """Advance the velocity by one step."""
        velocity = heavy_ball_step(u, state[0], self.momentum, self.step_size)
        return velocity, (velocity,)

    def scan(self, u: Tensor, state: State | None = None, lengths: Tensor | None = None) -> tuple[Tensor, State]:
        """Run the whole sequence at once, see `Dynamics.scan`."""
        start = None if state is None else state[0]
        velocity = decay_scan(self.momentum, u * self.step_size, start)
        return velocity, (at_end(velocity, lengths),)


def heavy_ball_step(u: Tensor, velocity: Tensor, momentum: float, step_size: float) -> Tensor:
    """Return ``momentum velocity + step_size u``; all tensors (B, C)."""
    return momentum * velocity + step_size * u
