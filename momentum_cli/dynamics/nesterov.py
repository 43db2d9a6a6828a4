"""Nesterov's momentum, growing or restarted on a schedule."""

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
class Nesterov:
    """Nesterov's growing momentum: ``v_t = (k-1)/(k+2) v_{t-1} + step_size u_t`` with ``k = t``, ``d_t = v_t``.

    State: ``(velocity (B, C), k (B,) int64 steps done so far)``.

    Args:
        step_size: Weight of the new input, > 0.

    Raises:
        ValueError: A value is outside its range.

    Reference: arXiv 2006.06919, section 3.3 (NAG principled cell), in filter form.
    """

    step_size: float = field(default=1.0, metadata={"range": "> 0"})
    equation: ClassVar[str] = "v' = (k-1)/(k+2) v + step_size u, k = 1, 2, …; d = v'"
    linear: ClassVar[bool] = True
    state_names: ClassVar[tuple[str, ...]] = ("velocity", "k")

    def __post_init__(self) -> None:
        check_ranges(self)

    def init(self, u: Tensor) -> State:
        """Return the zero velocity and k = 0."""
        return _init_counted(u)

    def step(self, u: Tensor, state: State) -> tuple[Tensor, State]:
        """Advance the velocity by one step."""
        return counted_step(u, state[0], state[1], self.step_size, 0)

    def scan(self, u: Tensor, state: State | None = None, lengths: Tensor | None = None) -> tuple[Tensor, State]:
        """Run the whole sequence at once, see `Dynamics.scan`."""
        return _counted_scan(u, state, lengths, self.step_size, 0)


@dataclass(frozen=True)
class ScheduledRestart:
    """Nesterov momentum that restarts: as `Nesterov`, with k running 1, 2, …, restart_every, 1, 2, ….

    State: ``(velocity (B, C), k (B,) int64 steps done so far)``; the restart is taken from k, not stored.

    Args:
        step_size: Weight of the new input, > 0.
        restart_every: Steps between restarts, an integer >= 1; 1 means no momentum at all.

    Raises:
        ValueError: A value is outside its range.

    Reference: arXiv 2006.06919, section 3.3 (SRRNN), in filter form; the authors' SRLSTM runs on MNIST, PMNIST and
    TIMIT use another cell, in which the momentum acts on the whole pre-activation.
    """

    step_size: float = field(default=1.0, metadata={"range": "> 0"})
    restart_every: int = field(default=40, metadata={"range": "integer >= 1"})
    equation: ClassVar[str] = "v' = (k-1)/(k+2) v + step_size u, k = 1, …, restart_every, 1, …; d = v'"
    linear: ClassVar[bool] = True
    state_names: ClassVar[tuple[str, ...]] = ("velocity", "k")

    def __post_init__(self) -> None:
        check_ranges(self)

    def init(self, u: Tensor) -> State:
        """Return the zero velocity and k = 0."""
        return _init_counted(u)

    def step(self, u: Tensor, state: State) -> tuple[Tensor, State]:
        """Advance the velocity by one step."""
        return counted_step(u, state[0], state[1], self.step_size, self.restart_every)

    def scan(self, u: Tensor, state: State | None = None, lengths: Tensor | None = None) -> tuple[Tensor, State]:
        """Run the whole sequence at once, see `Dynamics.scan`."""
        return _counted_scan(u, state, lengths, self.step_size, self.restart_every)


def nesterov_coefficient(k: Tensor, restart_every: int) -> Tensor:
    """Return ``(j-1)/(j+2)`` in float64 for step number k (int64, first is 1); j = k, or k counted from the restart.

    ``restart_every`` 0 means never.
    """
    if restart_every > 0:
        k = (k - 1) % restart_every + 1
    return (k - 1).double() / (k + 2).double()


def counted_step(
    u: Tensor, velocity: Tensor, k: Tensor, step_size: float, restart_every: int
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Advance Nesterov's velocity (B, C) and counter k (B,) by one step; ``restart_every`` 0 means never."""
    k = k + 1
    coefficient = nesterov_coefficient(k, restart_every).to(u.dtype).unsqueeze(-1)
    velocity = coefficient * velocity + step_size * u
    return velocity, (velocity, k)


def _init_counted(u: Tensor) -> State:
    return torch.zeros_like(u), torch.zeros(u.shape[0], dtype=torch.int64, device=u.device)


def _counted_scan(
    u: Tensor, state: State | None, lengths: Tensor | None, step_size: float, restart_every: int
) -> tuple[Tensor, State]:
    steps, batch, _ = u.shape
    count = torch.arange(1, steps + 1, device=u.device).unsqueeze(1)
    if state is None:
        velocity, done = None, torch.zeros(batch, dtype=torch.int64, device=u.device)
    else:
        velocity, done = state
        # Sequences may be at different steps: one column of coefficients each.
        count = count + done
    out = decay_scan(nesterov_coefficient(count, restart_every), u * step_size, velocity)
    return out, (at_end(out, lengths), done + (steps if lengths is None else lengths.to(u.device)))
