"""Long short-term memory."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import linear

from momentum_cli.dynamics.state import State
from momentum_cli.recurrence.protocol import Recurrence


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
    return lstm_gates(d + linear(h, weight_hh, bias_hh), c)


def lstm_gates(pre: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``(h', c')`` for the pre-activation i, f, g, o (B, 4H) and the cell (B, H)."""
    i, f, g, o = pre.chunk(4, 1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


LSTM = Recurrence(
    "lstm",
    4,
    ("h", "c"),
    lstm_step,
    "i,f,g,o = d + W_hh h + b_hh; c' = σ(f)c + σ(i)tanh(g); h' = σ(o)tanh(c')",
    forget_gate=1,
    torch_kernel="lstm",
    kernel="lstm",
)
