"""Models with one recurrent layer and a head as ONNX nodes.

Axes: T time, B batch, D input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from momentum_cli.formats.bundle import Bundle
from momentum_cli.formats.weights import suffixes
from momentum_cli.layers.recurrent import RecurrentLayer
from momentum_cli.models.sequence import SequenceModel

if TYPE_CHECKING:
    from momentum_cli.formats.onnx.writer import Writer


def write_sequence(w: Writer, model: SequenceModel, bundle: Bundle) -> None:
    """Write the nodes from ``inputs`` (B, T, D) to ``outputs`` and, when stateful, ``state_out_…``."""
    from momentum_cli.formats.onnx.direction import write_state

    layer = model.layer
    state = {entry["name"]: entry["input"] for entry in bundle.data["state"]}
    x, ends, drives = write_layer(w, layer, w.op("Transpose", ["inputs"], perm=[1, 0, 2]), state)
    if model.output == "every":
        read = w.op("Transpose", [x], perm=[1, 0, 2])
    else:
        last = [end[0] for end in ends[-layer.num_directions :]]
        read = last[0] if len(last) == 1 else w.op("Concat", last, axis=1)
    head = {name: parameter.detach().numpy() for name, parameter in model.head.named_parameters()}
    product = w.op("MatMul", [read, w.constant(np.ascontiguousarray(head["weight"].T))])
    w.op("Add", [product, w.constant(head["bias"])], outputs=["outputs"])
    if bundle.stateful:
        outputs_of = {entry["name"]: entry["output"] for entry in bundle.data["state"]}
        write_state(w, layer, ends, drives, outputs_of)


def write_layer(
    w: Writer, layer: RecurrentLayer, x: str, state: dict[str, str]
) -> tuple[str, list[list[str]], list[list[str]]]:
    """Write a layer with all its directions.

    Args:
        w: Receives the nodes.
        layer: The layer.
        x: (T, B, D).
        state: Name of the graph's input for each of ``layer.state_names``; empty for zeros.

    Returns:
        Names of the output (T, B, directions * H), and of the recurrent tensors and the state of the dynamics at the
        end of each layer and direction.
    """
    from momentum_cli.formats.onnx.direction import write_direction

    ends: list[list[str]] = []
    drives: list[list[str]] = []
    for number, directions in enumerate(suffixes(layer)):
        outputs = []
        for backward, suffix in enumerate(directions):
            source = w.reverse(x) if backward else x
            index = number * len(directions) + backward
            output, end, drive = write_direction(w, layer, suffix, source, index, state)
            outputs.append(w.reverse(output) if backward else output)
            ends.append(end)
            drives.append(drive)
        x = outputs[0] if len(outputs) == 1 else w.op("Concat", outputs, axis=2)
    return x, ends, drives
