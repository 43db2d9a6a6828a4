"""A plugin with a dynamics: an average of the input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from momentum_cli.dynamics.protocol import State
from momentum_cli.dynamics.scan import stepwise_scan


@dataclass(frozen=True)
class Lazy:
    """m' = (1 - pace) m + pace u; d = m'"""

    pace: float = 0.5
    linear: ClassVar[bool] = True
    state_names: ClassVar[tuple[str, ...]] = ("average",)

    def __post_init__(self) -> None:
        if not 0 < self.pace <= 1:
            raise ValueError(f"pace: got {self.pace}, allowed is 0 < pace <= 1")

    def init(self, u: Tensor) -> State:
        return (torch.zeros_like(u),)

    def step(self, u: Tensor, state: State) -> tuple[Tensor, State]:
        m = (1 - self.pace) * state[0] + self.pace * u
        return m, (m,)

    scan = stepwise_scan


DYNAMICS = {"lazy": Lazy}
