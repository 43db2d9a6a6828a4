"""The loop of an evaluation, for a model in training, an exported program or a naive predictor."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from momentum_cli.data import Batch, Dataset, Naive, Sequences
from momentum_cli.metrics import METRICS
from momentum_cli.models.model import Answered
from momentum_cli.training.objective import Objective
from momentum_cli.training.tally import Tally

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Answer = Callable[[Batch, Tensor, Any], Answered]
"""From a batch, its index, and the state after the batch before or None, to what a model says to it."""
Watch = Callable[[int, int, str], None]
"""Called with the number of sequences done, their total, and the split."""


def unwatched(done: int, total: int, split: str) -> None:
    """Show nothing."""


def tally(
    answer: Answer,
    data: Sequences,
    objective: Objective,
    *,
    size: int,
    device: torch.device | str = "cpu",
    keep: bool = False,
    calibrating: bool = False,
    split: str = "test",
    on_progress: Watch = unwatched,
    fabric: Fabric | None = None,
) -> Tally:
    """Evaluate a split.

    Args:
        answer: Function that answers a batch: the model.
        data: The split, with batches on `device`.
        objective: Objective of the data set.
        size: Sequences at a time, >= 1.
        device: Device of the outputs.
        keep: As for `Tally`.
        calibrating: As for `Tally`.
        split: Its name, for `on_progress`.
        on_progress: Called after each batch.
        fabric: Its processes share the batches; None: there is only one process.
    """
    rank, world = (0, 1) if fabric is None else (fabric.global_rank, fabric.world_size)
    found = Tally(objective, device, keep=keep, calibrating=calibrating)
    state: Any = None
    done = 0
    with torch.no_grad():
        for group in data.evaluation_groups(size * world):
            mine = group[rank::world]
            if len(mine):
                batch = data.batch(mine)
                outputs, after, written, attacked = answer(batch, mine, state)
                state = after if data.carried else None
                if mine.ndim > 1:
                    found.add_windows(outputs, batch.targets, mine)
                else:
                    texts = objective.spelled(written)
                    given = batch.units, batch.naive_errors, texts, batch.references
                    found.add(outputs, batch.targets, mine, *given, attacked)
            done = min(done + group.numel(), len(data))
            on_progress(done, len(data), split)
    if fabric is not None:
        found.share(fabric)
    return found


def baselines(dataset: Dataset, data: Sequences, size: int, device: torch.device | str = "cpu") -> list[dict[str, Any]]:
    """Return the metrics of the naive predictors of a data set on a split, the best by the headline metric first.

    Args:
        dataset: The data set, with the metrics of the run.
        data: The split, with batches on `device`.
        size: Sequences at a time, >= 1.
        device: Device of the batches.

    Returns:
        ``name`` and ``metrics`` of each.
    """
    objective = Objective.of(dataset)
    found: list[dict[str, Any]] = []
    for naive in dataset.naive:
        counted = tally(naive_answer(naive, data), data, objective, size=size, device=device)
        found.append({"name": naive.name, "metrics": counted.metrics()})
    sign = -1.0 if METRICS[dataset.metric].higher_is_better else 1.0
    values = [sign * one["metrics"][dataset.metric] for one in found]
    # A predictor whose metric is undefined comes last.
    order = sorted(range(len(found)), key=lambda number: (math.isnan(values[number]), values[number]))
    return [found[number] for number in order]


def naive_answer(naive: Naive, data: Sequences) -> Answer:
    """Return the answers of a naive predictor on a split."""

    def answer(batch: Batch, index: Tensor, state: Any) -> Answered:
        outputs = naive.outputs(data, index, batch)
        # Those of classes do not look at the inputs, so that no attack changes their answer.
        return Answered(outputs, None, attacked=outputs)

    return answer
