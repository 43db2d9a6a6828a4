"""No dynamics: the plain cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from momentum_cli.dynamics.protocol import State


@dataclass(frozen=True)
class Identity:
    """No dynamics: ``d_t = u_t``. The plain cell."""

    equation: ClassVar[str] = "d = u"
    linear: ClassVar[bool] = True
    state_names: ClassVar[tuple[str, ...]] = ()

    def init(self, u: Tensor) -> State:
        """Return the empty state."""
        return ()

    def step(self, u: Tensor, state: State) -> tuple[Tensor, State]:
        """Return ``u`` unchanged."""
        return u, ()

    def scan(self, u: Tensor, state: State | None = None, lengths: Tensor | None = None) -> tuple[Tensor, State]:
        """Return ``u`` of shape (T, B, C) unchanged."""
        return u, ()
