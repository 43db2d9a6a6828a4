"""Our own kernels."""

from __future__ import annotations

import torch
from torch import Tensor

from momentum_cli.dynamics import Dynamics
from momentum_cli.kernels.weights import State, Weights
from momentum_cli.recurrence import Recurrence


def supports(recurrence: Recurrence, dynamics: Dynamics, device: torch.device, dtype: torch.dtype) -> str | None:
    """Return None if the kernel can run this, else the reason."""
    return "the kernel was not built"


def worthwhile(
    recurrence: Recurrence, dynamics: Dynamics, shape: tuple[int, int, int], hidden_size: int, training: bool
) -> bool:
    """Return whether the kernel is the faster choice where `native` could serve too."""
    return True


def run(
    recurrence: Recurrence,
    dynamics: Dynamics,
    x: Tensor,
    weights: Weights,
    state: State,
    drive: State | None,
    lengths: Tensor | None,
) -> tuple[Tensor, State, State]:
    """See `momentum_cli.kernels.Backend.run`."""
    raise RuntimeError(supports(recurrence, dynamics, x.device, x.dtype))
