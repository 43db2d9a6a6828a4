"""Naive predictors, which learn at most a constant; the margin of a model over them shows what it has learned.

Axes: B batch, T time, O outputs, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from momentum_cli.data.dataset import Batch, Sequences

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Constant:
    """Predicts the same for every sequence.

    Args:
        name: Such as ``"majority class"``.
        value: (O,), or (T, O) where each step has its own prediction.
        every: Predict at every step, not only at the last one.
    """

    name: str
    value: Tensor
    every: bool = False

    def outputs(self, split: Sequences, index: Tensor, batch: Batch) -> Tensor:
        """Return (B, O), or (B, T, O) with `every`."""
        value = self.value.to(batch.targets.device)
        rows, size = len(batch.targets), value.shape[-1]
        if not self.every:
            return value.expand(rows, size)
        return value.expand(rows, batch.inputs.shape[1], size)


@dataclass(frozen=True)
class InputAgain:
    """Predicts the input of each step, as if the next one were equal to it."""

    name: str = "last value"

    def outputs(self, split: Sequences, index: Tensor, batch: Batch) -> Tensor:
        """Return the inputs, (B, T, O)."""
        return batch.inputs


def shares(name: str, classes: Tensor, count: int, *, every: bool = False) -> Constant:
    """Return the predictor that gives each class the share that it has in training.

    Args:
        name: Its name in results.
        classes: int64 classes of the training data, in any shape; negative ones do not count.
        count: C.
        every: As for `Constant`.
    """
    known = classes.flatten()
    return of_counts(name, known[known >= 0].bincount(minlength=count), every=every)


def of_counts(name: str, counts: Tensor, *, every: bool = False) -> Constant:
    """Return the predictor that gives each class its share, each counted once more: no loss is infinite.

    Args:
        name, every: As for `Constant`.
        counts: (C,) how often each class is in the training data.
    """
    smoothed = counts.double() + 1.0
    return Constant(name, (smoothed / smoothed.sum()).log().float(), every)


def zeros(name: str, size: int, device: torch.device | str = "cpu", *, every: bool = False) -> Constant:
    """Return the predictor of the training mean where targets are scaled to a mean of 0, (O,) of that size."""
    import torch

    return Constant(name, torch.zeros(size, device=device), every)
