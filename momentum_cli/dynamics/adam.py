"""Adam dynamics: momentum divided by the root of a running second moment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from momentum_cli.dynamics.heavy_ball import heavy_ball_step
from momentum_cli.dynamics.protocol import State
from momentum_cli.dynamics.ragged import at_end
from momentum_cli.dynamics.ranges import check_ranges
from momentum_cli.dynamics.rmsprop import normalize, second_moment_step
from momentum_cli.dynamics.scan import decay_scan


@dataclass(frozen=True)
class Adam:
    """Adam: ``v_t = momentum v_{t-1} + step_size u_t``, ``m_t = beta2 m_{t-1} + (1 - beta2) u_t²``,
    ``d_t = v_t / sqrt(m_t + eps)``.

    State: ``(velocity (B, C), second_moment (B, C))``.

    Args:
        momentum: Decay of the velocity a step, in [0, 1).
        beta2: Decay of the second moment a step, in [0, 1). The authors' ``mus``.
        step_size: Weight of the new input, > 0.
        eps: Added to the second moment inside the root, >= 0.

    Raises:
        ValueError: A value is outside its range.

    Reference: arXiv 2006.06919, section 3.4 (AdamRNN).
    """

    momentum: float = field(default=0.6, metadata={"range": "[0, 1)"})
    beta2: float = field(default=0.9, metadata={"range": "[0, 1)"})
    step_size: float = field(default=1.0, metadata={"range": "> 0"})
    eps: float = field(default=1e-16, metadata={"range": ">= 0"})
    equation: ClassVar[str] = "v' = momentum v + step_size u; m' = beta2 m + (1 - beta2) u²; d = v' / sqrt(m' + eps)"
    linear: ClassVar[bool] = False
    state_names: ClassVar[tuple[str, ...]] = ("velocity", "second_moment")

    def __post_init__(self) -> None:
        check_ranges(self)

    def init(self, u: Tensor) -> State:
        """Return zero velocity and second moment."""
        return torch.zeros_like(u), torch.zeros_like(u)

    def step(self, u: Tensor, state: State) -> tuple[Tensor, State]:
        """Advance both moments by one step."""
        velocity = heavy_ball_step(u, state[0], self.momentum, self.step_size)
        second = second_moment_step(u, state[1], self.beta2)
        return normalize(velocity, second, self.eps), (velocity, second)

    def scan(self, u: Tensor, state: State | None = None, lengths: Tensor | None = None) -> tuple[Tensor, State]:
        """Run the whole sequence at once, see `Dynamics.scan`."""
        velocity_start, second_start = (None, None) if state is None else state
        velocity = decay_scan(self.momentum, u * self.step_size, velocity_start)
        second = decay_scan(self.beta2, (1.0 - self.beta2) * u * u, second_start)
        return normalize(velocity, second, self.eps), (at_end(velocity, lengths), at_end(second, lengths))
