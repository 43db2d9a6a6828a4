"""State of a recurrence over time."""

from __future__ import annotations

from torch import Tensor

State = tuple[Tensor, ...]
"""Tensors that are carried from step to step: of a dynamics, of a recurrence, of a whole layer."""
