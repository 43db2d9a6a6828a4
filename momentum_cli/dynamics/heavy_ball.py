"""Heavy-ball momentum."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from momentum_cli.dynamics.filter import Filter
from momentum_cli.dynamics.protocol import FormDynamics


@dataclass(frozen=True)
class HeavyBall(FormDynamics):
    """Heavy-ball momentum: ``v_t = momentum v_{t-1} + step_size u_t``, ``d_t = v_t``.

    State: ``(velocity (B, C),)``.

    Args:
        momentum: Decay of the velocity per step, in [0, 1).
        step_size: Weight of the new input, > 0.

    Raises:
        ValueError: A value is outside its range.

    Reference: arXiv 2006.06919, equation 8 (MomentumRNN cell). In the authors' code ``mu`` and ``epsilon``.
    """

    momentum: float = field(default=0.6, metadata={"range": "[0, 1)"})
    step_size: float = field(default=1.0, metadata={"range": "> 0"})
    equation: ClassVar[str] = "v' = momentum v + step_size u; d = v'"

    @property
    def form(self) -> Filter:
        """See `FormDynamics.form`."""
        return Filter(self.step_size, self.momentum)
