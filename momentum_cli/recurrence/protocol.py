"""The interface of a recurrence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from momentum_cli.dynamics.state import State

Step = Callable[[Tensor, State, Tensor, Tensor | None], State]


@dataclass(frozen=True)
class Recurrence:
    """One recurrence.

    Args:
        name: Its key in `RECURRENCES`.
        gates: Number of gates; the driven input has G = gates * H channels, ``weight_hh`` is (G, H).
        state_names: One name for each recurrent tensor; the first one is the output (B, H).
        step: ``step(d (B, G), state, weight_hh (G, H), bias_hh (G,) | None) -> next state``.
        equation: The formula as text.
        state_gates: Channels of each recurrent tensor in multiples of H; 0 for a step number, (B,) int64. None if
            each is (B, H).
        forget_gate: Index of the gate whose bias is the forget bias; None without a forget gate.
        torch_kernel: Name of the function behind `torch.nn` that computes this: ``lstm``, ``gru``, ``rnn_tanh`` or
            ``rnn_relu``; None if torch has none. ONNX has an operator for the same four.
        kernel: Its name in our C++ and Triton kernels; None if they lack it.
    """

    name: str
    gates: int
    state_names: tuple[str, ...]
    step: Step
    equation: str
    state_gates: tuple[int, ...] | None = None
    forget_gate: int | None = None
    torch_kernel: str | None = None
    kernel: str | None = None

    def state_sizes(self, hidden_size: int) -> tuple[tuple[int, ...], ...]:
        """Return the shapes of the recurrent tensors without the batch dimension: (channels,); () for step numbers."""
        gates = self.state_gates or (1,) * len(self.state_names)
        return tuple((n * hidden_size,) if n > 0 else () for n in gates)

    def init(self, x: Tensor, hidden_size: int) -> State:
        """Return the state before the first step: zeros with the batch size, device and dtype of x (B, ·)."""
        return tuple(
            x.new_zeros(x.shape[0], *size, dtype=x.dtype if size else torch.int64)
            for size in self.state_sizes(hidden_size)
        )
