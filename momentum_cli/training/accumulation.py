"""The gradient of an optimizer step: accumulated over the parts of its group, shared among the processes."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from momentum_cli.data import Batch, Sequences
from momentum_cli.dynamics.state import State
from momentum_cli.models.model import TrainingLoss
from momentum_cli.training.adversary import Adversary
from momentum_cli.training.precision import Scale

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Accumulation:
    """Adds up the gradient of the mean loss over a group of sequences.

    The processes share each part of the group, and every loss is divided by the number of scored terms of the whole
    group, so the gradient is that of one process with the whole group, even if the last group of an epoch does not
    divide evenly.

    Args:
        fabric: Precision and processes.
        model: `momentum_cli.training.batch_loss.BatchLoss`, as Fabric wraps it.
        train: The training split, with batches on the device of the model.
        part_size: Sequences that are in memory at one time, over all processes.
        scale: What the loss is multiplied by before its gradient is taken.
        adversary: Changes the batches; every process gives it the same steps.
    """

    def __init__(
        self, fabric: Fabric, model: Any, train: Sequences, part_size: int, scale: Scale, adversary: Adversary
    ) -> None:
        self._fabric, self._model, self._train, self._scale = fabric, model, train, scale
        self._part_size, self._adversary = part_size, adversary

    def __call__(self, group: Tensor, before: list[State], step: int) -> tuple[Tensor, list[State]]:
        """Add the gradient of a group to that of the parameters.

        Args:
            group: Sequences of all processes; see `momentum_cli.data.batching`.
            before: The state after each part of the group before, or [] at the start.
            step: Optimizer steps before this one.

        Returns:
            The mean loss, 0-d float64, and the state after each part, for the next group; [] where none is carried.
        """
        fabric, rank, world = self._fabric, self._fabric.global_rank, self._fabric.world_size
        count = self._train.scored_in(group)
        parts = self._train.parts(group, self._part_size)
        carried: list[State] = []
        self._adversary.begin(step)
        total = torch.zeros((), dtype=torch.float64, device=fabric.device)
        for number, part in enumerate(parts):
            mine = part[rank::world]
            # A process without a sequence still takes part in the exchange of gradients, with weight 0.
            weight = 1.0 if len(mine) else 0.0
            batch = self._train.batch(mine if len(mine) else part[:1])
            batch = self._adversary.changed(batch, part, rank, world, weight / count)
            waits = world > 1 and number + 1 < len(parts)
            with fabric.no_backward_sync(self._model) if waits else nullcontext():
                summed, penalty, after = self._loss(batch, before[number] if before else None)
                loss = summed * (weight / count)
                whole = loss if penalty is None else loss + penalty * (len(mine) / len(group))
                # Processes average their gradients, and the sum over them is wanted.
                fabric.backward(self._scale.enlarge(whole * world if world > 1 else whole))
            total += loss.detach()
            if self._train.carried:
                carried.append(tuple(tensor.detach() for tensor in after))
        if world > 1:
            total = fabric.all_reduce(total, reduce_op="sum")  # type: ignore[assignment]
        return total, carried

    def _loss(self, batch: Batch, state: State | None) -> TrainingLoss:
        # Targets as a function, because mixed precision rounds every tensor that passes the wrapper.
        loss: TrainingLoss = self._model(batch.inputs, batch.lengths, state, lambda: batch.targets)
        return loss
