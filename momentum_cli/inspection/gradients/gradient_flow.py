"""Norms of the gradient of a loss at each time step, with respect to the state, the driven input, the projection
and the input.

Axes: T time, B batch, D input, H hidden, G gates * H.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from momentum_cli.data import Batch
from momentum_cli.dynamics.ragged import reverse
from momentum_cli.inspection.gradients.passes import Pass, sequence_pass
from momentum_cli.inspection.gradients.tape import Tape, record
from momentum_cli.models.model import Model
from momentum_cli.training.objective import Objective


@dataclass(frozen=True)
class LayerFlow:
    """Gradient norms of one layer in one direction.

    Args:
        layer: Index of the layer, from 0.
        direction: ``"forward"`` or ``"reverse"``.
        norms: Name of the quantity -> (T, B) float64 Euclidean norms: the tensors of the recurrent state (``h``, for
            an LSTM also ``c``), ``d`` and ``u``.
    """

    layer: int
    direction: str
    norms: dict[str, Tensor]


@dataclass(frozen=True)
class GradientFlow:
    """Gradient norms of a model on one batch.

    Args:
        layers: One entry per layer and direction, in the order of the state.
        x: (T, B) float64 norms of the gradient with respect to the model's input.
        loss: Mean loss of the batch.
        tape: The recorded forward pass.
    """

    layers: tuple[LayerFlow, ...]
    x: Tensor
    loss: float
    tape: Tape

    def first(self) -> dict[str, Tensor]:
        """Return the norms of the first layer, forward, and of the input, by name."""
        return {**self.layers[0].norms, "x": self.x}


def gradient_flow(
    model: Model, batch: Batch, objective: Objective, begin: Callable[[Model, Batch], Pass] = sequence_pass
) -> GradientFlow:
    """Return the norms of the total derivatives of the loss at every step.

    The loss is the recipe's mean over scored terms, times the number of sequences, so that a sequence's gradient does
    not depend on its batch. Everything is computed in float64, because a product of hundreds of small factors is below
    the range of float32. Dropout is off.

    Args:
        model: The model, which is not changed.
        batch: Inputs (B, T, D) and targets.
        objective: The objective of the data set.
        begin: Returns the pass of the model, see `momentum_cli.inspection.gradients.passes`.

    Returns:
        The norms and the forward pass.
    """
    model = copy.deepcopy(model).cpu().double().eval()
    made = begin(model, batch)
    layer, inputs = made.layer, made.inputs
    tape = record(layer)
    outputs = made.run()
    mean = objective.loss_sum(outputs, batch.targets) / objective.scored(batch.targets).sum()
    names = tape.recurrence.state_names
    floating = [name for name, tensor in zip(names, tape.steps[0].after, strict=True) if tensor.is_floating_point()]
    quantities = (*floating, "d", "u")
    # A tensor that does not affect the loss, such as the cell of a padded step, has gradient 0.
    wanted = [_tensors(tape, names, quantity) for quantity in quantities]
    found = torch.autograd.grad(
        mean * len(inputs), [inputs, *(t for tensors in wanted for t in tensors)], allow_unused=True
    )
    x = torch.zeros_like(inputs) if found[0] is None else found[0]
    steps = len(tape.steps)
    norms = {
        quantity: torch.stack(
            [
                torch.zeros(len(inputs), dtype=torch.float64) if g is None else _norms(g)
                for g in found[1 + number * steps : 1 + (number + 1) * steps]
            ]
        )
        for number, quantity in enumerate(quantities)
    }
    length = inputs.shape[1]
    layers = []
    for index in range(steps // length):
        number, backward = divmod(index, layer.num_directions)
        rows = slice(index * length, (index + 1) * length)
        own = {name: values[rows] for name, values in norms.items()}
        if backward:  # its first step reads the end of the sequence
            own = {name: reverse(values.unsqueeze(2), batch.lengths).squeeze(2) for name, values in own.items()}
        layers.append(LayerFlow(number, "reverse" if backward else "forward", own))
    return GradientFlow(tuple(layers), _norms(x).T, float(mean.detach()), tape)


def _norms(gradient: Tensor) -> Tensor:
    """Return the norms over the last dimension without underflow of squares: 784 factors of 0.6 give 1e-174."""
    largest = gradient.abs().amax(-1, keepdim=True)
    scale = torch.where(largest > 0, largest, 1.0)
    norms: Tensor = torch.linalg.vector_norm(gradient / scale, dim=-1) * scale.squeeze(-1)
    return norms


def _tensors(tape: Tape, names: tuple[str, ...], quantity: str) -> list[Tensor]:
    if quantity in ("d", "u"):
        return [getattr(step, quantity) for step in tape.steps]
    return [step.after[names.index(quantity)] for step in tape.steps]


def spread(norms: Tensor) -> dict[str, list[float]]:
    """Return the median and the quartiles over the batch at each step.

    Args:
        norms: (T, B).

    Returns:
        ``median``, ``lower``, ``upper``: T numbers each.
    """
    low, middle, high = torch.quantile(norms, torch.tensor([0.25, 0.5, 0.75], dtype=norms.dtype), dim=1)
    return {"median": middle.tolist(), "lower": low.tolist(), "upper": high.tolist()}
