"""The interface of a dynamics, and checks of its options."""

from __future__ import annotations

from math import isfinite
from numbers import Real
from typing import ClassVar, Protocol

from torch import Tensor

State = tuple[Tensor, ...]
"""Tensors that are carried from step to step: of a dynamics, of a recurrence, of a whole layer."""


class Dynamics(Protocol):
    """What a dynamics offers to layers and kernels; user-defined ones implement exactly this.

    Attributes:
        linear: True when ``d`` is a linear function of ``u``; the state then lives in input space.
        state_names: One name for each tensor of the state, in order.
    """

    linear: ClassVar[bool]
    state_names: ClassVar[tuple[str, ...]]

    def init(self, u: Tensor) -> State:
        """Return the state before the first step for one time step ``u`` of shape (B, C): all zeros."""
        ...

    def step(self, u: Tensor, state: State) -> tuple[Tensor, State]:
        """Return ``d`` of shape (B, C) and the next state for one time step ``u`` of shape (B, C)."""
        ...

    def scan(self, u: Tensor, state: State | None = None, lengths: Tensor | None = None) -> tuple[Tensor, State]:
        """Run the whole sequence at once.

        Args:
            u: (T, B, C).
            state: State before the first step, or None for zeros.
            lengths: (B,) int64 number of valid steps of each sequence, or None for T.

        Returns:
            ``d`` of shape (T, B, C), and the state after each sequence's own last step.
        """
        ...


def check_unit_interval(name: str, value: float) -> None:
    """Raise ValueError unless 0 <= value < 1."""
    if not (_is_number(value) and 0.0 <= value < 1.0):
        raise ValueError(f"{name}: got {value!r}, allowed is 0 <= {name} < 1")


def check_positive(name: str, value: float) -> None:
    """Raise ValueError unless value is a finite number > 0."""
    if not (_is_number(value) and value > 0.0):
        raise ValueError(f"{name}: got {value!r}, allowed is a finite number > 0")


def check_not_negative(name: str, value: float) -> None:
    """Raise ValueError unless value is a finite number >= 0."""
    if not (_is_number(value) and value >= 0.0):
        raise ValueError(f"{name}: got {value!r}, allowed is a finite number >= 0")


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and isfinite(value)
