"""The dynamics as a kernel takes it in: filtered into the input where it is linear, else as numbers for the kernel.

Axes: T time, B batch, D input, G gates * H.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from momentum_cli.dynamics.adam import Adam
from momentum_cli.dynamics.identity import Identity
from momentum_cli.dynamics.protocol import Dynamics, State
from momentum_cli.dynamics.rmsprop import RMSProp
from momentum_cli.dynamics.scan import filter_input
from momentum_cli.kernels.backend import Weights


class Driven(NamedTuple):
    """Input, projection and what is left of the dynamics for a kernel to do."""

    x: Tensor  # (T, B, D), of a linear dynamics with an input bias (T, B, D + 1)
    w_ih: Tensor  # (G, D) or (G, D + 1)
    b_ih: Tensor | None  # (G,), None where it is the last column of w_ih
    kind: int  # 0 nothing left, 1 Adam, 2 RMSProp: the numbers of momentum_rnn.h
    constants: list[float]  # momentum, step_size, beta2, eps; empty for kind 0
    velocity: Tensor | None  # (B, G) before the first step, None for 0; so is the next
    second_moment: Tensor | None
    filtered: State  # of a linear dynamics after the last step

    def after(self, velocity: Tensor, second_moment: Tensor) -> State:
        """Return the state of the dynamics after the last step, from the moments of the kernel."""
        return (self.filtered, (velocity, second_moment), (second_moment,))[self.kind]


def can_take_in(dynamics: Dynamics) -> bool:
    """Return whether `take_in` serves this dynamics: a linear one, Adam or RMSProp."""
    return dynamics.linear or isinstance(dynamics, Adam | RMSProp)


def take_in(dynamics: Dynamics, x: Tensor, weights: Weights, state: State | None, lengths: Tensor | None) -> Driven:
    """Prepare the input of a kernel.

    Args:
        dynamics: One that `can_take_in` names.
        x: (T, B, D) input.
        weights: Parameters of the layer.
        state: Of the dynamics before the first step, or None at the start of the sequence.
        lengths: (B,) int64 valid steps, or None for T.
    """
    if isinstance(dynamics, Adam):
        constants = [dynamics.momentum, dynamics.step_size, dynamics.beta2, dynamics.eps]
        velocity, second_moment = state or (None, None)
        return Driven(x, weights.w_ih, weights.b_ih, 1, constants, velocity, second_moment, ())
    if isinstance(dynamics, RMSProp):  # Adam without momentum
        constants = [0.0, dynamics.step_size, dynamics.beta2, dynamics.eps]
        return Driven(x, weights.w_ih, weights.b_ih, 2, constants, None, state[0] if state else None, ())
    x, filtered = filter_input(dynamics, x, weights.b_ih is not None, state, lengths)
    if isinstance(dynamics, Identity) or weights.b_ih is None:
        return Driven(x, weights.w_ih, weights.b_ih, 0, [], None, None, filtered)
    return Driven(x, weights.extended(), None, 0, [], None, None, filtered)
