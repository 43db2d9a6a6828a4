"""The ONNX graph of a model.

A linear dynamics is filtered in blocks of time: one matrix product with the triangular matrix of decay products for all
blocks at once, and a Scan of T / 32 iterations that carries the last value of a block to the next. It is exact for any
length and costs a few percent of the ordinary LSTM, GRU or RNN node after it. Adam, RMSProp and the recurrences without
an ONNX operator are a Scan over time.

Axes: T time, B batch, C channels, D input, H hidden, G gates * H, N blocks, L steps of a block.
"""

from __future__ import annotations

from typing import Any

import onnx
from onnx import TensorProto, helper

from momentum_cli import __version__
from momentum_cli.formats.bundle import Bundle
from momentum_cli.formats.forms import form_of
from momentum_cli.formats.onnx.writer import Writer
from momentum_cli.models.model import Model

OPSET = 17


def build(model: Model, bundle: Bundle) -> onnx.ModelProto:
    """Return the model as ONNX, with names and shapes as in the bundle and free sizes of batch and time."""
    w = Writer()
    form_of(model).write_onnx(w, model, bundle)
    values = [_value("inputs", bundle.data["inputs"])]
    results = [_value("outputs", bundle.data["outputs"])]
    for entry in bundle.data["state"]:
        values.append(_value(entry["input"], entry))
        results.append(_value(entry["output"], entry))
    return finished(w, values, results)


def finished(w: Writer, values: list[onnx.ValueInfoProto], results: list[onnx.ValueInfoProto]) -> onnx.ModelProto:
    """Return the graph of a writer with its inputs and outputs."""
    graph = helper.make_graph(w.nodes, "momentumrnn", values, results, w.initializers)
    return helper.make_model(
        graph,
        # The IR version of ONNX 1.12, released with the opset; older runtimes refuse files with a newer one.
        ir_version=8,
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="momentumrnn",
        producer_version=__version__,
    )


def _value(name: str, entry: dict[str, Any]) -> onnx.ValueInfoProto:
    """Return an input or an output of the graph, of the type and shape in the bundle."""
    element_type = TensorProto.INT64 if entry["dtype"] == "int64" else TensorProto.FLOAT
    return helper.make_tensor_value_info(name, element_type, entry["shape"])
