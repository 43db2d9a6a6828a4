"""The worst answers of a model within a ball of its inputs, as evaluations judge them.

Axes: B batch, T time, D channels, O outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from momentum_cli.attacks import Attack, Ball
from momentum_cli.attacks.attack import Call
from momentum_cli.data import Batch
from momentum_cli.data.batching import stream
from momentum_cli.training.objective import Objective, Scores


def worst_outputs(
    model: Call, attack: Attack, ball: Ball, batch: Batch, index: Tensor, objective: Objective, restarts: int = 1
) -> Tensor:
    """Return the worst answers that an attack finds, those to the unchanged inputs included.

    An answer is worse if more of its classes are wrong or, with equally many wrong, if its loss is larger. The random
    starts depend on the sequence and the restart alone, not on the batch. An attack of one step starts at the inputs.

    Args:
        model: From inputs to outputs, without dropout.
        attack: The attack.
        ball: Inputs that it may choose from, around those of the batch.
        batch: Inputs and targets.
        index: (B,) places of its sequences in the split.
        objective: Objective of the data set, whose loss is raised.
        restarts: Number of starts, >= 1.

    Returns:
        (B, O) or (B, T, O).
    """
    worst = model(batch.inputs)
    for restart in range(restarts):
        start = _start(batch, index, restart) if attack.iterated else torch.zeros_like(batch.inputs)
        found = model(attack(model, batch.targets, objective.loss_sum, ball, start))
        worse = _worse(objective, found, worst, batch.targets)
        worst = torch.where(worse.view(-1, *[1] * (worst.ndim - 1)), found, worst)
    return worst


def _start(batch: Batch, index: Tensor, restart: int) -> Tensor:
    """Return uniform numbers in [-1, 1) for each sequence, the shape of the inputs; 0 in padding."""
    steps, channels = batch.inputs.shape[1:]
    lengths = [steps] * len(index) if batch.lengths is None else batch.lengths.tolist()
    found = torch.zeros(batch.inputs.shape)
    for row, (place, length) in enumerate(zip(index.tolist(), lengths, strict=True)):
        found[row, :length] = torch.rand(length, channels, generator=stream("attack", place, restart))
        found[row, :length].mul_(2).sub_(1)
    return found.to(batch.inputs.device)


def _worse(objective: Objective, found: Tensor, other: Tensor, targets: Tensor) -> Tensor:
    """Return a mask of the answers that are worse than the others, (B,) bool."""
    if objective.loss != "cross_entropy":
        return objective.losses(found, targets) > objective.losses(other, targets)
    mistakes, others = (_mistakes(objective, outputs, targets) for outputs in (found, other))
    larger = objective.losses(found, targets) > objective.losses(other, targets)
    return (mistakes > others) | ((mistakes == others) & larger)


def _mistakes(objective: Objective, outputs: Tensor, targets: Tensor) -> Tensor:
    scores = Scores(objective, outputs, targets)
    return (scores.judged & ~scores.correct).reshape(len(targets), -1).sum(1)
