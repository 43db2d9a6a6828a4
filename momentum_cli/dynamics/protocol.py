"""The interface of a dynamics."""

from __future__ import annotations

from typing import ClassVar, Protocol

from torch import Tensor

State = tuple[Tensor, ...]
"""Tensors that are carried from step to step: of a dynamics, of a recurrence, of a whole layer."""


class Dynamics(Protocol):
    """What a dynamics offers to layers and kernels; user-defined ones implement exactly this.

    Attributes:
        equation: The formula, for people: u is the projected input ``W_ih x_t + b_ih``, d what the recurrence receives.
        linear: True when ``d`` is a linear function of ``u``; the state then lives in input space.
        state_names: One name for each tensor of the state, in order.
    """

    equation: ClassVar[str]
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
