"""The recurrence of an orthogonal RNN, with modReLU."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import linear

from momentum_cli.dynamics.state import State
from momentum_cli.recurrence.protocol import Recurrence


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
        weight_hh: (H, H); orthogonal in `momentum_cli.OrthogonalRNN`, though the step does not rely on it.
        bias_hh: b of modReLU, (H,); None for 0, which makes the step linear.

    Returns:
        ``(h',)``, (B, H).

    Reference: Lezcano-Casado and Martínez-Rubio, arXiv 1901.08428, and the authors' code.
    """
    z = d + linear(state[0], weight_hh)
    return (z if bias_hh is None else modrelu(z, bias_hh),)


MODRELU = Recurrence(
    "modrelu", 1, ("h",), modrelu_step, "z = d + B h, B orthogonal; h' = sign(z) relu(|z| + b)", kernel="modrelu"
)
