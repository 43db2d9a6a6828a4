"""The impulse response of a dynamics, and for how many steps it remembers.

For step t0 of a sequence it is ``r(τ) = ∂ d_{t0+τ} / ∂ u_{t0}``, τ = 0, 1, …. For a linear dynamics that is the
response to a unit impulse in an otherwise empty sequence. RMSProp and Adam are not linear; theirs is the linear
response about the operating point ``u_t = 1`` for all t: what a small extra input at t0 adds to what a constant input
gives. Their output does not change when u is scaled (up to eps), so another constant c only divides the response by c.

Axes: n lags.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from momentum_cli.dynamics.heavy_ball import HeavyBall
from momentum_cli.dynamics.identity import Identity
from momentum_cli.dynamics.nesterov import Nesterov, ScheduledRestart
from momentum_cli.dynamics.protocol import Dynamics

FORGOTTEN = 0.05
"""A response is forgotten when it stays below this part of its peak."""


@dataclass(frozen=True)
class Memory:
    """How long a response lasts.

    Args:
        length: Effective memory length in steps, ``Σ |r(τ)| / max |r(τ)|``: 1 for no memory.
        forgotten_after: Steps until |r| stays below 5 % of its peak, or None when it does not within the sequence.
    """

    length: float
    forgotten_after: int | None


def impulse_response(dynamics: Dynamics, steps: int, arrival: int) -> Tensor:
    """Return ``∂ d_t / ∂ u_arrival`` for t = arrival … steps, from `Dynamics.step` by automatic differentiation.

    Args:
        dynamics: Any, also a user's.
        steps: T, >= 1.
        arrival: The step at which the impulse comes, in 1 … T. Nesterov and ScheduledRestart answer differently at
            different steps.

    Returns:
        (T - arrival + 1,) float64.
    """
    background = torch.zeros if dynamics.linear else torch.ones
    constant = background(1, 1, dtype=torch.float64)

    def run(u: Tensor) -> Tensor:
        state = dynamics.init(constant)
        outputs = []
        for t in range(1, steps + 1):
            d, state = dynamics.step(u if t == arrival else constant, state)
            if t >= arrival:
                outputs.append(d.reshape(()))
        return torch.stack(outputs)

    # The derivative by one number at many steps, as two passes back in place of one for each step.
    _, response = torch.autograd.functional.jvp(run, constant, torch.ones_like(constant))  # type: ignore[no-untyped-call]
    return response  # type: ignore[no-any-return]


def memory(response: Tensor) -> Memory:
    """Return how long a response lasts.

    Args:
        response: (n,), n >= 1, not all 0.
    """
    size = response.abs()
    peak = float(size.max())
    after = int(torch.nonzero(size >= FORGOTTEN * peak).max()) + 1
    return Memory(float(size.sum()) / peak, after if after < len(size) else None)


def memory_closed_form(dynamics: Dynamics, steps: int, arrival: int) -> float | None:
    """Return the effective memory length of a linear dynamics from its formula, or None where there is none.

    With ``n = T - arrival + 1`` lags inside the sequence and k the step number at arrival (counted from the restart):

    - Identity: ``r = 1, 0, 0, …``: 1.
    - HeavyBall: ``r(τ) = s μ^τ``: ``(1 - μ^n) / (1 - μ)``, in a long sequence ``1 / (1 - μ)``.
    - Nesterov: ``r(τ) = s k (k+1) (k+2) / (m (m+1) (m+2))``, m = k + τ, because the product of the (j-1)/(j+2)
      telescopes: ``k (k+1) (k+2) / 2 · (1 / (k (k+1)) - 1 / ((T+1) (T+2)))``, in a long sequence ``(k + 2) / 2``: what
      comes later is remembered longer.
    - ScheduledRestart: the same with the last step of the cycle, at most F, in place of T: at the restart the
      coefficient is 0 and everything is forgotten.

    Args:
        dynamics: Any.
        steps: T.
        arrival: In 1 … T.
    """
    if isinstance(dynamics, Identity):
        return 1.0
    if isinstance(dynamics, HeavyBall):
        mu = dynamics.momentum
        return (1 - math.pow(mu, steps - arrival + 1)) / (1 - mu)
    if isinstance(dynamics, Nesterov | ScheduledRestart):
        k, last = arrival, steps
        if isinstance(dynamics, ScheduledRestart):
            k = (arrival - 1) % dynamics.restart_every + 1
            last = min(dynamics.restart_every, k + steps - arrival)
        return k * (k + 1) * (k + 2) / 2 * (1 / (k * (k + 1)) - 1 / ((last + 1) * (last + 2)))
    return None
