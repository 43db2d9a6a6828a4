"""A plugin with a linear dynamics whose decay depends on the step: a memory that fades as the sequence goes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch

from momentum_cli.dynamics import Filter, FormDynamics


@dataclass(frozen=True)
class Fading(FormDynamics):
    tau: float = field(default=30.0, metadata={"range": "> 0"})
    step_size: float = field(default=1.0, metadata={"range": "> 0"})
    equation: ClassVar[str] = "v' = exp(-k/tau) v + step_size u; d = v'"

    @property
    def form(self) -> Filter:
        return Filter(self.step_size, lambda k: torch.exp(-k / self.tau))


DYNAMICS = {"fading": Fading}
