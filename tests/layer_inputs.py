"""Dynamics with options of their own, reproducible random tensors, and the tensors of a state."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from momentum_cli import Adam, HeavyBall, Identity, Nesterov, RecurrentState, RMSProp, ScheduledRestart
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


def flat(state: Any) -> tuple[Tensor, ...]:
    """All tensors of a state, whichever form it has."""
    return tuple(tree_leaves(state))


def as_scripted(state: Any) -> Any:
    """Return the state in the form in which a scripted layer takes it."""
    return (*state.tensors[: state.seen], list(state.more)) if isinstance(state, RecurrentState) else state
