"""What decides whether a backend can run a layer."""

from __future__ import annotations

from typing import NamedTuple

import torch

from momentum_cli.dynamics.protocol import Dynamics
from momentum_cli.recurrence.protocol import Recurrence


class Work(NamedTuple):
    """One layer in one direction, without its numbers."""

    recurrence: Recurrence
    dynamics: Dynamics
    hidden_size: int
    device: torch.device
    """Where the input is."""
    dtype: torch.dtype
    """Of the computation."""
