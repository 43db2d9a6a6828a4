"""Nesterov's momentum, growing or restarted on a schedule."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from momentum_cli.dynamics.filter import Filter
from momentum_cli.dynamics.protocol import FormDynamics


@dataclass(frozen=True)
class Nesterov(FormDynamics):
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

    @property
    def form(self) -> Filter:
        """See `FormDynamics.form`."""
        return Filter(self.step_size, nesterov_coefficient)


@dataclass(frozen=True)
class ScheduledRestart(FormDynamics):
    """Nesterov momentum that restarts: as `Nesterov`, with k running 1, 2, …, restart_every, 1, 2, ….

    State: ``(velocity (B, C), k (B,) int64 steps done so far)``; restarts follow from k.

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

    @property
    def form(self) -> Filter:
        """See `FormDynamics.form`."""
        return Filter(self.step_size, lambda k: nesterov_coefficient(since_restart(k, self.restart_every)))


def nesterov_coefficient(k: Tensor) -> Tensor:
    """Return ``(k-1)/(k+2)`` for step numbers k (float64); the first is 1."""
    return (k - 1) / (k + 2)


def since_restart(k: Tensor, restart_every: int) -> Tensor:
    """Return step numbers counted from the last restart: 1, 2, …, restart_every, 1, 2, … for k = 1, 2, …."""
    return (k - 1) % restart_every + 1
