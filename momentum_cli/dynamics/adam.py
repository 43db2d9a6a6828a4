"""Adam dynamics: momentum divided by the root of a running second moment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from momentum_cli.dynamics.moments import Moments
from momentum_cli.dynamics.protocol import FormDynamics


@dataclass(frozen=True)
class Adam(FormDynamics):
    """Adam: ``v_t = momentum v_{t-1} + step_size u_t``, ``m_t = beta2 m_{t-1} + (1 - beta2) u_t²``,
    ``d_t = v_t / sqrt(m_t + eps)``.

    State: ``(velocity (B, C), second_moment (B, C))``.

    Args:
        momentum: Decay of the velocity per step, in [0, 1).
        beta2: Decay of the second moment per step, in [0, 1). The authors' ``mus``.
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

    @property
    def form(self) -> Moments:
        """See `FormDynamics.form`."""
        return Moments(self.momentum, self.step_size, self.beta2, self.eps)
