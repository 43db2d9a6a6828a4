"""The loss of a batch as a module, which Fabric wraps."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from momentum_cli.data import Batch
from momentum_cli.dynamics.state import State
from momentum_cli.models.model import LossSum, Model, TrainingLoss


class BatchLoss(nn.Module):
    """The loss of a batch as a forward pass, which Fabric wraps for mixed precision and the exchange of gradients.

    Args:
        model: The model in training.
        loss_sum: The summed loss of the data set.
    """

    def __init__(self, model: Model, loss_sum: LossSum) -> None:
        super().__init__()
        self.model = model
        self.loss_sum = loss_sum

    def forward(
        self, inputs: Tensor, lengths: Tensor | None, state: State | None, targets: Callable[[], Tensor]
    ) -> TrainingLoss:
        return self.model.training_loss(Batch(inputs, targets(), lengths), state, self.loss_sum)
