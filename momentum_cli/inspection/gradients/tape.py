"""A forward pass that keeps every u_t, d_t and h_t, so that a loss can be differentiated by each of them.

The layer's own reference loop runs; only its two steps, `Dynamics.step` and `Recurrence.step`, are replaced by ones
that also record their tensors. Each h_t is one tensor, read by both the next step and the head, so its gradient is the
total derivative.

Axes: T time, B batch, C channels, H hidden, G gates * H.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, cast

from torch import Tensor

from momentum_cli.dynamics.protocol import Dynamics
from momentum_cli.dynamics.state import State
from momentum_cli.layers.recurrent import RecurrentLayer
from momentum_cli.recurrence.protocol import Recurrence


@dataclass(frozen=True)
class Step:
    """One step of one layer in one direction.

    Args:
        u: (B, G) projected input ``W_ih x_t + b_ih``.
        d: (B, G) driven input of the recurrence. It is a separate tensor, because a velocity is both d_t and the state
            of the dynamics, and the gradient of d_t must be that of the recurrence alone.
        before: State of the recurrence before the step.
        after: State after it; the first tensor is h_t.
        weight_hh: Recurrent weight.
        bias_hh: Recurrent bias or None.
    """

    u: Tensor
    d: Tensor
    before: State
    after: State
    weight_hh: Tensor
    bias_hh: Tensor | None


@dataclass
class Tape:
    """Record of a forward pass.

    Attributes:
        recurrence: The layer's own recurrence, without recording.
        steps: In the order of computation: all of the first layer and direction, then of the next.
    """

    recurrence: Recurrence
    steps: list[Step] = field(default_factory=list)


class _RecordedDynamics:
    """A dynamics that remembers the latest input of its step.

    The reference loop calls the step on u_t just before the recurrence; it computes the state of a linear dynamics in
    input space afterwards.
    """

    def __init__(self, dynamics: Dynamics) -> None:
        self.dynamics = dynamics
        self.form = dynamics.form
        self.state_names = dynamics.state_names
        self.latest: Tensor | None = None

    def step(self, u: Tensor, state: State) -> tuple[Tensor, State]:
        self.latest = u
        return self.dynamics.step(u, state)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.dynamics, name)


def record(layer: RecurrentLayer) -> Tape:
    """Make a layer record its next forward passes.

    Args:
        layer: The layer, preferably a copy: it is changed in place to run the reference loop, and cannot be saved.

    Returns:
        An empty tape.
    """
    recurrence, dynamics = layer.recurrence, _RecordedDynamics(layer.dynamics)
    tape = Tape(recurrence)

    def step(d: Tensor, state: State, weight_hh: Tensor, bias_hh: Tensor | None) -> State:
        d = d.view_as(d)
        after = recurrence.step(d, state, weight_hh, bias_hh)
        assert dynamics.latest is not None
        tape.steps.append(Step(dynamics.latest, d, state, after, weight_hh, bias_hh))
        return after

    layer.recurrence = dataclasses.replace(recurrence, step=step)
    layer.dynamics = cast(Dynamics, dynamics)
    layer.backend = "reference"
    return tape
