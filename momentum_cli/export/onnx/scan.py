"""Adam and RMSProp, and recurrences without a node of their own, as an ONNX Scan over time.

Projection, dynamics and recurrence of one step are its body. A linear dynamics has been filtered before.

Axes: T time, B batch, D input, H hidden, G gates * H.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, ValueInfoProto, helper

from momentum_cli.dynamics.adam import Adam
from momentum_cli.dynamics.rmsprop import RMSProp
from momentum_cli.export.onnx.writer import Writer
from momentum_cli.export.weights import PlainWeights
from momentum_cli.layers.recurrent import RecurrentLayer
from momentum_cli.recurrence import coupled


def driven_recurrence(
    w: Writer, layer: RecurrentLayer, weights: PlainWeights, x: str, first: list[str], moments: list[str]
) -> tuple[str, list[str], list[str]]:
    """Write one layer in one direction.

    Args:
        w: Takes the nodes.
        layer: For its recurrence, dynamics and sizes.
        weights: Parameters.
        x: (T, B, D).
        first: Recurrent tensors before the first step; empty for zeros.
        moments: State of Adam or RMSProp (B, G) before the first step; empty for zeros.

    Returns:
        Names of the output (T, B, H), of the recurrent tensors and of the moments after the last step.
    """
    dynamics, recurrence = layer.dynamics, layer.recurrence
    batch, hidden = w.size(x, 1), layer.hidden_size
    sizes = recurrence.state_sizes(hidden)
    if not first:
        first = [w.zeros(w.shape(batch, *size)) if size else _no_steps(w, batch) for size in sizes]
    if not moments and isinstance(dynamics, Adam | RMSProp):
        zero = w.zeros(w.shape(batch, recurrence.gates * hidden))
        moments = [zero] * len(dynamics.state_names)
    body = Writer(w)
    state_in = [w.name("state_in") for _ in first]
    moments_in = [w.name("moment_in") for _ in moments]
    step = w.name("step")
    u = _affine(body, step, weights.weight_ih.numpy(), None if weights.bias_ih is None else weights.bias_ih.numpy())
    d, moments_out = _drive(body, dynamics, u, moments_in) if isinstance(dynamics, Adam | RMSProp) else (u, [])
    bias = None if weights.bias_hh is None else weights.bias_hh.numpy()
    if recurrence.name == "modrelu":
        assert bias is not None
        product = _affine(body, state_in[0], weights.weight_hh.numpy(), None)
        state_out = [_modrelu(body, body.op("Add", [d, product]), bias)]
    else:
        recurrent = _affine(body, state_in[0], weights.weight_hh.numpy(), bias)
        state_out = _recur(body, layer, d, recurrent, state_in)
    output = body.op("Identity", [state_out[0]])
    graph = helper.make_graph(
        body.nodes,
        "step",
        [*_infos(body, state_in, sizes), *(body.info(name) for name in (*moments_in, step))],
        [*_infos(body, state_out, sizes), *(body.info(name) for name in (*moments_out, output))],
    )
    ends = [w.name("end") for _ in first]
    moment_ends = [w.name("moment_end") for _ in moments]
    sequence = w.name("sequence")
    w.add("Scan", [*first, *moments, x], [*ends, *moment_ends, sequence], body=graph, num_scan_inputs=1)
    return sequence, ends, moment_ends


def _affine(w: Writer, x: str, weight: np.ndarray, bias: np.ndarray | None) -> str:
    inputs = [x, w.constant(weight)] + ([] if bias is None else [w.constant(bias)])
    return w.op("Gemm", inputs, transB=1)


def _drive(w: Writer, dynamics: Adam | RMSProp, u: str, moments: list[str]) -> tuple[str, list[str]]:
    """Return d and the next moments; the formulas are those of `momentum_cli.dynamics`."""
    beta2 = w.scalar(dynamics.beta2)
    square = w.op("Mul", [w.op("Mul", [u, w.scalar(1.0 - dynamics.beta2)]), u])
    second = w.op("Add", [w.op("Mul", [beta2, moments[-1]]), square])
    numerator = w.op("Mul", [w.scalar(dynamics.step_size), u])
    after = [second]
    if isinstance(dynamics, Adam):
        numerator = w.op("Add", [w.op("Mul", [w.scalar(dynamics.momentum), moments[0]]), numerator])
        after = [numerator, second]
    if dynamics.eps > 0.0:
        return w.op("Div", [numerator, w.op("Sqrt", [w.op("Add", [second, w.scalar(dynamics.eps)])])]), after
    # 0 / 0 is taken as 0, see `normalize`.
    empty = w.op("Equal", [second, w.scalar(0.0)])
    safe = w.op("Where", [empty, w.scalar(1.0), second])
    return w.op("Where", [empty, w.scalar(0.0), w.op("Div", [numerator, w.op("Sqrt", [safe])])]), after


def _recur(w: Writer, layer: RecurrentLayer, d: str, recurrent: str, state: list[str]) -> list[str]:
    """Return the next recurrent tensors; the formulas are those of `momentum_cli.recurrence`."""
    recurrence = layer.recurrence.name
    if recurrence == "lstm":
        return _lstm(w, w.op("Add", [d, recurrent]), state[1])
    if recurrence == coupled.NAME:
        # k steps are done: this one is number k mod restart_every + 1 since the restart.
        period = w.scalar(layer.options["restart_every"], np.int64)
        since = w.op("Cast", [w.op("Mod", [state[3], period])], to=TensorProto.FLOAT)
        ratio = w.op("Div", [since, w.op("Add", [since, w.scalar(3.0)])])
        factor = w.op("Unsqueeze", [ratio, w.constant(np.array([1]))])
        new = w.op("Sub", [recurrent, w.op("Mul", [w.scalar(layer.options["step_size"]), d])])
        gates = w.op("Add", [new, w.op("Mul", [factor, w.op("Sub", [new, state[2]])])])
        return [*_lstm(w, gates, state[1]), new, w.op("Add", [state[3], w.scalar(1, np.int64)])]
    if recurrence == "gru":
        d_r, d_z, d_n = _split(w, d, 3)
        h_r, h_z, h_n = _split(w, recurrent, 3)
        reset = w.op("Mul", [w.op("Sigmoid", [w.op("Add", [d_r, h_r])]), h_n])
        new = w.op("Tanh", [w.op("Add", [d_n, reset])])
        change = w.op("Mul", [w.op("Sigmoid", [w.op("Add", [d_z, h_z])]), w.op("Sub", [state[0], new])])
        return [w.op("Add", [new, change])]
    return [w.op("Tanh" if recurrence == "rnn" else "Relu", [w.op("Add", [d, recurrent])])]


def _lstm(w: Writer, gates: str, cell: str) -> list[str]:
    i, f, g, o = _split(w, gates, 4)
    kept = w.op("Mul", [w.op("Sigmoid", [f]), cell])
    cell = w.op("Add", [kept, w.op("Mul", [w.op("Sigmoid", [i]), w.op("Tanh", [g])])])
    return [w.op("Mul", [w.op("Sigmoid", [o]), w.op("Tanh", [cell])]), cell]


def _modrelu(w: Writer, z: str, bias: np.ndarray) -> str:
    magnitude = w.op("Relu", [w.op("Add", [w.op("Abs", [z]), w.constant(bias)])])
    return w.op("Mul", [w.op("Sign", [z]), magnitude])


def _infos(w: Writer, names: list[str], sizes: tuple[tuple[int, ...], ...]) -> list[ValueInfoProto]:
    """Describe the recurrent tensors of the body; one without channels is a step number."""
    return [
        w.info(name) if size else helper.make_tensor_value_info(name, TensorProto.INT64, None)
        for name, size in zip(names, sizes, strict=True)
    ]


def _no_steps(w: Writer, batch: str) -> str:
    return w.op("ConstantOfShape", [batch], value=helper.make_tensor("value", TensorProto.INT64, [1], [0]))


def _split(w: Writer, x: str, parts: int) -> list[str]:
    names = [w.name("part") for _ in range(parts)]
    w.add("Split", [x], names, axis=1)
    return names
