"""Recurrences: the sequential part of a cell, which takes a driven input and knows nothing about momentum.

Axes: B batch, H hidden, G gates * H. Definitions, names and gate order are those of `torch.nn` (LSTM i, f, g, o;
GRU r, z, n), so parameters can be exchanged with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import linear

State = tuple[Tensor, ...]
Step = Callable[[Tensor, State, Tensor, Tensor | None], State]


@dataclass(frozen=True)
class Recurrence:
    """One recurrence.

    Args:
        name: Its key in `RECURRENCES`.
        gates: Number of gates; the driven input has G = gates * H channels, ``weight_hh`` is (G, H).
        state_names: One name for each recurrent tensor; the first one is the output (B, H).
        step: ``step(d (B, G), state, weight_hh (G, H), bias_hh (G,) | None) -> next state``.
        equation: The formula, for people.
        state_gates: Channels of each recurrent tensor in multiples of H; 0 is a step number, (B,) int64. None: each
            is (B, H).
    """

    name: str
    gates: int
    state_names: tuple[str, ...]
    step: Step
    equation: str
    state_gates: tuple[int, ...] | None = None

    @property
    def has_forget_gate(self) -> bool:
        """Whether the second gate is the forget gate of an LSTM."""
        return "c" in self.state_names

    def state_sizes(self, hidden_size: int) -> tuple[tuple[int, ...], ...]:
        """Return the shape of each recurrent tensor behind its batch dimension: (channels,), or () of a step number."""
        gates = self.state_gates or (1,) * len(self.state_names)
        return tuple((n * hidden_size,) if n > 0 else () for n in gates)

    def init(self, x: Tensor, hidden_size: int) -> State:
        """Return the state before the first step: zeros with the batch size, device and dtype of x (B, ·)."""
        return tuple(
            x.new_zeros(x.shape[0], *size, dtype=x.dtype if size else torch.int64)
            for size in self.state_sizes(hidden_size)
        )


def lstm_step(d: Tensor, state: State, weight_hh: Tensor, bias_hh: Tensor | None) -> tuple[Tensor, Tensor]:
    """Advance an LSTM: ``i, f, g, o = d + W_hh h + b_hh``; ``c' = σ(f) c + σ(i) tanh(g)``; ``h' = σ(o) tanh(c')``.

    Args:
        d: (B, 4H) driven input.
        state: ``(h, c)``, each (B, H).
        weight_hh: (4H, H).
        bias_hh: (4H,) or None.

    Returns:
        ``(h', c')``, each (B, H).

    Reference: `torch.nn.LSTM`.
    """
    h, c = state
    i, f, g, o = (d + linear(h, weight_hh, bias_hh)).chunk(4, 1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def gru_step(d: Tensor, state: State, weight_hh: Tensor, bias_hh: Tensor | None) -> tuple[Tensor]:
    """Advance a GRU: ``r, z = σ(d + W_hh h + b_hh)``; ``n = tanh(d_n + r (W_hn h + b_hn))``; ``h' = (1 - z) n + z h``.

    The dynamics has acted on all three projections of the input before the reset gate multiplies the recurrent one.

    Args:
        d: (B, 3H) driven input.
        state: ``(h,)``, (B, H).
        weight_hh: (3H, H).
        bias_hh: (3H,) or None.

    Returns:
        ``(h',)``, (B, H).

    Reference: `torch.nn.GRU`.
    """
    (h,) = state
    d_r, d_z, d_n = d.chunk(3, 1)
    h_r, h_z, h_n = linear(h, weight_hh, bias_hh).chunk(3, 1)
    n = torch.tanh(d_n + torch.sigmoid(d_r + h_r) * h_n)
    return (torch.lerp(n, h, torch.sigmoid(d_z + h_z)),)


def rnn_tanh_step(d: Tensor, state: State, weight_hh: Tensor, bias_hh: Tensor | None) -> tuple[Tensor]:
    """Advance an Elman RNN: ``h' = tanh(d + W_hh h + b_hh)``; d and h (B, H), weight_hh (H, H). As `torch.nn.RNN`."""
    return (torch.tanh(d + linear(state[0], weight_hh, bias_hh)),)


def rnn_relu_step(d: Tensor, state: State, weight_hh: Tensor, bias_hh: Tensor | None) -> tuple[Tensor]:
    """Advance an Elman RNN: ``h' = relu(d + W_hh h + b_hh)``; d and h (B, H), weight_hh (H, H). As `torch.nn.RNN`."""
    return (torch.relu(d + linear(state[0], weight_hh, bias_hh)),)


def modrelu(z: Tensor, bias: Tensor) -> Tensor:
    """Return ``sign(z) relu(|z| + bias)``: z (B, H) keeps its sign, bias (H,) shifts its magnitude.

    Reference: Arjovsky, Shah, Bengio, arXiv 1511.06464 (for complex numbers).
    """
    return torch.sign(z) * torch.relu(torch.abs(z) + bias)


def modrelu_step(d: Tensor, state: State, weight_hh: Tensor, bias_hh: Tensor | None) -> tuple[Tensor]:
    """Advance an orthogonal RNN: ``h' = modReLU(d + W_hh h; b)``.

    Args:
        d: (B, H) driven input.
        state: ``(h,)``, (B, H).
        weight_hh: (H, H); orthogonal in `momentum_cli.OrthogonalRNN`, which the step does not need to know.
        bias_hh: b of modReLU, (H,); None is 0, which makes the step linear.

    Returns:
        ``(h',)``, (B, H).

    Reference: Lezcano-Casado and Martínez-Rubio, arXiv 1901.08428, and the authors' code.
    """
    z = d + linear(state[0], weight_hh)
    return (z if bias_hh is None else modrelu(z, bias_hh),)


RECURRENCES: dict[str, Recurrence] = {
    "lstm": Recurrence(
        "lstm", 4, ("h", "c"), lstm_step, "i,f,g,o = d + W_hh h + b_hh; c' = σ(f)c + σ(i)tanh(g); h' = σ(o)tanh(c')"
    ),
    "gru": Recurrence(
        "gru", 3, ("h",), gru_step, "r,z = σ(d + W_hh h + b_hh); n = tanh(d_n + r(W_hn h + b_hn)); h' = (1-z)n + zh"
    ),
    "rnn": Recurrence("rnn", 1, ("h",), rnn_tanh_step, "h' = tanh(d + W_hh h + b_hh)"),
    "rnn_relu": Recurrence("rnn_relu", 1, ("h",), rnn_relu_step, "h' = relu(d + W_hh h + b_hh)"),
    "modrelu": Recurrence("modrelu", 1, ("h",), modrelu_step, "z = d + B h, B orthogonal; h' = sign(z) relu(|z| + b)"),
}
