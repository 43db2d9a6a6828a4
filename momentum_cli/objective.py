"""Loss and metrics of a data set as sums, so that batches, micro-batches and processes add up exactly.

Axes: B batch, T time, O outputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from momentum_cli.data import NOT_SCORED, Dataset

HIGHER_IS_BETTER = {"accuracy": True, "loss": False, "mse": False}


def better(metric: str, new: float, old: float) -> bool:
    """Return whether ``new`` is strictly better than ``old``; a value that is not a number never is."""
    return new > old if HIGHER_IS_BETTER[metric] else new < old


def reaches(metric: str, value: float, target: float) -> bool:
    """Return whether ``value`` is at or past ``target``; a value that is not a number never is."""
    return value >= target if HIGHER_IS_BETTER[metric] else value <= target


@dataclass(frozen=True)
class Objective:
    """What a data set asks of a model.

    Args:
        loss: ``"cross_entropy"`` or ``"mse"``.
        output: ``"last"`` or ``"every"``.
        metric_steps: With output ``"every"``, the steps over which accuracy is taken; None for every scored one.
    """

    loss: str
    output: str
    metric_steps: slice | None = None

    @classmethod
    def of(cls, dataset: Dataset) -> Objective:
        """Return the objective of a data set."""
        return cls(dataset.loss, dataset.output, dataset.metric_steps)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics of an evaluation."""
        return ("loss", "mse") if self.loss == "mse" else ("loss", "accuracy")

    def scored(self, targets: Tensor) -> Tensor:
        """Return how many terms of the loss each sequence has: (B,) int64 for targets (B,) or (B, T)."""
        if targets.dim() == 1:
            return torch.ones(len(targets), dtype=torch.int64)
        return (targets != NOT_SCORED).sum(1)

    def loss_sum(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of the loss over everything scored.

        Args:
            outputs: (B, O) or (B, T, O), in any floating dtype; the loss is computed in float32 or above.
            targets: (B,) classes or values, or (B, T) classes.
        """
        outputs = outputs.float() if outputs.dtype in (torch.bfloat16, torch.float16) else outputs
        if self.loss == "mse":
            return mse_loss(outputs.squeeze(-1), targets.to(outputs.dtype), reduction="sum")
        return cross_entropy(outputs.flatten(0, -2), targets.flatten(), ignore_index=NOT_SCORED, reduction="sum")

    def totals(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return ``[loss sum, loss count, correct, metric count]`` of a batch, float64, on the device of outputs."""
        zero = torch.zeros((), dtype=torch.float64, device=outputs.device)
        loss = self.loss_sum(outputs, targets).double()
        if self.loss == "mse":
            return torch.stack((loss, zero + targets.numel(), zero, zero))
        scored = targets != NOT_SCORED
        count = scored.sum().double()
        right = (outputs.argmax(-1) == targets) & scored
        if self.metric_steps is not None:
            right, scored = right[:, self.metric_steps], scored[:, self.metric_steps]
        return torch.stack((loss, count, right.sum().double(), scored.sum().double()))

    def results(self, totals: Tensor) -> dict[str, float]:
        """Turn summed `totals` into the metrics of an evaluation."""
        loss, count, right, metric_count = totals.tolist()
        mean = loss / count
        return {"loss": mean, "mse": mean} if self.loss == "mse" else {"loss": mean, "accuracy": right / metric_count}
