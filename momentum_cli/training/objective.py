"""Loss and metrics of a data set as sums, so that batches, micro-batches and processes add up exactly.

Axes: B batch, T time, O outputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from momentum_cli.data import NOT_SCORED, Dataset, scored_terms
from momentum_cli.metrics import TOKEN_METRICS


@dataclass(frozen=True)
class Objective:
    """What a data set asks of a model.

    Args:
        loss: ``"cross_entropy"`` or ``"mse"``.
        output: ``"last"`` or ``"every"``.
        metric_steps: With output ``"every"``, the steps over which accuracy is taken; None for every scored one.
        target_scale: Size of 1 in the original unit of each of K targets, for mse and mae; None for 1.
        token_metric: One of `TOKEN_METRICS`, in place of accuracy, or None.
    """

    loss: str
    output: str
    metric_steps: slice | None = None
    target_scale: tuple[float, ...] | None = None
    token_metric: str | None = None

    @classmethod
    def of(cls, dataset: Dataset) -> Objective:
        """Return the objective of a data set."""
        token_metric = dataset.metric if dataset.metric in TOKEN_METRICS else None
        return cls(dataset.loss, dataset.output, dataset.metric_steps, dataset.target_scale, token_metric)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics of an evaluation."""
        if self.token_metric is not None:
            return ("loss", self.token_metric)
        return ("loss", "mse", "mae") if self.loss == "mse" else ("loss", "accuracy")

    def scored(self, targets: Tensor) -> Tensor:
        """Return how many terms of the loss each sequence has, (B,) int64; see `momentum_cli.data.scored_terms`."""
        return scored_terms(targets)

    def loss_sum(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of the loss over everything scored.

        Args:
            outputs: (B, O) or (B, T, O), in any floating dtype; the loss is computed in float32 or above.
            targets: As in `momentum_cli.data.Batch`. What is not scored there adds 0 and has the gradient 0, whatever
                the output is.
        """
        outputs = outputs.float() if outputs.dtype in (torch.bfloat16, torch.float16) else outputs
        if self.loss == "mse":
            return mse_loss(*_counted(outputs, targets), reduction="sum")
        return cross_entropy(outputs.flatten(0, -2), targets.flatten(), ignore_index=NOT_SCORED, reduction="sum")

    def totals(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the sums of a batch that `results` turns into metrics, float64, on the device of outputs.

        ``[loss, terms of the loss, correct, scored]`` for classes, ``[loss, terms, squares, absolute values]`` of the
        errors in the original unit for values.
        """
        loss = self.loss_sum(outputs, targets).double()
        if self.loss == "mse":
            predicted, wanted = _counted(outputs, targets)
            count = (~targets.isnan()).sum().double()
            error = predicted.double() - wanted.double()
            if self.target_scale is None:
                return torch.stack((loss, count, loss, error.abs().sum()))
            error = error * error.new_tensor(self.target_scale)
            return torch.stack((loss, count, error.square().sum(), error.abs().sum()))
        scored = targets != NOT_SCORED
        count = scored.sum().double()
        right = (outputs.argmax(-1) == targets) & scored
        if self.metric_steps is not None:
            right, scored = right[:, self.metric_steps], scored[:, self.metric_steps]
        return torch.stack((loss, count, right.sum().double(), scored.sum().double()))

    def results(self, totals: Tensor) -> dict[str, float]:
        """Turn summed `totals` into the metrics of an evaluation."""
        loss, count, third, fourth = totals.tolist()
        if self.loss == "mse":
            return {"loss": loss / count, "mse": third / count, "mae": fourth / count}
        if self.token_metric is not None:
            return {"loss": loss / count, self.token_metric: TOKEN_METRICS[self.token_metric](loss / count)}
        return {"loss": loss / count, "accuracy": third / fourth}


def _counted(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return outputs and targets of one shape, both 0 where the target is NaN."""
    counts = ~targets.isnan()
    # `where` and not a product: what stands in padding may be infinite, and 0 times that is not 0.
    shaped = outputs.reshape(targets.shape)
    return torch.where(counts, shaped, 0.0), torch.where(counts, targets, 0.0).to(outputs.dtype)
