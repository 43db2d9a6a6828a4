"""One layer in one direction as ONNX nodes, and its state."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from momentum_cli.dynamics.filter import Filter
from momentum_cli.formats.onnx.filter import write_filter
from momentum_cli.formats.onnx.scan import write_loop
from momentum_cli.formats.onnx.writer import Writer
from momentum_cli.formats.weights import PlainWeights, plain_weights
from momentum_cli.layers.recurrent import RecurrentLayer

# ONNX operator for each of torch's kernels, the order of its gates and its options. ONNX has LSTM i, o, f, c and GRU
# z, r, h; torch i, f, g, o and r, z, n.
_NODES: dict[str, tuple[str, tuple[int, ...], dict[str, Any]]] = {
    "lstm": ("LSTM", (0, 3, 1, 2), {}),
    # torch multiplies the reset gate after the recurrent product and its bias.
    "gru": ("GRU", (1, 0, 2), {"linear_before_reset": 1}),
    "rnn_tanh": ("RNN", (0,), {"activations": ["Tanh"]}),
    "rnn_relu": ("RNN", (0,), {"activations": ["Relu"]}),
}


def write_direction(
    w: Writer, layer: RecurrentLayer, suffix: str, x: str, index: int, state: dict[str, str]
) -> tuple[str, list[str], list[str]]:
    """Write one layer in one direction.

    Args:
        w: Receives the nodes.
        layer: The layer.
        suffix: End of the names of its parameters, as in `RecurrentLayer.weights`.
        x: (T, B, D).
        index: Index of the layer and direction, in the order of the state.
        state: Name of the graph's input for each of ``layer.state_names``; empty for zeros.

    Returns:
        Names of the output (T, B, H), of the recurrent tensors (B, H) at the end, and of the dynamics' state.
    """
    recurrence, form = layer.recurrence, layer.dynamics.form
    weights = plain_weights(layer, suffix)
    names, places = layer.layout.names, layer.layout.places[index]
    before = [w.take(state[names[tensor]], row) for tensor, row in places] if state else []
    recurrent = len(recurrence.state_names)
    if not isinstance(form, Filter):
        output, after = write_loop(w, layer, weights, x, before)
        return output, after[:recurrent], after[recurrent:]
    drive: list[str] = []
    if not form.is_identity:
        if layer.bias:
            # A channel for the filtered constant 1, whose weight is the input bias.
            shape = w.op("Concat", [w.size(x, 0), w.size(x, 1), w.constant(np.array([1]))], axis=0)
            x = w.op("Concat", [x, w.ones(shape)], axis=2)
        x, drive = write_filter(w, form, x, weights.weight_ih.shape[1], before[recurrent:])
    first = before[:recurrent]
    if recurrence.torch_kernel is None:
        output, end = write_loop(w, layer, weights, x, first)
        return output, end, drive
    node_type, order, options = _NODES[recurrence.torch_kernel]
    inputs = [x, *_node_weights(w, order, weights), ""]
    inputs += [w.op("Unsqueeze", [tensor, w.constant(np.array([0]))]) for tensor in first]
    while inputs[-1] == "":
        inputs.pop()
    results = [w.name(node_type), *(w.name("end") for _ in recurrence.state_names)]
    w.add(node_type, inputs, results, hidden_size=layer.hidden_size, **options)
    output = w.op("Squeeze", [results[0], w.constant(np.array([1]))])
    return output, [w.take(end, 0) for end in results[1:]], drive


def _node_weights(w: Writer, order: tuple[int, ...], weights: PlainWeights) -> list[str]:
    def reordered(tensor: Tensor) -> np.ndarray:
        blocks = tensor.numpy().reshape(len(order), -1, *tensor.shape[1:])
        return blocks[list(order)].reshape(1, *tensor.shape)

    names = [w.constant(reordered(weights.weight_ih)), w.constant(reordered(weights.weight_hh))]
    if weights.bias_ih is None or weights.bias_hh is None:
        return [*names, ""]
    biases = np.concatenate((reordered(weights.bias_ih), reordered(weights.bias_hh)), axis=1)
    return [*names, w.constant(biases)]


def write_state(
    w: Writer, layer: RecurrentLayer, ends: list[list[str]], drives: list[list[str]], outputs: dict[str, str]
) -> None:
    """Write the outputs ``state_out_…``.

    Args:
        w: Receives the nodes.
        layer: The layer with the state.
        ends: Recurrent tensors of each layer and direction.
        drives: State of the dynamics of each layer and direction.
        outputs: Name of the graph's output for each of ``layer.state_names``.
    """
    rows: list[list[str]] = [[] for _ in layer.layout.names]
    for end, drive, places in zip(ends, drives, layer.layout.places, strict=True):
        for name, (tensor, row) in zip([*end, *drive], places, strict=True):
            if row == len(rows[tensor]):
                rows[tensor].append(name)
    for of, tensors in zip(layer.layout.names, rows, strict=True):
        w.stack(tensors, outputs[of])
