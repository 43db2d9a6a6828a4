"""A filter as ONNX nodes.

Axes: T time, B batch, C channels, N blocks, L steps of a block.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from onnx import TensorProto, helper

from momentum_cli.dynamics.filter import Decay, Filter
from momentum_cli.formats.onnx.function import write_function
from momentum_cli.formats.onnx.writer import Writer

ROWS = 32


class _Factors(NamedTuple):
    """Names of the factors of the filter; with sequences at different steps there is one set per sequence.

    ``v_i = Σ_j products_ij x_j + from_start_i v_before`` within a block, and ``from_start_last`` is the last of those.
    """

    products: str  # (L, L), (N, L, L) or (N, B, L, L), the gain included
    from_start: str  # (1, L, 1), (N, L, 1) or (N, B, L, 1)
    from_start_last: str  # (N, 1) or (N, B, 1)
    by_sequence: bool


def write_filter(w: Writer, form: Filter, x: str, channels: int, before: list[str]) -> tuple[str, list[str]]:
    """Write the filter.

    Args:
        w: Receives the nodes.
        form: The filter; not the identity.
        x: (T, B, C).
        channels: C.
        before: State before the first step; empty for zeros.

    Returns:
        Name of the filtered sequence (T, B, C), and of the state after its last step.
    """
    if form.decay is None:
        return w.op("Mul", [x, w.scalar(form.gain)]), []
    start, count = (before[0] if before else None), (before[1] if before[1:] else None)
    steps, batch = w.size(x, 0), w.size(x, 1)
    rows = w.constant(np.array([ROWS]))
    blocks = w.op("Div", [w.op("Add", [steps, w.constant(np.array([ROWS - 1]))]), rows])
    padding = w.op("Sub", [w.op("Mul", [blocks, rows]), steps])
    pads = w.op("Concat", [w.constant(np.zeros(5, np.int64)[:3]), padding, w.constant(np.zeros(2, np.int64))], axis=0)
    padded = w.op("Pad", [x, pads])
    if callable(form.decay):
        factors = _counted_factors(w, form.gain, form.decay, blocks, count)
    else:
        factors = _constant_factors(w, form.gain, form.decay, blocks)
    if factors.by_sequence:
        x = w.op("Transpose", [w.reshape(padded, -1, ROWS, batch, channels)], perm=[0, 2, 1, 3])  # (N, B, L, C)
        inner = w.op("MatMul", [factors.products, x])
        last = w.op("Squeeze", [w.slice(inner, -1, ROWS, 2), w.constant(np.array([2]))])  # (N, B, C)
    else:
        width = w.op("Mul", [batch, w.constant(np.array([channels]))])
        inner = w.op("MatMul", [factors.products, w.reshape(padded, -1, ROWS, width)])  # (N, L, BC)
        last = w.op("Squeeze", [w.slice(inner, -1, ROWS, 1), w.constant(np.array([1]))])  # (N, BC)
    given = _carry(w, factors, last, start)
    axis = w.constant(np.array([2 if factors.by_sequence else 1]))
    whole = w.op("Add", [inner, w.op("Mul", [factors.from_start, w.op("Unsqueeze", [given, axis])])])
    if factors.by_sequence:
        whole = w.op("Transpose", [whole], perm=[0, 2, 1, 3])
    y = w.slice(w.reshape(whole, -1, batch, channels), 0, steps, 0)
    after = [w.take(y, -1)]
    if callable(form.decay):
        done = w.op("Add", [count, steps]) if count else w.op("Expand", [steps, batch])
        after.append(done)
    return y, after


def _carry(w: Writer, factors: _Factors, last: str, start: str | None) -> str:
    """Return the value before each block, from the last inner values: ``e_n = last_n + f_n e_{n-1}``."""
    body = Writer(w)
    value, factor, inner = (w.name(stem) for stem in ("value", "factor", "inner"))
    following = body.op("Add", [inner, body.op("Mul", [factor, value])])
    given = body.op("Identity", [value])
    graph = helper.make_graph(
        body.nodes, "carry", [body.info(n) for n in (value, factor, inner)], [body.info(n) for n in (following, given)]
    )
    shape = w.op("Shape", [last], start=1)
    first = w.zeros(shape) if start is None else w.op("Reshape", [start, shape])
    outputs = [w.name("carried"), w.name("before")]
    w.add("Scan", [first, factors.from_start_last, last], outputs, body=graph, num_scan_inputs=2)
    return outputs[1]


def _constant_factors(w: Writer, gain: float, decay: float, blocks: str) -> _Factors:
    row = np.arange(ROWS)
    powers = float(decay) ** np.maximum(row[:, None] - row, 0)
    products = np.where(row[:, None] >= row, gain * powers, 0.0)
    from_start = float(decay) ** (row + 1.0)
    last = w.op("Expand", [w.constant(from_start[-1:].astype(np.float32)), w.shape(blocks, 1)])
    return _Factors(
        w.constant(products.astype(np.float32)),
        w.constant(from_start.astype(np.float32).reshape(1, ROWS, 1)),
        last,
        by_sequence=False,
    )


def _counted_factors(w: Writer, gain: float, decay: Decay, blocks: str, count: str | None) -> _Factors:
    """Return the factors of a decay that depends on the step number k.

    They are computed in float64 from the step numbers by a Scan over the rows of a block, ``P_i = decay_i P_{i-1} +
    gain e_i``, with one more column for the value before the block. So the length is not fixed, and decays may be 0.
    """
    total = w.op("Mul", [blocks, w.constant(np.array([ROWS]))])
    limit = w.op("Add", [w.op("Squeeze", [total]), w.scalar(1, np.int64)])
    k = w.op("Range", [w.scalar(1, np.int64), limit, w.scalar(1, np.int64)])  # 1 … N L
    if count is None:
        k = w.reshape(k, -1, ROWS)  # (N, L)
    else:
        k = w.op("Add", [w.reshape(k, -1, 1, ROWS), w.reshape(count, 1, -1, 1)])  # (N, B, L)
    axis = 1 if count is None else 2
    k = w.op("Cast", [k], to=TensorProto.DOUBLE)
    example = torch.arange(1.0, 7.0, dtype=torch.float64).view(2, 3)
    (decays,) = write_function(w, "the decay of the dynamics", lambda k: [decay(k)], [k], [example])
    body = Writer(w)
    above, factor, unit = (w.name(stem) for stem in ("above", "factor", "unit"))
    scaled = body.op("Mul", [body.op("Unsqueeze", [factor, w.constant(np.array([-1]))]), above])
    row = body.op("Add", [scaled, unit])
    output = body.op("Identity", [row])
    graph = helper.make_graph(
        body.nodes,
        "row",
        [body.info(name, TensorProto.DOUBLE) for name in (above, factor, unit)],
        [body.info(name, TensorProto.DOUBLE) for name in (row, output)],
    )
    shape = w.op("Concat", [w.op("Shape", [decays], end=-1), w.constant(np.array([ROWS + 1]))], axis=0)
    first = w.op("Expand", [w.constant(np.eye(ROWS + 1)[ROWS]), shape])
    units = w.constant(gain * np.eye(ROWS, ROWS + 1))
    results = [w.name("last"), w.name("rows")]
    axes = {"scan_input_axes": [axis, 0], "scan_output_axes": [axis]}
    w.add("Scan", [first, decays, units], results, body=graph, num_scan_inputs=2, **axes)
    rows = w.op("Cast", [results[1]], to=TensorProto.FLOAT)  # (N, L, L + 1) or (N, B, L, L + 1)
    from_start = w.slice(rows, ROWS, ROWS + 1, axis + 1)
    last = w.op("Squeeze", [w.slice(from_start, -1, ROWS, axis), w.constant(np.array([axis]))])
    return _Factors(w.slice(rows, 0, ROWS, axis + 1), from_start, last, by_sequence=count is not None)
