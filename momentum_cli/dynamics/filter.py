"""The form of a linear dynamics: a filter of first order.

Axes: T time, B batch, C channels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from momentum_cli.dynamics.ragged import at_end
from momentum_cli.dynamics.scan import Run, decay_scan, extended
from momentum_cli.dynamics.state import State

Decay = Callable[[Tensor], Tensor]


class Filter(NamedTuple):
    """``v_k = decay(k) v_{k-1} + gain u_k``, ``d_k = v_k``, where k = 1, 2, … counts the steps of a sequence.

    State: none without a decay; else ``(velocity (B, C),)``, and with a decay that depends on k also
    ``k (B,) int64``, the steps done so far.

    A filter commutes with the input projection: ``d_t = W_ih y_t + b_ih c_t``, where y is the filtered input and c the
    filtered constant 1. So a layer runs it on its input, and what remains is the plain layer.
    """

    gain: float = 1.0
    decay: float | Decay | None = None
    """A number, a function of k, or None for no memory. The function maps step numbers (a float64 tensor of any shape)
    to decays of the same shape, elementwise, with torch operations."""

    @property
    def is_identity(self) -> bool:
        """True if d = u."""
        return self.decay is None and self.gain == 1.0

    @property
    def state_names(self) -> tuple[str, ...]:
        """One name for each tensor of the state, in order."""
        if self.decay is None:
            return ()
        return ("velocity", "k") if callable(self.decay) else ("velocity",)

    def init(self, u: Tensor) -> State:
        """Return the state before the first step, see `Dynamics.init`."""
        if self.decay is None:
            return ()
        velocity = torch.zeros_like(u)
        if not callable(self.decay):
            return (velocity,)
        return velocity, torch.zeros(u.shape[0], dtype=torch.int64, device=u.device)

    def step(self, u: Tensor, state: State) -> tuple[Tensor, State]:
        """Advance by one step, see `Dynamics.step`."""
        if self.decay is None:
            return extended(u, self.gain, False), ()
        if not callable(self.decay):
            velocity = self.decay * state[0] + self.gain * u
            return velocity, (velocity,)
        k = state[1] + 1
        velocity = self.decay(k.double()).to(u.dtype).unsqueeze(-1) * state[0] + self.gain * u
        return velocity, (velocity, k)

    def scan(
        self,
        u: Tensor,
        state: State | None = None,
        lengths: Tensor | None = None,
        run: Run | None = None,
        *,
        constant: bool = False,
    ) -> tuple[Tensor, State]:
        """Run the whole sequence at once, see `Dynamics.scan`; `run` and `constant` as in `decay_scan`."""
        if self.decay is None:
            return extended(u, self.gain, constant), ()
        before = None if state is None else state[0]
        if not callable(self.decay):
            velocity = decay_scan(self.decay, u, before, run, gain=self.gain, constant=constant)
            return velocity, (at_end(velocity, lengths),)
        steps, batch = u.shape[:2]
        count = torch.arange(1, steps + 1, device=u.device).unsqueeze(1)
        if state is None:
            done = torch.zeros(batch, dtype=torch.int64, device=u.device)
        else:
            # Sequences may be at different steps: one column of decays for each.
            done = state[1]
            count = count + done
        velocity = decay_scan(self.decay(count.double()), u, before, run, gain=self.gain, constant=constant)
        return velocity, (
            at_end(velocity, lengths),
            done + (steps if lengths is None else lengths.to(u.device, non_blocking=True)),
        )
