"""Metrics of any function from inputs to outputs on a split."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from momentum_cli.data import Dataset, Split
from momentum_cli.objective import Objective
from momentum_cli.ui import Ui


def score(
    call: Callable[[Tensor], Tensor], dataset: Dataset, split: Split, ui: Ui, batch_size: int = 1000
) -> dict[str, float]:
    """Return the metrics of a function on a split.

    Args:
        call: Takes inputs (B, T, D) and returns outputs.
        dataset: For loss and metric.
        split: What to evaluate on.
        ui: Told about progress.
        batch_size: Sequences at a time.
    """
    objective = Objective.of(dataset)
    totals = torch.zeros(4, dtype=torch.float64)
    with torch.no_grad():
        for group in torch.split(torch.arange(len(split)), batch_size):
            batch = split.batch(group)
            totals += objective.totals(call(batch.inputs), batch.targets)
            ui.evaluation_progress(int(group[-1]) + 1, len(split), "test")
    return objective.results(totals)
