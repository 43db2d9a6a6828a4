"""The loss of a training on classes: class weights and label smoothing. Evaluations use neither.

Axes: B batch, T time, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from momentum_cli.data import NOT_SCORED, Dataset
from momentum_cli.errors import DataError
from momentum_cli.messages import unknown
from momentum_cli.training.objective import Objective

if TYPE_CHECKING:
    from momentum_cli.recipe.sections import TrainOptions

# Sequences that are counted at a time.
_AT_A_TIME = 1000


@dataclass(frozen=True)
class ClassLoss:
    """Sum of the cross-entropy with weights and smoothing, as `torch.nn.CrossEntropyLoss` defines both.

    Args:
        weights: (C,) > 0, or None for 1 each.
        smoothing: Share of each target that is spread evenly over all classes, in [0, 1).
    """

    weights: Tensor | None
    smoothing: float

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the sum over everything scored; see `Objective.loss_sum`."""
        outputs = outputs.float() if outputs.dtype in (torch.bfloat16, torch.float16) else outputs
        weights = None if self.weights is None else self.weights.to(outputs.dtype)
        return cross_entropy(
            outputs.flatten(0, -2),
            targets.flatten(),
            weights,
            ignore_index=NOT_SCORED,
            reduction="sum",
            label_smoothing=self.smoothing,
        )


def training_loss(
    objective: Objective, options: TrainOptions, dataset: Dataset, device: torch.device
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the summed loss that a recipe trains with: that of the data set unless classes are weighted or smoothed.

    Raises:
        DataError: A weight names a class that the data do not have.
    """
    if options.class_weights is None and options.label_smoothing == 0:
        return objective.loss_sum
    weights = None
    if options.class_weights is not None:
        counts = class_counts(dataset)
        weights = class_weights(options.class_weights, counts, dataset.labels).to(device)
    return ClassLoss(weights, options.label_smoothing)


def class_counts(dataset: Dataset) -> Tensor:
    """Return how often each class is a scored target of the training split, (C,) int64."""
    known = dataset.train.class_counts
    if known is not None:
        return known
    counts = torch.zeros(dataset.output_size, dtype=torch.int64)
    for group in dataset.train.evaluation_groups(_AT_A_TIME):
        targets = dataset.train.batch(group).targets.flatten().cpu()
        counts += torch.bincount(targets[targets != NOT_SCORED], minlength=len(counts))
    return counts


def class_weights(given: str | dict[str, float], counts: Tensor, labels: tuple[str, ...] | None) -> Tensor:
    """Return weights whose mean over the training targets is 1, so that a learning rate keeps its meaning; (C,).

    Args:
        given: ``"balanced"``: in inverse proportion to the counts; or the weight of each class by its label, 1 where
            one is left out.
        counts: (C,) int64, targets of each class.
        labels: Names of the classes; None: their numbers.

    Raises:
        DataError: A label is not the name of a class.
    """
    names = [str(number) for number in range(len(counts))] if labels is None else list(labels)
    if isinstance(given, str):
        raw = 1.0 / counts.double().clamp(min=1)
    else:
        for name in given:
            if str(name) not in names:
                raise DataError(f"train.class_weights: {unknown('class', str(name), names)}")
        by_name = {str(name): value for name, value in given.items()}
        raw = torch.tensor([by_name.get(name, 1.0) for name in names], dtype=torch.float64)
    return raw * counts.sum() / (raw * counts).sum()
