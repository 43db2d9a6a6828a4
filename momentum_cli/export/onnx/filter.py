"""A linear dynamics as ONNX nodes.

Axes: T time, B batch, C channels, N blocks, L steps of a block.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from onnx import TensorProto, helper

from momentum_cli.dynamics.heavy_ball import HeavyBall
from momentum_cli.dynamics.nesterov import Nesterov, ScheduledRestart
from momentum_cli.dynamics.protocol import Dynamics
from momentum_cli.export.onnx.writer import Writer

ROWS = 32


class _Factors(NamedTuple):
    """Names of what the filter multiplies by; R is 1, or B when sequences are at different steps.

    ``v_i = Σ_j products_ij x_j + from_start_i v_before`` within a block, and ``from_start_last`` is the last of those.
    """

    products: str  # (L, L), (N, L, L) or (N, B, L, L), the step size included
    from_start: str  # (1, L, 1), (N, L, 1) or (N, B, L, 1)
    from_start_last: str  # (N, 1) or (N, B, 1)
    by_sequence: bool


def filter_sequence(
    w: Writer, dynamics: Dynamics, x: str, channels: int, start: str | None, count: str | None
) -> tuple[str, list[str]]:
    """Write the filter.

    Args:
        w: Takes the nodes.
        dynamics: A linear one other than `Identity`.
        x: (T, B, C).
        channels: C.
        start: (B, C) velocity before the first step, or None for zeros.
        count: (B,) int64 steps done before the first step, or None for zeros; for Nesterov and ScheduledRestart.

    Returns:
        Name of the filtered sequence (T, B, C), and of the state after its last step.
    """
    steps, batch = w.size(x, 0), w.size(x, 1)
    rows = w.constant(np.array([ROWS]))
    blocks = w.op("Div", [w.op("Add", [steps, w.constant(np.array([ROWS - 1]))]), rows])
    padding = w.op("Sub", [w.op("Mul", [blocks, rows]), steps])
    pads = w.op("Concat", [w.constant(np.zeros(5, np.int64)[:3]), padding, w.constant(np.zeros(2, np.int64))], axis=0)
    padded = w.op("Pad", [x, pads])
    if isinstance(dynamics, HeavyBall):
        factors = _constant_factors(w, dynamics, blocks)
    else:
        assert isinstance(dynamics, Nesterov | ScheduledRestart)
        factors = _counted_factors(w, dynamics, blocks, count)
    if factors.by_sequence:
        x = w.op("Transpose", [w.reshape(padded, -1, ROWS, batch, channels)], perm=[0, 2, 1, 3])  # (N, B, L, C)
        inner = w.op("MatMul", [factors.products, x])
        last = w.op("Squeeze", [w.slice(inner, -1, ROWS, 2), w.constant(np.array([2]))])  # (N, B, C)
    else:
        width = w.op("Mul", [batch, w.constant(np.array([channels]))])
        inner = w.op("MatMul", [factors.products, w.reshape(padded, -1, ROWS, width)])  # (N, L, BC)
        last = w.op("Squeeze", [w.slice(inner, -1, ROWS, 1), w.constant(np.array([1]))])  # (N, BC)
    before = _carry(w, factors, last, start)
    axis = w.constant(np.array([2 if factors.by_sequence else 1]))
    whole = w.op("Add", [inner, w.op("Mul", [factors.from_start, w.op("Unsqueeze", [before, axis])])])
    if factors.by_sequence:
        whole = w.op("Transpose", [whole], perm=[0, 2, 1, 3])
    y = w.slice(w.reshape(whole, -1, batch, channels), 0, steps, 0)
    after = [w.take(y, -1)]
    if not isinstance(dynamics, HeavyBall):
        done = w.op("Add", [count, steps]) if count else w.op("Expand", [steps, batch])
        after.append(done)
    return y, after


def _carry(w: Writer, factors: _Factors, last: str, start: str | None) -> str:
    """Return the value before each block, from the last inner value of each: ``e_n = last_n + f_n e_{n-1}``."""
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


def _constant_factors(w: Writer, dynamics: HeavyBall, blocks: str) -> _Factors:
    row = np.arange(ROWS)
    powers = float(dynamics.momentum) ** np.maximum(row[:, None] - row, 0)
    products = np.where(row[:, None] >= row, dynamics.step_size * powers, 0.0)
    from_start = float(dynamics.momentum) ** (row + 1.0)
    last = w.op("Expand", [w.constant(from_start[-1:].astype(np.float32)), w.shape(blocks, 1)])
    return _Factors(
        w.constant(products.astype(np.float32)),
        w.constant(from_start.astype(np.float32).reshape(1, ROWS, 1)),
        last,
        by_sequence=False,
    )


def _counted_factors(w: Writer, dynamics: Nesterov | ScheduledRestart, blocks: str, count: str | None) -> _Factors:
    """Return the factors of ``(j-1)/(j+2)``, whose product from m + 1 to i is ``m(m+1)(m+2) / i(i+1)(i+2)``.

    Computed in float64 from the step numbers, so that nothing of the length is fixed and nothing overflows.
    """
    total = w.op("Mul", [blocks, w.constant(np.array([ROWS]))])
    limit = w.op("Add", [w.op("Squeeze", [total]), w.scalar(1, np.int64)])
    step = w.op("Range", [w.scalar(1, np.int64), limit, w.scalar(1, np.int64)])  # 1 … N L
    before = w.op("Range", [w.scalar(0, np.int64), w.op("Squeeze", [total]), w.scalar(ROWS, np.int64)])  # (N,)
    if count is None:
        k, k_before = w.reshape(step, -1, ROWS), w.reshape(before, -1, 1)
        axes = (1, 2)
    else:
        done = w.reshape(count, 1, -1, 1)
        k = w.op("Add", [w.reshape(step, -1, 1, ROWS), done])  # (N, B, L)
        k_before = w.op("Add", [w.reshape(before, -1, 1, 1), done])  # (N, B, 1)
        axes = (2, 3)
    weight, segment = _position(w, dynamics, k)
    weight_before, segment_before = _position(w, dynamics, k_before)

    def ratio(earlier: str, later: str, same: str) -> str:
        value = w.op("Div", [earlier, later])
        return w.op("Mul", [value, w.op("Cast", [same], to=TensorProto.DOUBLE)])

    from_start = ratio(weight_before, weight, w.op("Equal", [segment_before, segment]))
    row, column = w.constant(np.array([axes[1]])), w.constant(np.array([axes[0]]))
    same = w.op("Equal", [w.op("Unsqueeze", [segment, row]), w.op("Unsqueeze", [segment, column])])
    products = ratio(w.op("Unsqueeze", [weight, column]), w.op("Unsqueeze", [weight, row]), same)
    lower = np.tril(np.full((ROWS, ROWS), float(dynamics.step_size)))
    products = w.op("Cast", [w.op("Mul", [products, w.constant(lower)])], to=TensorProto.FLOAT)
    from_start = w.op("Cast", [from_start], to=TensorProto.FLOAT)
    return _Factors(
        products,
        w.op("Unsqueeze", [from_start, w.constant(np.array([-1]))]),
        w.slice(from_start, -1, ROWS, axes[0]),
        by_sequence=count is not None,
    )


def _position(w: Writer, dynamics: Nesterov | ScheduledRestart, k: str) -> tuple[str, str]:
    """Return ``j (j+1) (j+2)`` in float64 and the number of the restart, for step numbers k."""
    segment, j = w.op("Mul", [k, w.scalar(0, np.int64)]), k
    if isinstance(dynamics, ScheduledRestart):
        every = w.scalar(dynamics.restart_every, np.int64)
        shifted = w.op("Add", [k, w.scalar(dynamics.restart_every - 1, np.int64)])
        segment = w.op("Div", [shifted, every])
        j = w.op("Add", [w.op("Mod", [shifted, every]), w.scalar(1, np.int64)])
    j = w.op("Cast", [j], to=TensorProto.DOUBLE)
    weight = w.op("Mul", [j, w.op("Add", [j, w.scalar(1, np.float64)])])
    return w.op("Mul", [weight, w.op("Add", [j, w.scalar(2, np.float64)])]), segment
