"""Floating-point operations of a model: only those of matrix products with weights.

Activations, the dynamics, the loss and the optimizer are not counted: they take a few operations per unit, whereas a
product with W_hh takes 2 G. Nor are additional products of a backend, such as the blocks of a scan.

Axes: T time, B batch, D input, H hidden, G gates * H, O outputs.
"""

from __future__ import annotations

from momentum_cli.models.sequence import SequenceModel


def forward_operations(model: SequenceModel) -> int:
    """Return the operations of the layer for one time step of one sequence.

    ``Σ 2 G (D + H)`` over layers and directions, D the input size of each: a multiplication and an addition per weight.
    """
    return sum(2 * (ours + theirs) for ours, theirs in _weights(model))


def head_operations(model: SequenceModel) -> int:
    """Return the operations of the head per output: ``2 H O``."""
    return 2 * model.head.in_features * model.head.out_features


def training_operations(model: SequenceModel, length: int, batch: int) -> int:
    """Return the operations of a training step, forward and backward.

    In the backward pass each product becomes two: for the gradient of its input and for that of its weight. The model's
    input needs no gradient, so the first layer has only the second one for W_ih.

    Args:
        model: The model.
        length: T.
        batch: B.
    """
    layer = model.layer
    steps = length * batch
    outputs = steps if model.output == "every" else batch
    spared = sum(2 * ours for ours, _ in _weights(model)[: layer.num_directions])
    return steps * (3 * forward_operations(model) - spared) + outputs * 3 * head_operations(model)


def _weights(model: SequenceModel) -> list[tuple[int, int]]:
    """Return the number of elements of W_ih and W_hh of each layer and direction."""
    layer = model.layer
    gates = layer.recurrence.gates * layer.hidden_size
    inputs = [layer.input_size] + [layer.hidden_size * layer.num_directions] * (layer.num_layers - 1)
    return [(gates * size, gates * layer.hidden_size) for size in inputs for _ in range(layer.num_directions)]
