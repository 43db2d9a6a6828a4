"""State of a recurrence over time."""

from __future__ import annotations

from torch import Tensor

State = tuple[Tensor, ...]
"""Tensors carried from step to step, by a dynamics, a recurrence or a whole layer."""
