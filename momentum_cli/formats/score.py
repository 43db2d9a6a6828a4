"""Metrics of any function from inputs to outputs on a split."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from momentum_cli.data import Batch, Dataset, Sequences
from momentum_cli.formats.program import Program
from momentum_cli.models.model import Answered
from momentum_cli.progress import Ui
from momentum_cli.training.evaluation import tally
from momentum_cli.training.objective import Objective


def score(
    call: Callable[[Tensor, Tensor | None], Tensor],
    dataset: Dataset,
    split: Sequences,
    ui: Ui,
    batch_size: int = 1000,
    step: Callable[[Tensor, Any], tuple[Tensor, Any]] | None = None,
) -> dict[str, float]:
    """Return the metrics of a function on a split.

    Args:
        call: Takes inputs (B, T, D) and lengths (B,) or None, and returns outputs.
        dataset: For the loss and the metrics.
        split: The split to evaluate.
        ui: Where progress is shown.
        batch_size: Sequences, or parallel streams of a text, at a time.
        step: Takes inputs and the state of the previous call, or None, and returns outputs and state; used if the split
            carries state. Without it each window of a text starts without context.
    """

    def answer(batch: Batch, index: Tensor, state: Any) -> Answered:
        if step is not None and split.carried:
            return Answered(*step(batch.inputs, state))
        return Answered(call(batch.inputs, batch.lengths), None)

    objective = Objective.of(dataset)
    return tally(answer, split, objective, size=batch_size, on_progress=ui.evaluation_progress).metrics()


def program_function(program: Program) -> Callable[[Tensor, Tensor | None], Tensor]:
    """Return a program as a function of inputs (B, T, D) and lengths (B,) or None.

    A program takes no lengths, so sequences of equal length are run together.
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
