"""One layer in one direction as ONNX nodes, and its state."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from momentum_cli.dynamics.heavy_ball import HeavyBall
from momentum_cli.dynamics.identity import Identity
from momentum_cli.export.onnx.filter import filter_sequence
from momentum_cli.export.onnx.scan import driven_recurrence
from momentum_cli.export.onnx.writer import Writer
from momentum_cli.export.weights import PlainWeights, plain_weights
from momentum_cli.layers.recurrent import RecurrentLayer

# ONNX has its own order of gates: LSTM i, o, f, c and GRU z, r, h; torch's are i, f, g, o and r, z, n.
_ORDER = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2), "rnn": (0,), "rnn_relu": (0,)}
_NODES: dict[str, tuple[str, dict[str, Any]]] = {
    "lstm": ("LSTM", {}),
    # torch multiplies the reset gate after the recurrent product and its bias.
    "gru": ("GRU", {"linear_before_reset": 1}),
    "rnn": ("RNN", {"activations": ["Tanh"]}),
    "rnn_relu": ("RNN", {"activations": ["Relu"]}),
}


def write_direction(
    w: Writer, layer: RecurrentLayer, suffix: str, x: str, number: int, index: int, state: dict[str, str]
) -> tuple[str, list[str], list[str]]:
    """Write one layer in one direction.

    Returns:
        Names of the output (T, B, H), of the recurrent tensors (B, H) at the end, and of the dynamics' state.
    """
    dynamics, recurrence = layer.dynamics, layer.recurrence
    weights = plain_weights(layer, suffix)
    first = [w.take(state[name], index) for name in recurrence.state_names] if state else []
    if not dynamics.linear:
        moments = [w.take(state[name], index) for name in dynamics.state_names] if state else []
        return driven_recurrence(w, layer, weights, x, first, moments)
    drive: list[str] = []
    if not isinstance(dynamics, Identity):
        if layer.bias:
            # The filtered constant 1, which carries the input bias.
            shape = w.op("Concat", [w.size(x, 0), w.size(x, 1), w.constant(np.array([1]))], axis=0)
            x = w.op("Concat", [x, w.ones(shape)], axis=2)
        before = w.take(state[f"velocity_l{number}"], 0) if state else None
        count = w.take(state["k"], 0) if state and not isinstance(dynamics, HeavyBall) else None
        x, drive = filter_sequence(w, dynamics, x, weights.weight_ih.shape[1], before, count)
    if recurrence.name not in _NODES:
        output, end, _ = driven_recurrence(w, layer, weights, x, first, [])
        return output, end, drive
    node_type, options = _NODES[recurrence.name]
    inputs = [x, *_node_weights(w, recurrence.name, weights), ""]
    inputs += [w.op("Unsqueeze", [tensor, w.constant(np.array([0]))]) for tensor in first]
    while inputs[-1] == "":
        inputs.pop()
    names = [w.name(node_type), *(w.name("end") for _ in recurrence.state_names)]
    w.add(node_type, inputs, names, hidden_size=layer.hidden_size, **options)
    output = w.op("Squeeze", [names[0], w.constant(np.array([1]))])
    return output, [w.take(end, 0) for end in names[1:]], drive


def _node_weights(w: Writer, recurrence: str, weights: PlainWeights) -> list[str]:
    def reordered(tensor: Tensor) -> np.ndarray:
        blocks = tensor.numpy().reshape(len(_ORDER[recurrence]), -1, *tensor.shape[1:])
        return blocks[list(_ORDER[recurrence])].reshape(1, *tensor.shape)

    names = [w.constant(reordered(weights.weight_ih)), w.constant(reordered(weights.weight_hh))]
    if weights.bias_ih is None or weights.bias_hh is None:
        return [*names, ""]
    biases = np.concatenate((reordered(weights.bias_ih), reordered(weights.bias_hh)), axis=1)
    return [*names, w.constant(biases)]


def write_state(
    w: Writer, layer: RecurrentLayer, ends: list[list[str]], drives: list[list[str]], outputs: dict[str, str]
) -> None:
    """Write the outputs ``state_out_…``: recurrent tensors and moments stacked over layers, one velocity a layer.

    Args:
        w: Takes the nodes.
        layer: Whose state it is.
        ends: Recurrent tensors of each layer and direction.
        drives: State of the dynamics of each layer and direction.
        outputs: Name of the graph's output for each of ``layer.state_names``.
    """
    for position, name in enumerate(layer.recurrence.state_names):
        w.stack([end[position] for end in ends], outputs[name])
    for position, name in enumerate(layer.dynamics.state_names):
        if name == "k":
            w.stack([drives[0][position]], outputs[name])
        elif layer.dynamics.linear:
            for number, drive in enumerate(drives):
                w.stack([drive[position]], outputs[f"{name}_l{number}"])
        else:
            w.stack([drive[position] for drive in drives], outputs[name])
