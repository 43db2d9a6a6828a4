"""The interface of a backend, and its arguments: the parameters of one layer in one direction."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from momentum_cli.dynamics.protocol import Dynamics
from momentum_cli.dynamics.state import State
from momentum_cli.recurrence.protocol import Recurrence


class Weights(NamedTuple):
    """Axes: D input, H hidden, P projected output, G gates * H. Names and layouts of `torch.nn.LSTM`."""

    w_ih: Tensor  # (G, D)
    w_hh: Tensor  # (G, H)
    b_ih: Tensor | None  # (G,)
    b_hh: Tensor | None  # (G,)
    w_hr: Tensor | None = None  # (P, H), projects the output of each step; w_hh is then (G, P)

    def extended(self) -> Tensor:
        """Return ``[w_ih, b_ih]`` (G, D + 1): the projection of an input whose last channel is the constant 1."""
        return self.w_ih if self.b_ih is None else torch.cat((self.w_ih, self.b_ih.unsqueeze(1)), 1)


class Work(NamedTuple):
    """One layer in one direction, without its parameters."""

    recurrence: Recurrence
    dynamics: Dynamics
    hidden_size: int
    device: torch.device
    """Of the input."""
    dtype: torch.dtype
    """Of the input, the states and the parameters; where a CPU kernel multiplies in bfloat16 the latter are float32."""
    projected: bool = False
    """The output of each step is projected, ``proj_size`` of `torch.nn.LSTM`."""


class Backend(Protocol):
    """The interface of a backend: a module with these functions."""

    def supports(self, work: Work) -> str | None:
        """Return None if the backend can run this, else the reason."""
        ...

    def run(
        self,
        recurrence: Recurrence,
        dynamics: Dynamics,
        x: Tensor,
        weights: Weights,
        state: State,
        drive: State | None,
        lengths: Tensor | None,
    ) -> tuple[Tensor, State, State]:
        """Run one layer in one direction.

        Args:
            recurrence: The sequential part.
            dynamics: The filter in front of it.
            x: (T, B, D) input; on the CPU, bfloat16 asks for products and output in bfloat16.
            weights: Parameters of the layer.
            state: Recurrent tensors before the first step, each (B, H); h is (B, P) where the output is projected.
            drive: State of the dynamics before the first step, or None at the start of the sequence. For linear
                dynamics in input space: ``y (B, D + 1)``, whose last channel is the filtered constant 1 for
                the input bias (absent without bias), and ``k (B,)`` if the dynamics has it. Otherwise in gate
                space, (B, G) each.
            lengths: (B,) int64 valid steps on the CPU, or None for T.

        Returns:
            output (T, B, H), 0 beyond the end of each sequence; the recurrent state and the state of the dynamics after
            each sequence's own last step.
        """
        ...
