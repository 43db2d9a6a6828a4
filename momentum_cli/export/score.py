"""Metrics of any function from inputs to outputs on a split."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from momentum_cli.data import Dataset, Sequences
from momentum_cli.export.program import Program
from momentum_cli.objective import Objective
from momentum_cli.ui import Ui


def score(
    call: Callable[[Tensor, Tensor | None], Tensor], dataset: Dataset, split: Sequences, ui: Ui, batch_size: int = 1000
) -> dict[str, float]:
    """Return the metrics of a function on a split.

    Args:
        call: Takes inputs (B, T, D) and lengths (B,) or None, and returns outputs.
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
            totals += objective.totals(call(batch.inputs, batch.lengths), batch.targets)
            ui.evaluation_progress(int(group[-1]) + 1, len(split), "test")
    return objective.results(totals)


def program_function(program: Program) -> Callable[[Tensor, Tensor | None], Tensor]:
    """Return a program as a function of inputs (B, T, D) and lengths (B,) or None.

    A program takes whole sequences, so those of one length are run together.
    """

    def call(inputs: Tensor, lengths: Tensor | None) -> Tensor:
        if lengths is None:
            return program.run(inputs)[0]
        outputs: Tensor | None = None
        for length in sorted(set(lengths.tolist())):
            rows = (lengths == length).nonzero().squeeze(1)
            part, _ = program.run(inputs[rows, :length].contiguous())
            every = part.dim() == 3
            if outputs is None:
                outputs = part.new_zeros(len(inputs), *([inputs.shape[1]] if every else []), part.shape[-1])
            if every:
                outputs[rows, :length] = part
            else:
                outputs[rows] = part
        assert outputs is not None
        return outputs

    return call
