"""Dynamics with options of their own, and reproducible random tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from momentum_cli import Adam, HeavyBall, Identity, Nesterov, RMSProp, ScheduledRestart
from momentum_cli.dynamics.protocol import Dynamics

DYNAMIC: dict[str, Dynamics] = {
    "identity": Identity(),
    "momentum": HeavyBall(0.6, 0.9),
    "nesterov": Nesterov(0.7),
    "sr": ScheduledRestart(0.9, 4),
    "rmsprop": RMSProp(0.3, 0.8, 1e-6),
    "adam": Adam(0.6, 0.2, 0.9, 1e-6),
}


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))
