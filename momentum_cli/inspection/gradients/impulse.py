"""The impulse response of a dynamics, and the length of its memory.

For step t0 of a sequence it is ``r(τ) = ∂ d_{t0+τ} / ∂ u_{t0}``, τ = 0, 1, …. For a filter this is the response to a
unit impulse in an otherwise empty sequence. RMSProp and Adam are not linear; theirs is the linear response at the
operating point ``u_t = 1`` for all t, that is, the effect of a small extra input at t0 on a constant input. Their
output does not change when u is scaled (up to eps), so another constant c only divides the response by c.

Axes: n lags.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from momentum_cli.dynamics.filter import Filter
from momentum_cli.dynamics.protocol import Dynamics

FORGOTTEN = 0.05
"""A response is forgotten when it stays below this fraction of its peak."""


@dataclass(frozen=True)
class Memory:
    """Duration of an impulse response.

    Args:
        length: Effective memory length in steps, ``Σ |r(τ)| / max |r(τ)|``: 1 for no memory.
        forgotten_after: Steps until |r| stays below 5 % of its peak, or None if it does not within the sequence.
    """

    length: float
    forgotten_after: int | None


def impulse_response(dynamics: Dynamics, steps: int, arrival: int) -> Tensor:
    """Return ``∂ d_t / ∂ u_arrival`` for t = arrival … steps, from `Dynamics.step` by automatic differentiation.

    Args:
        dynamics: Any dynamics, including a user's.
        steps: T, >= 1.
        arrival: The step of the impulse, in [1, T]. Nesterov and ScheduledRestart respond differently at different
            steps.

    Returns:
        (T - arrival + 1,) float64.
    """
    background = torch.zeros if isinstance(dynamics.form, Filter) else torch.ones
    constant = background(1, 1, dtype=torch.float64)

    def run(u: Tensor) -> Tensor:
        state = dynamics.init(constant)
        outputs = []
        for t in range(1, steps + 1):
            d, state = dynamics.step(u if t == arrival else constant, state)
            if t >= arrival:
                outputs.append(d.reshape(()))
        return torch.stack(outputs)

    # The derivative of many steps by one number, with two backward passes instead of one per step.
    _, response = torch.autograd.functional.jvp(run, constant, torch.ones_like(constant))  # type: ignore[no-untyped-call]
    return response  # type: ignore[no-any-return]


def memory(response: Tensor) -> Memory:
    """Return the duration of a response.

    Args:
        response: (n,), n >= 1, not all 0.
    """
    size = response.abs()
    peak = float(size.max())
    after = int(torch.nonzero(size >= FORGOTTEN * peak).max()) + 1
    return Memory(float(size.sum()) / peak, after if after < len(size) else None)


def memory_closed_form(dynamics: Dynamics, steps: int, arrival: int) -> float | None:
    """Return the effective memory length of a filter from its decay, or None for other dynamics.

    An impulse at step k has the response ``r(τ) = gain decay(k+1) … decay(k+τ)``. So it is 1 for `Identity`,
    ``(1 - μ^n) / (1 - μ)`` with n lags inside the sequence for `HeavyBall`, and near ``(k + 2) / 2`` for `Nesterov` in
    a long sequence: later inputs are remembered longer.

    Args:
        dynamics: Any dynamics.
        steps: T.
        arrival: k, in [1, T].
    """
    form = dynamics.form
    if not isinstance(form, Filter):
        return None
    later = torch.arange(arrival + 1, steps + 1, dtype=torch.float64)
    decay = form.decay or 0.0
    decays = decay(later) if callable(decay) else torch.full_like(later, decay)
    return memory(torch.cat((torch.ones(1, dtype=torch.float64), decays.cumprod(0)))).length
