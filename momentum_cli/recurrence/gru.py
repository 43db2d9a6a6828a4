"""Gated recurrent unit."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import linear

from momentum_cli.dynamics.state import State
from momentum_cli.recurrence.protocol import Recurrence


def gru_step(d: Tensor, state: State, weight_hh: Tensor, bias_hh: Tensor | None) -> tuple[Tensor]:
    """Advance a GRU: ``r, z = σ(d + W_hh h + b_hh)``; ``n = tanh(d_n + r (W_hn h + b_hn))``; ``h' = (1 - z) n + z h``.

    The dynamics acts on all three input projections, before the reset gate multiplies the recurrent one.

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


GRU = Recurrence(
    "gru",
    3,
    ("h",),
    gru_step,
    "r,z = σ(d + W_hh h + b_hh); n = tanh(d_n + r(W_hn h + b_hn)); h' = (1-z)n + zh",
    torch_kernel="gru",
    kernel="gru",
)
