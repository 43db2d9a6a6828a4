"""The form of an adaptive dynamics: a velocity divided by the root of a second moment.

Axes: T time, B batch, C channels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from momentum_cli.dynamics.ragged import at_end
from momentum_cli.dynamics.scan import decay_scan
from momentum_cli.dynamics.state import State


class Moments(NamedTuple):
    """``v_t = momentum v_{t-1} + step_size u_t``, ``m_t = beta2 m_{t-1} + (1 - beta2) u_t²``,
    ``d_t = v_t / sqrt(m_t + eps)``.

    State: ``(velocity (B, C), second_moment (B, C))``; without momentum only the second moment.
    """

    momentum: float | None
    """Decay of the velocity, or None for no velocity: then ``v_t = step_size u_t``."""
    step_size: float
    beta2: float
    eps: float

    @property
    def state_names(self) -> tuple[str, ...]:
        """One name for each tensor of the state, in order."""
        return ("second_moment",) if self.momentum is None else ("velocity", "second_moment")

    def init(self, u: Tensor) -> State:
        """Return the state before the first step, see `Dynamics.init`."""
        return tuple(torch.zeros_like(u) for _ in self.state_names)

    def step(self, u: Tensor, state: State) -> tuple[Tensor, State]:
        """Advance by one step, see `Dynamics.step`."""
        second = self.beta2 * state[-1] + (1.0 - self.beta2) * u * u
        if self.momentum is None:
            return normalize(self.step_size * u, second, self.eps), (second,)
        velocity = self.momentum * state[0] + self.step_size * u
        return normalize(velocity, second, self.eps), (velocity, second)

    def scan(self, u: Tensor, state: State | None = None, lengths: Tensor | None = None) -> tuple[Tensor, State]:
        """Run the whole sequence at once, see `Dynamics.scan`."""
        second = decay_scan(self.beta2, (1.0 - self.beta2) * u * u, None if state is None else state[-1])
        if self.momentum is None:
            return normalize(self.step_size * u, second, self.eps), (at_end(second, lengths),)
        velocity = decay_scan(self.momentum, u * self.step_size, None if state is None else state[0])
        return normalize(velocity, second, self.eps), (at_end(velocity, lengths), at_end(second, lengths))


def normalize(numerator: Tensor, second: Tensor, eps: float) -> Tensor:
    """Return ``numerator / sqrt(second + eps)``, and 0 where both are 0 and eps is 0.

    Without eps, leading zero inputs would divide 0 by 0; the output is defined as 0 there.
    """
    if eps > 0.0:
        return numerator / torch.sqrt(second + eps)
    empty = second == 0
    return torch.where(empty, torch.zeros_like(numerator), numerator / torch.sqrt(torch.where(empty, 1.0, second)))
