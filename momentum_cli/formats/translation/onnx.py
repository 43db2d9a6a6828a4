"""The encoder and a step of the decoder as ONNX.

Axes: B batch, S tokens of a source, E embedding, H hidden, L layers, M memory, R readout, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from momentum_cli.errors import DataError, RecipeError
from momentum_cli.formats.onnx.format import missing
from momentum_cli.models.translation.model import TranslationModel
from momentum_cli.models.translation.search import Tensors


def write(model: TranslationModel) -> tuple[bytes, bytes]:
    """Return the files of the encoder and of the step.

    Raises:
        RecipeError: onnx is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise RecipeError(missing("onnx")) from error
    found = []
    for build in (_encoder, _step):
        proto = build(model)
        onnx.checker.check_model(proto, full_check=True)
        found.append(proto.SerializeToString())
    return found[0], found[1]


def load(encoder: bytes, step: bytes, states: list[str]) -> tuple[Any, Any]:
    """Return both as functions of tensors, see `momentum_cli.formats.translation.package.TranslationProgram`.

    Raises:
        DataError: One cannot be run.
        RecipeError: onnxruntime is not installed.
    """
    first, second = (_session(content) for content in (encoder, step))

    def encode(source: Tensor) -> Tensors:
        return tuple(map(torch.from_numpy, first.run(None, {"source": source.numpy()})))

    def advance(tokens: Tensor, context: Tensors, state: Tensors) -> tuple[Tensor, Tensors]:
        feed = dict(zip(("tokens", "values", "keys", "there"), (tokens, *context), strict=True))
        feed |= {f"state_in_{name}": tensor for name, tensor in zip(states, state, strict=True)}
        named = {name: np.ascontiguousarray(tensor.numpy()) for name, tensor in feed.items()}
        logits, *after = map(torch.from_numpy, second.run(None, named))
        return logits, tuple(after)

    return encode, advance


def _session(content: bytes) -> Any:
    try:
        import onnxruntime  # type: ignore[import-untyped]
    except ImportError as error:
        raise RecipeError(missing("onnxruntime")) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own classes, one for each status code
        first = str(error).strip().splitlines()[0]
        raise DataError(f"the program is not one that ONNX Runtime can run ({first}); export it again") from error


def _encoder(model: TranslationModel) -> Any:
    """Return the graph from ``source`` (B, S) to ``values``, ``keys`` and ``start``."""
    from onnx import TensorProto

    from momentum_cli.formats.onnx.sequence import write_layer
    from momentum_cli.formats.onnx.writer import Writer

    w = Writer()
    memory, hidden = model.key.in_features, model.key.out_features
    x = _embedded(w, model.source_embedding.weight, w.op("Transpose", ["source"], perm=[1, 0]))
    outputs, ends, _ = write_layer(w, model.encoder, x, {})
    w.op("Transpose", [outputs], outputs=["values"], perm=[1, 0, 2])
    w.op("MatMul", ["values", _matrix(w, model.key.weight)], outputs=["keys"])
    last = [end[0] for end in ends[-model.encoder.num_directions :]]
    both = last[0] if len(last) == 1 else w.op("Concat", last, axis=1)
    begin = w.op("Tanh", [_linear(w, both, model.start.weight, model.start.bias)])
    shaped = w.reshape(begin, w.size("source", 0), model.layer.num_layers, hidden)
    w.op("Transpose", [shaped], outputs=["start"], perm=[1, 0, 2])
    results = [
        ("values", TensorProto.FLOAT, ["batch", "steps", memory]),
        ("keys", TensorProto.FLOAT, ["batch", "steps", hidden]),
        ("start", TensorProto.FLOAT, [model.layer.num_layers, "batch", hidden]),
    ]
    return _made(w, [("source", TensorProto.INT64, ["batch", "steps"])], results)


def _step(model: TranslationModel) -> Any:
    """Return the graph from ``tokens`` (B,), the memory and ``state_in_…`` to ``logits`` (B, V) and ``state_out_…``."""
    from onnx import TensorProto

    from momentum_cli.formats.onnx.direction import write_state
    from momentum_cli.formats.onnx.sequence import write_layer
    from momentum_cli.formats.onnx.writer import Writer

    w = Writer()
    memory, hidden = model.key.in_features, model.key.out_features
    states = dict(zip(model.state_names, model.zero_state(1), strict=True))
    x = w.op("Unsqueeze", [_embedded(w, model.target_embedding.weight, "tokens"), w.constant(np.array([0]))])
    if model.input_feeding:
        x = w.op("Concat", [x, "state_in_readout"], axis=2)
    own = model.layer.state_names
    steps, ends, drives = write_layer(w, model.layer, x, {name: f"state_in_{name}" for name in own})
    write_state(w, model.layer, ends, drives, {name: f"state_out_{name}" for name in own})
    query = w.op("Transpose", [steps], perm=[1, 0, 2])  # (B, 1, H)
    scores = w.op("MatMul", [query, w.op("Transpose", ["keys"], perm=[0, 2, 1])])
    there = w.op("Unsqueeze", ["there", w.constant(np.array([1]))])
    shares = w.op("Softmax", [w.op("Where", [there, scores, w.scalar(-np.inf)])], axis=2)
    context = w.op("MatMul", [shares, "values"])
    both = w.op("Concat", [context, query], axis=2)
    read = w.op("Tanh", [w.op("MatMul", [both, _matrix(w, model.readout.weight)])])
    flat = w.op("Squeeze", [read, w.constant(np.array([1]))])
    product = w.op("MatMul", [flat, _matrix(w, model.head.weight)])
    w.op("Add", [product, w.constant(model.head.bias.detach().numpy())], outputs=["logits"])
    if model.input_feeding:
        w.op("Transpose", [read], outputs=["state_out_readout"], perm=[1, 0, 2])
    values: list[tuple[str, int, list[Any]]] = [
        ("tokens", TensorProto.INT64, ["batch"]),
        ("values", TensorProto.FLOAT, ["batch", "steps", memory]),
        ("keys", TensorProto.FLOAT, ["batch", "steps", hidden]),
        ("there", TensorProto.BOOL, ["batch", "steps"]),
    ]
    results: list[tuple[str, int, list[Any]]] = [("logits", TensorProto.FLOAT, ["batch", model.output_size])]
    for name, tensor in states.items():
        kind = TensorProto.INT64 if tensor.dtype == torch.int64 else TensorProto.FLOAT
        shape = [tensor.shape[0], "batch", *tensor.shape[2:]]
        values.append((f"state_in_{name}", kind, shape))
        results.append((f"state_out_{name}", kind, shape))
    return _made(w, values, results)


def _embedded(w: Any, table: Tensor, tokens: str) -> str:
    found = w.op("Gather", [w.constant(table.detach().numpy()), tokens], axis=0)
    return str(w.op("Mul", [found, w.scalar(table.shape[1] ** 0.5)]))


def _matrix(w: Any, weight: Tensor) -> str:
    return str(w.constant(np.ascontiguousarray(weight.detach().numpy().T)))


def _linear(w: Any, x: str, weight: Tensor, bias: Tensor) -> str:
    return str(w.op("Add", [w.op("MatMul", [x, _matrix(w, weight)]), w.constant(bias.detach().numpy())]))


def _made(w: Any, inputs: list[Any], outputs: list[Any]) -> Any:
    from onnx import helper

    from momentum_cli.formats.onnx.graph import finished

    described = [[helper.make_tensor_value_info(*entry) for entry in entries] for entries in (inputs, outputs)]
    return finished(w, *described)
