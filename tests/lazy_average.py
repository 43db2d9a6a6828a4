"""A plugin with a linear dynamics: an average of the input."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from momentum_cli.dynamics import Filter, FormDynamics


@dataclass(frozen=True)
class Lazy(FormDynamics):
    pace: float = field(default=0.5, metadata={"range": "(0, 1]"})
    equation: ClassVar[str] = "m' = (1 - pace) m + pace u; d = m'"

    @property
    def form(self) -> Filter:
        return Filter(gain=self.pace, decay=1 - self.pace)


DYNAMICS = {"lazy": Lazy}
