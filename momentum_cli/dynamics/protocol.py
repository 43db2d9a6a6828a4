"""The interface of a dynamics, and its two kinds: one that has a form, and one that has only a step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from momentum_cli.dynamics.filter import Filter
from momentum_cli.dynamics.moments import Moments
from momentum_cli.dynamics.ragged import advance
from momentum_cli.dynamics.ranges import check_ranges
from momentum_cli.dynamics.state import State

Form = Filter | Moments


class Dynamics(Protocol):
    """The interface for layers, kernels and exports: a frozen dataclass whose fields are its options.

    Derive one from `FormDynamics` or from `StepDynamics`.

    Attributes:
        equation: The formula as text: u is the projected input ``W_ih x_t + b_ih``, d the input of the recurrence.
    """

    equation: ClassVar[str]

    @property
    def form(self) -> Form | None:
        """The formula in the form that kernels and exports read; None for a dynamics that has only a step."""
        ...

    @property
    def state_names(self) -> tuple[str, ...]:
        """One name for each tensor of the state, in order."""
        ...

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


class FormDynamics(ABC):
    """Base of a dynamics with a form. It runs on every backend and exports to every format.

    A subclass is a frozen dataclass with its options, its `equation` and its `form`.

    Raises:
        ValueError: An option is outside the ``range`` in the metadata of its field.
    """

    equation: ClassVar[str]

    def __post_init__(self) -> None:
        check_ranges(self)

    @property
    @abstractmethod
    def form(self) -> Form:
        """A filter for a linear dynamics, or moments."""

    @property
    def state_names(self) -> tuple[str, ...]:
        """See `Dynamics.state_names`."""
        return self.form.state_names

    def init(self, u: Tensor) -> State:
        """See `Dynamics.init`."""
        return self.form.init(u)

    def step(self, u: Tensor, state: State) -> tuple[Tensor, State]:
        """See `Dynamics.step`."""
        return self.form.step(u, state)

    def scan(self, u: Tensor, state: State | None = None, lengths: Tensor | None = None) -> tuple[Tensor, State]:
        """See `Dynamics.scan`."""
        return self.form.scan(u, state, lengths)


class StepDynamics(ABC):
    """Base of a dynamics that has only a step, so only a loop over time can run it.

    A subclass is a frozen dataclass with its options, its `equation`, the names of its states, all of which have the
    shape of u, and its step.

    Raises:
        ValueError: An option is outside the ``range`` in the metadata of its field.
    """

    equation: ClassVar[str]
    state_names: ClassVar[tuple[str, ...]]

    def __post_init__(self) -> None:
        check_ranges(self)

    @property
    def form(self) -> None:
        """Always None: it has no form."""
        return

    def init(self, u: Tensor) -> State:
        """See `Dynamics.init`."""
        return tuple(torch.zeros_like(u) for _ in self.state_names)

    @abstractmethod
    def step(self, u: Tensor, state: State) -> tuple[Tensor, State]:
        """See `Dynamics.step`."""

    def scan(self, u: Tensor, state: State | None = None, lengths: Tensor | None = None) -> tuple[Tensor, State]:
        """See `Dynamics.scan`."""
        before = self.init(u[0]) if state is None else state
        outputs = []
        for t, u_t in enumerate(u.unbind(0)):
            d, after = self.step(u_t, before)
            if lengths is not None:
                after = advance((t < lengths).to(u.device, non_blocking=True), after, before)
            outputs.append(d)
            before = after
        return torch.stack(outputs), before
