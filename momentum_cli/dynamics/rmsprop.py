"""RMSProp dynamics: the input divided by the root of a running second moment."""

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
class RMSProp:
    """RMSProp: ``m_t = beta2 m_{t-1} + (1 - beta2) u_t²``, ``d_t = step_size u_t / sqrt(m_t + eps)``.

    State: ``(second_moment (B, C),)``.

    Args:
        beta2: Decay of the second moment a step, in [0, 1). The authors' ``mus``.
        step_size: Weight of the new input, > 0.
        eps: Added to the second moment inside the root, >= 0.

    Raises:
        ValueError: A value is outside its range.

    Reference: arXiv 2006.06919, section 3.4 (RMSPropRNN).
    """

    beta2: float = field(default=0.9, metadata={"range": "[0, 1)"})
    step_size: float = field(default=1.0, metadata={"range": "> 0"})
    eps: float = field(default=1e-16, metadata={"range": ">= 0"})
    equation: ClassVar[str] = "m' = beta2 m + (1 - beta2) u²; d = step_size u / sqrt(m' + eps)"
    linear: ClassVar[bool] = False
    state_names: ClassVar[tuple[str, ...]] = ("second_moment",)

    def __post_init__(self) -> None:
        check_ranges(self)

    def init(self, u: Tensor) -> State:
        """Return the zero second moment."""
        return (torch.zeros_like(u),)

    def step(self, u: Tensor, state: State) -> tuple[Tensor, State]:
        """Advance the second moment by one step."""
        second = second_moment_step(u, state[0], self.beta2)
        return normalize(self.step_size * u, second, self.eps), (second,)

    def scan(self, u: Tensor, state: State | None = None, lengths: Tensor | None = None) -> tuple[Tensor, State]:
        """Run the whole sequence at once, see `Dynamics.scan`."""
        start = None if state is None else state[0]
        second = decay_scan(self.beta2, (1.0 - self.beta2) * u * u, start)
        return normalize(self.step_size * u, second, self.eps), (at_end(second, lengths),)


def second_moment_step(u: Tensor, second: Tensor, beta2: float) -> Tensor:
    """Return ``beta2 second + (1 - beta2) u²``; all tensors (B, C)."""
    return beta2 * second + (1.0 - beta2) * u * u


def normalize(numerator: Tensor, second: Tensor, eps: float) -> Tensor:
    """Return ``numerator / sqrt(second + eps)``, and 0 where both are 0 and eps is 0.

    Without eps the first zero input would divide 0 by 0; the limit of a step of vanishing input is taken as 0.
    """
    if eps > 0.0:
        return numerator / torch.sqrt(second + eps)
    empty = second == 0
    return torch.where(empty, torch.zeros_like(numerator), numerator / torch.sqrt(torch.where(empty, 1.0, second)))
