"""The dynamics as kernels receive it: a filter is applied to the input beforehand, moments are passed as numbers.

Axes: T time, B batch, D input, G gates * H.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from torch.nn import Parameter

from momentum_cli.dynamics.moments import Moments
from momentum_cli.dynamics.protocol import Dynamics
from momentum_cli.dynamics.state import State
from momentum_cli.kernels.backend import Weights
from momentum_cli.kernels.fused.library import why_missing
from momentum_cli.kernels.fused.scan import scan_on_cpu

# The part of the dynamics that is left to the kernel, numbered as in momentum_rnn.h.
LINEAR, ADAM, RMSPROP = 0, 1, 2


class Driven(NamedTuple):
    """Input, projection and the part of the dynamics that is left to the kernel."""

    x: Tensor  # (T, B, D), or (T, B, D + 1) if folded
    folded: bool  # the last channel of x is multiplied by the input bias, which is then not added
    dynamics: int  # LINEAR, ADAM or RMSPROP
    constants: list[float]  # momentum, step_size, beta2, eps; empty for LINEAR
    velocity: Tensor | None  # (B, G) before the first step, None for 0; likewise second_moment
    second_moment: Tensor | None
    filtered: State  # state of a linear dynamics after the last step

    def projection(self, weights: Weights) -> tuple[Tensor, Tensor | None]:
        """Return what x is multiplied by and what is added, for kernels that know no folded bias."""
        return (weights.extended(), None) if self.folded else (weights.w_ih, weights.b_ih)

    def after(self, velocity: Tensor, second_moment: Tensor) -> State:
        """Return the state of the dynamics after the last step, from the moments of the kernel."""
        return (self.filtered, (velocity, second_moment), (second_moment,))[self.dynamics]


def take_in(dynamics: Dynamics, x: Tensor, weights: Weights, state: State | None, lengths: Tensor | None) -> Driven:
    """Prepare the input of a kernel.

    Args:
        dynamics: A dynamics with a form.
        x: (T, B, D) input.
        weights: Parameters of the layer.
        state: State of the dynamics before the first step, or None at the start of the sequence.
        lengths: (B,) int64 valid steps, or None for T.

    Raises:
        ValueError: The dynamics has no form.
    """
    form = dynamics.form
    if form is None:
        raise ValueError(f"{type(dynamics).__name__} has only a step, which no kernel runs")
    if isinstance(form, Moments):
        number = ADAM if form.momentum is not None else RMSPROP
        constants = [form.momentum or 0.0, form.step_size, form.beta2, form.eps]
        velocity, second_moment = (None, None) if not state else (state[0] if number == ADAM else None, state[-1])
        return Driven(x, False, number, constants, velocity, second_moment, ())
    if not form.is_identity:
        x = x.to(weights.w_ih.dtype)  # the state of a filter must not be rounded to bfloat16
    run = scan_on_cpu if type(x) in (Tensor, Parameter) and x.is_cpu and why_missing() is None else None
    # The filtered constant 1 carries the input bias.
    folded = not form.is_identity and weights.b_ih is not None
    x, filtered = form.scan(x, state, lengths, run, constant=folded)
    return Driven(x, folded, LINEAR, [], None, None, filtered)
