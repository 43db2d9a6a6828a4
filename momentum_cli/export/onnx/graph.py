"""The ONNX graph of a model.

A linear dynamics is filtered in blocks of time: one matrix product with the triangular matrix of decay products for all
blocks at once, and a Scan of T / 32 turns that hands the last value of a block to the next. It is exact for any length
and costs a few percent of the ordinary LSTM, GRU or RNN node behind it. Adam, RMSProp and the recurrences that ONNX has
no node for are a Scan over time.

Axes: T time, B batch, C channels, D input, H hidden, G gates * H, N blocks, L steps of a block.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from momentum_cli import __version__
from momentum_cli.export.bundle import Bundle
from momentum_cli.export.onnx.direction import write_direction, write_state
from momentum_cli.export.onnx.language import write_language
from momentum_cli.export.onnx.writer import Writer
from momentum_cli.export.weights import suffixes
from momentum_cli.models.language import LanguageModel
from momentum_cli.models.sequence import SequenceModel

OPSET = 17


def build(model: SequenceModel | LanguageModel, bundle: Bundle) -> onnx.ModelProto:
    """Return the model as ONNX, names and shapes as in the bundle; the batch and time sizes are free."""
    w = Writer()
    if isinstance(model, LanguageModel):
        write_language(w, model, bundle)
    else:
        _write_sequence_model(w, model, bundle)
    read = TensorProto.INT64 if isinstance(model, LanguageModel) else TensorProto.FLOAT
    values = [helper.make_tensor_value_info("inputs", read, bundle.data["inputs"]["shape"])]
    results = [helper.make_tensor_value_info("outputs", TensorProto.FLOAT, bundle.data["outputs"]["shape"])]
    for entry in bundle.data["state"]:
        kind = TensorProto.INT64 if entry["dtype"] == "int64" else TensorProto.FLOAT
        values.append(helper.make_tensor_value_info(entry["input"], kind, entry["shape"]))
        results.append(helper.make_tensor_value_info(entry["output"], kind, entry["shape"]))
    graph = helper.make_graph(w.nodes, "momentumrnn", values, results, w.initializers)
    return helper.make_model(
        graph,
        # The IR version of ONNX 1.12, of the same time as the opset: newer than that, older runtimes refuse the file.
        ir_version=8,
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="momentumrnn",
        producer_version=__version__,
    )


def _write_sequence_model(w: Writer, model: SequenceModel, bundle: Bundle) -> None:
    """Write the nodes from ``inputs`` (B, T, D) to ``outputs`` and, when stateful, ``state_out_…``."""
    layer = model.layer
    state = {entry["name"]: entry["input"] for entry in bundle.data["state"]}
    x = w.op("Transpose", ["inputs"], perm=[1, 0, 2])
    ends: list[list[str]] = []
    drives: list[list[str]] = []
    for number, directions in enumerate(suffixes(layer)):
        outputs = []
        for backward, suffix in enumerate(directions):
            source = w.reverse(x) if backward else x
            index = number * len(directions) + backward
            output, end, drive = write_direction(w, layer, suffix, source, number, index, state)
            outputs.append(w.reverse(output) if backward else output)
            ends.append(end)
            drives.append(drive)
        x = outputs[0] if len(outputs) == 1 else w.op("Concat", outputs, axis=2)
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
