"""Losses and gradient norms on their way from the device to the host, and the error when they stay not finite."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from momentum_cli.recipe.recipe import Recipe


@dataclass(frozen=True)
class StepResult:
    """Results of one optimizer step.

    Args:
        step: Its number, from 1.
        lr: Learning rate of the first parameter group.
        loss: Mean training loss of the step, over all processes; None as long as it has not been read.
        grad_norm: Norm of the gradient before clipping; None as long as it has not been read.
        overflowed: The gradient was not finite because of the scale of the loss in float16; see
            `momentum_cli.training.precision`.
        stop: Some process asked to stop.
        train_seconds: The scored clock; after a reading all processes agree on it, so that they stop together.
    """

    step: int
    lr: float
    loss: float | None = None
    grad_norm: float | None = None
    overflowed: bool = False
    stop: bool = False
    train_seconds: float = 0.0

    @property
    def skipped(self) -> bool:
        """True if loss or gradient are known not to be finite; the parameters were left alone."""
        return not all(math.isfinite(value) for value in (self.loss, self.grad_norm) if value is not None)


class Readings:
    """The numbers of steps, kept on the device until they are read, all in one transfer."""

    def __init__(self) -> None:
        self._steps: list[tuple[int, float]] = []
        self._losses: list[Tensor] = []
        self._norms: list[Tensor] = []
        self._overflows: list[Tensor] = []

    def add(self, step: int, lr: float, loss: Tensor, grad_norm: Tensor, overflowed: Tensor) -> None:
        """Keep the numbers of a step.

        Args:
            step: Its number.
            lr: Its learning rate.
            loss, grad_norm: 0-d, floating point, on the device; the same dtypes in all steps.
            overflowed: 0-d bool.
        """
        self._steps.append((step, lr))
        self._losses.append(loss)
        self._norms.append(grad_norm)
        self._overflows.append(overflowed)

    def read(self) -> list[StepResult]:
        """Wait for the device and return the steps since the last reading, in order."""
        if not self._steps:
            return []
        columns = (self._losses, self._norms, self._overflows)
        values = torch.stack([torch.stack(column).to(self._losses[0]) for column in columns]).tolist()
        results = [
            StepResult(step, lr, loss, norm, bool(overflowed))
            for (step, lr), loss, norm, overflowed in zip(self._steps, *values, strict=True)
        ]
        for numbers in (self._steps, *columns):
            numbers.clear()
        return results


def diverged(result: StepResult, in_a_row: int, recipe: Recipe) -> str:
    """Return the message for a run that ends because too many steps in a row were not finite.

    Args:
        result: The last one of them.
        in_a_row: Their number.
        recipe: Recipe of the run; the message names changes against divergence that it does not have yet.
    """
    changes = [f"optimizer.lr={recipe.optimizer.lr / 10:g}"]
    if recipe.train.clip_grad_norm is None:
        changes.append("train.clip_grad_norm=1.0")
    eps = recipe.cells.get(recipe.model.cell, {}).get("eps")
    if eps is not None:
        changes.append(f"cells.{recipe.model.cell}.eps={10 * eps:g}")
    times = f" {in_a_row} steps in a row" if in_a_row > 1 else ""
    return (
        f"step {result.step}: loss {result.loss}, gradient norm {result.grad_norm}: not finite{times} (learning rate "
        f"{result.lr:g}); try {' or '.join(changes)}"
    )
