"""Loss and metrics of a data set as sums, so that batches, micro-batches and processes add up exactly.

Axes: B batch, T time, K targets, O outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from momentum_cli.data import NOT_SCORED, Dataset, scored_terms
from momentum_cli.metrics import METRICS


@dataclass(frozen=True)
class Objective:
    """The loss and metrics that a data set asks of a model.

    Args:
        loss: ``"cross_entropy"`` or ``"mse"``.
        output: ``"last"`` or ``"every"``.
        metric_steps: With output ``"every"``, the steps over which accuracy is taken; None for every scored one.
        target_scale: Size of 1 in the original unit of each of K targets, for mse and mae; None for 1.
        metrics: Keys of `momentum_cli.metrics.METRICS`, in the order of a result.
    """

    loss: str
    output: str
    metric_steps: slice | None = None
    target_scale: tuple[float, ...] | None = None
    metrics: tuple[str, ...] = ("loss",)

    @classmethod
    def of(cls, dataset: Dataset) -> Objective:
        """Return the objective of a data set; the loss comes first among its metrics."""
        metrics = dict.fromkeys(("loss", *dataset.metrics))
        return cls(dataset.loss, dataset.output, dataset.metric_steps, dataset.target_scale, tuple(metrics))

    @property
    def sums(self) -> tuple[str, ...]:
        """Names of the sums that the metrics are computed from, keys of `SUMS`."""
        found = [METRICS[name] for name in self.metrics]
        return tuple(dict.fromkeys(name for metric in found for name in (metric.total, metric.count)))

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

    def no_totals(self, device: torch.device | str) -> Tensor:
        """Return the totals of nothing: zeros (S,) to which those of batches are added, one for each of `sums`."""
        return torch.zeros(len(self.sums), dtype=torch.float64, device=device)

    def totals(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the `sums` of a batch, (S,) float64 on the device of outputs; `results` turns them into metrics."""
        scores = Scores(self, outputs, targets)
        return torch.stack([SUMS[name](scores).double() for name in self.sums])

    def results(self, totals: Tensor) -> dict[str, float]:
        """Turn added `totals` into the metrics of an evaluation."""
        sums = dict(zip(self.sums, totals.tolist(), strict=True))
        found = {name: METRICS[name] for name in self.metrics}
        return {name: metric.value(sums[metric.total] / sums[metric.count]) for name, metric in found.items()}


@dataclass(frozen=True)
class Scores:
    """A batch whose outputs are judged; what several sums need is computed once.

    Args:
        objective: Of the data set.
        outputs, targets: As for `Objective.loss_sum`.
    """

    objective: Objective
    outputs: Tensor
    targets: Tensor

    @cached_property
    def loss(self) -> Tensor:
        """Sum of the loss."""
        return self.objective.loss_sum(self.outputs, self.targets)

    @cached_property
    def judged(self) -> Tensor:
        """Whether each class counts in the accuracy, (B,) or (B, T) bool."""
        return self._steps(self.targets != NOT_SCORED)

    @cached_property
    def correct(self) -> Tensor:
        """Whether each class counts and is right, the shape of `judged`."""
        return self._steps(self.outputs.argmax(-1) == self.targets) & self.judged

    @cached_property
    def errors(self) -> Tensor:
        """Errors of the values in their original unit, float64, 0 without a target, in the shape of targets."""
        predicted, wanted = _counted(self.outputs, self.targets)
        error = predicted.double() - wanted.double()
        scale = self.objective.target_scale
        return error if scale is None else error * error.new_tensor(scale)

    @property
    def squares(self) -> Tensor:
        """Sum of the squared errors."""
        same = self.objective.loss == "mse" and self.objective.target_scale is None
        return self.loss if same else self.errors.square().sum()

    def _steps(self, each: Tensor) -> Tensor:
        steps = self.objective.metric_steps
        return each if steps is None else each[:, steps]


SUMS: dict[str, Callable[[Scores], Tensor]] = {
    "loss": lambda scores: scores.loss,
    "terms": lambda scores: scored_terms(scores.targets).sum(),
    "correct": lambda scores: scores.correct.sum(),
    "judged": lambda scores: scores.judged.sum(),
    "squares": lambda scores: scores.squares,
    "magnitudes": lambda scores: scores.errors.abs().sum(),
}


def _counted(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return outputs and targets of one shape, both 0 where the target is NaN."""
    counts = ~targets.isnan()
    # `where` and not a product: padding may be infinite, and 0 times that is not 0.
    shaped = outputs.reshape(targets.shape)
    return torch.where(counts, shaped, 0.0), torch.where(counts, targets, 0.0).to(outputs.dtype)
