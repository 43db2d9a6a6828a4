"""Inputs of a model: sequences of numbers, or of tokens.

Axes: B batch, T time, D channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Inputs(Protocol):
    """The interface of both: the inputs as described in an exported file, and examples of them."""

    @property
    def dtype(self) -> str:
        """Name of the dtype."""

    @property
    def shape(self) -> list[int | str]:
        """Size of each dimension: a number, or a name if it is free."""

    def zeros(self, batch: int, steps: int) -> Tensor:
        """Return an input of zeros."""

    def random(self, batch: int, steps: int, generator: torch.Generator) -> Tensor:
        """Return uniformly distributed values."""


@dataclass(frozen=True)
class Numbers:
    """Sequences of numbers (B, T, D) float32; random ones are in [0, 1).

    Args:
        channels: D.
    """

    channels: int
    dtype: str = "float32"

    @property
    def shape(self) -> list[int | str]:
        """``[batch, time, D]``."""
        return ["batch", "time", self.channels]

    def zeros(self, batch: int, steps: int) -> Tensor:
        """Return zeros."""
        return torch.zeros(batch, steps, self.channels)

    def random(self, batch: int, steps: int, generator: torch.Generator) -> Tensor:
        """Return numbers in [0, 1)."""
        return torch.rand(batch, steps, self.channels, generator=generator)


@dataclass(frozen=True)
class Tokens:
    """Sequences of tokens (B, T) int64.

    Args:
        count: Number of different tokens, which are numbered from 0.
    """

    count: int
    dtype: str = "int64"

    @property
    def shape(self) -> list[int | str]:
        """``[batch, time]``."""
        return ["batch", "time"]

    def zeros(self, batch: int, steps: int) -> Tensor:
        """Return the first token everywhere."""
        return torch.zeros(batch, steps, dtype=torch.int64)

    def random(self, batch: int, steps: int, generator: torch.Generator) -> Tensor:
        """Return uniformly drawn tokens."""
        return torch.randint(self.count, (batch, steps), generator=generator)
