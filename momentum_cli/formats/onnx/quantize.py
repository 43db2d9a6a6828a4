"""int8 weights for an ONNX file: dynamic quantization by ONNX Runtime, which rounds activations while it runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from momentum_cli.errors import RecipeError

# Operators that the quantizer leaves in float32, because ONNX Runtime has no int8 kernel for them.
_WITHOUT_INT8 = ("LSTM", "GRU", "RNN")


def quantize(path: Path) -> Any:
    """Return the model of an ONNX file with int8 weights, as an ``onnx.ModelProto``.

    Weights are rounded to one scale per matrix. An LSTM behind a linear dynamics becomes the node
    ``com.microsoft.DynamicQuantizeLSTM``, every other product ``MatMulInteger``; a program that reads the file needs
    ONNX Runtime, or these operators.

    Args:
        path: A file written by `momentum_cli.formats.onnx.format.write`.

    Raises:
        RecipeError: onnxruntime is not installed, or has no int8 kernel for the recurrence.
    """
    import onnx

    from momentum_cli.formats.onnx.format import missing

    try:
        from onnxruntime.quantization import QuantType, quantize_dynamic  # type: ignore[import-untyped]
    except ImportError as error:
        raise RecipeError(missing("onnxruntime")) from error
    rounded = path.with_name(f"{path.stem}-int8{path.suffix}")
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it advises to preprocess the file, which would fold what depends on free sizes
    try:
        # The weights of a Scan are in the graph around its body.
        quantize_dynamic(path, rounded, weight_type=QuantType.QInt8, extra_options={"EnableSubgraph": True})
        proto = onnx.load(rounded)
    finally:
        logging.disable(before)
        rounded.unlink(missing_ok=True)
    left = sorted({node.op_type for node in _nodes(proto.graph)} & set(_WITHOUT_INT8))
    if left:
        raise RecipeError(
            f"--quantize int8: ONNX Runtime has no int8 kernel for {' and '.join(left)}; it has them for LSTM and "
            "orthogonal layers, and where the dynamics is adam or rmsprop; export this model without --quantize"
        )
    return proto


def _nodes(graph: Any) -> Iterator[Any]:
    """Yield the nodes of a graph and of the bodies of its loops."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)
