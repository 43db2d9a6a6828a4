"""Momentum dynamics: the filters that stand in front of an unchanged recurrence.

A recurrent cell reads its input only through the projection ``u_t = W_ih x_t + b_ih``. A dynamics replaces ``u_t`` by
``d_t``, the output of a recurrence over time that is elementwise in u; nothing else of the cell changes.

Axes: T time, B batch, C channels (gates in gate space, inputs in input space).

Linear dynamics (``linear = True``) commute with the projection: ``d_t = W_ih y_t + b_ih c_t``, where y is the filtered
input and c the filtered constant 1. `filter_input` computes ``[y, c]``, so that such a cell is an ordinary one run on
the filtered input.

Reference: Nguyen, Baraniuk, Bertozzi, Osher, Wang, "MomentumRNN: Integrating Momentum into Recurrent Neural Networks",
NeurIPS 2020, arXiv 2006.06919. As in the authors' code there is no bias correction, no factor (1 - momentum), and
``eps`` stands inside the root.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from numbers import Real
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from momentum_cli.ragged import advance, at_end
from momentum_cli.scan import decay_scan

State = tuple[Tensor, ...]


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


@dataclass(frozen=True)
class Identity:
    """No dynamics: ``d_t = u_t``. The plain cell."""

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


@dataclass(frozen=True)
class HeavyBall:
    """Heavy-ball momentum: ``v_t = momentum v_{t-1} + step_size u_t``, ``d_t = v_t``.

    State: ``(velocity (B, C),)``.

    Args:
        momentum: Decay of the velocity a step, in [0, 1).
        step_size: Weight of the new input, > 0.

    Raises:
        ValueError: A value is outside its range.

    Reference: arXiv 2006.06919, equation 8 (MomentumRNN cell). In the authors' code ``mu`` and ``epsilon``.
    """

    momentum: float = 0.6
    step_size: float = 1.0
    linear: ClassVar[bool] = True
    state_names: ClassVar[tuple[str, ...]] = ("velocity",)

    def __post_init__(self) -> None:
        _check_unit_interval("momentum", self.momentum)
        _check_positive("step_size", self.step_size)

    def init(self, u: Tensor) -> State:
        """Return the zero velocity."""
        return (torch.zeros_like(u),)

    def step(self, u: Tensor, state: State) -> tuple[Tensor, State]:
        """Advance the velocity by one step."""
        velocity = heavy_ball_step(u, state[0], self.momentum, self.step_size)
        return velocity, (velocity,)

    def scan(self, u: Tensor, state: State | None = None, lengths: Tensor | None = None) -> tuple[Tensor, State]:
        """Run the whole sequence at once, see `Dynamics.scan`."""
        start = None if state is None else state[0]
        velocity = decay_scan(self.momentum, u * self.step_size, start)
        return velocity, (at_end(velocity, lengths),)


@dataclass(frozen=True)
class Nesterov:
    """Nesterov's growing momentum: ``v_t = (k-1)/(k+2) v_{t-1} + step_size u_t`` with ``k = t``, ``d_t = v_t``.

    State: ``(velocity (B, C), k (B,) int64 steps done so far)``.

    Args:
        step_size: Weight of the new input, > 0.

    Raises:
        ValueError: A value is outside its range.

    Reference: arXiv 2006.06919, section 3.3 (NAG principled cell), in filter form.
    """

    step_size: float = 1.0
    linear: ClassVar[bool] = True
    state_names: ClassVar[tuple[str, ...]] = ("velocity", "k")

    def __post_init__(self) -> None:
        _check_positive("step_size", self.step_size)

    def init(self, u: Tensor) -> State:
        """Return the zero velocity and k = 0."""
        return _init_counted(u)

    def step(self, u: Tensor, state: State) -> tuple[Tensor, State]:
        """Advance the velocity by one step."""
        return counted_step(u, state[0], state[1], self.step_size, 0)

    def scan(self, u: Tensor, state: State | None = None, lengths: Tensor | None = None) -> tuple[Tensor, State]:
        """Run the whole sequence at once, see `Dynamics.scan`."""
        return _counted_scan(u, state, lengths, self.step_size, 0)


@dataclass(frozen=True)
class ScheduledRestart:
    """Nesterov momentum that restarts: as `Nesterov`, with k running 1, 2, …, restart_every, 1, 2, ….

    State: ``(velocity (B, C), k (B,) int64 steps done so far)``; the restart is taken from k, not stored.

    Args:
        step_size: Weight of the new input, > 0.
        restart_every: Steps between restarts, an integer >= 1; 1 means no momentum at all.

    Raises:
        ValueError: A value is outside its range.

    Reference: arXiv 2006.06919, section 3.3 (SRRNN), in filter form; the authors' SRLSTM runs on MNIST, PMNIST and
    TIMIT use another cell, in which the momentum acts on the whole pre-activation.
    """

    step_size: float = 1.0
    restart_every: int = 40
    linear: ClassVar[bool] = True
    state_names: ClassVar[tuple[str, ...]] = ("velocity", "k")

    def __post_init__(self) -> None:
        _check_positive("step_size", self.step_size)
        if isinstance(self.restart_every, bool) or not isinstance(self.restart_every, int) or self.restart_every < 1:
            raise ValueError(f"restart_every: got {self.restart_every!r}, allowed is an integer >= 1")

    def init(self, u: Tensor) -> State:
        """Return the zero velocity and k = 0."""
        return _init_counted(u)

    def step(self, u: Tensor, state: State) -> tuple[Tensor, State]:
        """Advance the velocity by one step."""
        return counted_step(u, state[0], state[1], self.step_size, self.restart_every)

    def scan(self, u: Tensor, state: State | None = None, lengths: Tensor | None = None) -> tuple[Tensor, State]:
        """Run the whole sequence at once, see `Dynamics.scan`."""
        return _counted_scan(u, state, lengths, self.step_size, self.restart_every)


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

    beta2: float = 0.9
    step_size: float = 1.0
    eps: float = 1e-16
    linear: ClassVar[bool] = False
    state_names: ClassVar[tuple[str, ...]] = ("second_moment",)

    def __post_init__(self) -> None:
        _check_unit_interval("beta2", self.beta2)
        _check_positive("step_size", self.step_size)
        _check_not_negative("eps", self.eps)

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


@dataclass(frozen=True)
class Adam:
    """Adam: ``v_t = momentum v_{t-1} + step_size u_t``, ``m_t = beta2 m_{t-1} + (1 - beta2) u_t²``,
    ``d_t = v_t / sqrt(m_t + eps)``.

    State: ``(velocity (B, C), second_moment (B, C))``.

    Args:
        momentum: Decay of the velocity a step, in [0, 1).
        beta2: Decay of the second moment a step, in [0, 1). The authors' ``mus``.
        step_size: Weight of the new input, > 0.
        eps: Added to the second moment inside the root, >= 0.

    Raises:
        ValueError: A value is outside its range.

    Reference: arXiv 2006.06919, section 3.4 (AdamRNN).
    """

    momentum: float = 0.6
    beta2: float = 0.9
    step_size: float = 1.0
    eps: float = 1e-16
    linear: ClassVar[bool] = False
    state_names: ClassVar[tuple[str, ...]] = ("velocity", "second_moment")

    def __post_init__(self) -> None:
        _check_unit_interval("momentum", self.momentum)
        _check_unit_interval("beta2", self.beta2)
        _check_positive("step_size", self.step_size)
        _check_not_negative("eps", self.eps)

    def init(self, u: Tensor) -> State:
        """Return zero velocity and second moment."""
        return torch.zeros_like(u), torch.zeros_like(u)

    def step(self, u: Tensor, state: State) -> tuple[Tensor, State]:
        """Advance both moments by one step."""
        velocity = heavy_ball_step(u, state[0], self.momentum, self.step_size)
        second = second_moment_step(u, state[1], self.beta2)
        return normalize(velocity, second, self.eps), (velocity, second)

    def scan(self, u: Tensor, state: State | None = None, lengths: Tensor | None = None) -> tuple[Tensor, State]:
        """Run the whole sequence at once, see `Dynamics.scan`."""
        velocity_start, second_start = (None, None) if state is None else state
        velocity = decay_scan(self.momentum, u * self.step_size, velocity_start)
        second = decay_scan(self.beta2, (1.0 - self.beta2) * u * u, second_start)
        return normalize(velocity, second, self.eps), (at_end(velocity, lengths), at_end(second, lengths))


# The names of recipes and of the command line.
DYNAMICS: dict[str, type[Dynamics]] = {
    "identity": Identity,
    "momentum": HeavyBall,
    "nesterov": Nesterov,
    "sr": ScheduledRestart,
    "rmsprop": RMSProp,
    "adam": Adam,
}


# Steps as functions of tensors and numbers alone, so that torch.jit.script can compile them.


def heavy_ball_step(u: Tensor, velocity: Tensor, momentum: float, step_size: float) -> Tensor:
    """Return ``momentum velocity + step_size u``; all tensors (B, C)."""
    return momentum * velocity + step_size * u


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


def nesterov_coefficient(k: Tensor, restart_every: int) -> Tensor:
    """Return ``(j-1)/(j+2)`` in float64 for step number k (int64, first is 1); j = k, or k counted from the restart.

    ``restart_every`` 0 means never.
    """
    if restart_every > 0:
        k = (k - 1) % restart_every + 1
    return (k - 1).double() / (k + 2).double()


def counted_step(
    u: Tensor, velocity: Tensor, k: Tensor, step_size: float, restart_every: int
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Advance Nesterov's velocity (B, C) and counter k (B,) by one step; ``restart_every`` 0 means never."""
    k = k + 1
    coefficient = nesterov_coefficient(k, restart_every).to(u.dtype).unsqueeze(-1)
    velocity = coefficient * velocity + step_size * u
    return velocity, (velocity, k)


# The scan over a whole sequence.


def filter_input(
    dynamics: Dynamics, x: Tensor, with_constant: bool, state: State | None = None, lengths: Tensor | None = None
) -> tuple[Tensor, State]:
    """Filter the input of a layer by a linear dynamics, which commutes with the input projection.

    Args:
        dynamics: A linear dynamics.
        x: (T, B, D) input.
        with_constant: Append the filtered constant 1 as the last channel; it stands for the input bias.
        state: Dynamics state in input space, or None at the start.
        lengths: (B,) int64 valid steps, or None for T.

    Returns:
        (T, B, D) or (T, B, D + 1), and the state after each sequence's last step.

    Raises:
        ValueError: The dynamics is not linear.
    """
    if not dynamics.linear:
        raise ValueError(f"{type(dynamics).__name__} is not linear and cannot be moved in front of the projection")
    if with_constant and not isinstance(dynamics, Identity):
        x = torch.nn.functional.pad(x, (0, 1), value=1.0)
    return dynamics.scan(x, state, lengths)


def stepwise_scan(
    self: Dynamics, u: Tensor, state: State | None = None, lengths: Tensor | None = None
) -> tuple[Tensor, State]:
    """Run a whole sequence step by step: ``scan = stepwise_scan`` in a dynamics that has no faster way.

    Args:
        self: A dynamics.
        u: (T, B, C).
        state: State before the first step, or None for zeros.
        lengths: (B,) int64 valid steps, or None for T.

    Returns:
        ``d`` (T, B, C), and the state after each sequence's own last step.
    """
    before = self.init(u[0]) if state is None else state
    outputs = []
    for t, u_t in enumerate(u.unbind(0)):
        d, after = self.step(u_t, before)
        if lengths is not None:
            after = advance((t < lengths).to(u.device), after, before)
        outputs.append(d)
        before = after
    return torch.stack(outputs), before


def _init_counted(u: Tensor) -> State:
    return torch.zeros_like(u), torch.zeros(u.shape[0], dtype=torch.int64, device=u.device)


def _counted_scan(
    u: Tensor, state: State | None, lengths: Tensor | None, step_size: float, restart_every: int
) -> tuple[Tensor, State]:
    steps, batch, _ = u.shape
    count = torch.arange(1, steps + 1, device=u.device).unsqueeze(1)
    if state is None:
        velocity, done = None, torch.zeros(batch, dtype=torch.int64, device=u.device)
    else:
        velocity, done = state
        # Sequences may be at different steps: one column of coefficients each.
        count = count + done
    out = decay_scan(nesterov_coefficient(count, restart_every), u * step_size, velocity)
    return out, (at_end(out, lengths), done + (steps if lengths is None else lengths.to(u.device)))


def _check_unit_interval(name: str, value: float) -> None:
    if not (_is_number(value) and 0.0 <= value < 1.0):
        raise ValueError(f"{name}: got {value!r}, allowed is 0 <= {name} < 1")


def _check_positive(name: str, value: float) -> None:
    if not (_is_number(value) and value > 0.0):
        raise ValueError(f"{name}: got {value!r}, allowed is a finite number > 0")


def _check_not_negative(name: str, value: float) -> None:
    if not (_is_number(value) and value >= 0.0):
        raise ValueError(f"{name}: got {value!r}, allowed is a finite number >= 0")


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and isfinite(value)
