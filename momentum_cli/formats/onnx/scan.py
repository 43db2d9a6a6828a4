"""A recurrence without an ONNX operator, and a dynamics that is not a filter, as an ONNX Scan over time.

Its body is written from the steps of the dynamics and the recurrence; a filter is applied beforehand.

Axes: T time, B batch, D input, H hidden, G gates * H.
"""

from __future__ import annotations

import torch
from onnx import helper
from torch import Tensor
from torch.nn.functional import linear

from momentum_cli.dynamics.filter import Filter
from momentum_cli.formats.onnx.function import TYPES, write_function
from momentum_cli.formats.onnx.writer import Writer
from momentum_cli.formats.weights import PlainWeights
from momentum_cli.layers.recurrent import RecurrentLayer


def write_loop(
    w: Writer, layer: RecurrentLayer, weights: PlainWeights, x: str, before: list[str]
) -> tuple[str, list[str]]:
    """Write one layer in one direction.

    Args:
        w: Receives the nodes.
        layer: For its recurrence, dynamics and sizes.
        weights: Parameters.
        x: (T, B, D).
        before: Tensors of the recurrence, and of a dynamics that is not a filter, before the first step; empty for
            zeros.

    Returns:
        Names of the output (T, B, H) and of those tensors after the last step.
    """
    dynamics, recurrence = layer.dynamics, layer.recurrence
    filtered, recurrent = isinstance(dynamics.form, Filter), len(recurrence.state_names)

    def step(x_t: Tensor, *carry: Tensor) -> list[Tensor]:
        d = linear(x_t, weights.weight_ih, weights.bias_ih)
        drive = carry[recurrent:]
        if not filtered:
            d, drive = dynamics.step(d, drive)
        state = recurrence.step(d, carry[:recurrent], weights.weight_hh, weights.bias_hh)
        return [*state, *drive]

    # A batch size that occurs nowhere else, so that no other size can be confused with it.
    x_t = torch.zeros(3, weights.weight_ih.shape[1])
    carried = list(recurrence.init(x_t, layer.hidden_size))
    if not filtered:
        carried += dynamics.init(x_t.new_zeros(3, recurrence.gates * layer.hidden_size))
    if not before:
        before = [_zeros(w, w.size(x, 1), tensor) for tensor in carried]
    body = Writer(w)
    given, step_in = [w.name("state_in") for _ in carried], w.name("step")
    what = f"the step of {type(dynamics).__name__} and {recurrence.name!r}"
    # A value of the graph may be an output of the body only once, and must not be one of its inputs.
    after = write_function(body, what, step, [step_in, *given], [x_t, *carried])
    after = [
        body.op("Identity", [name]) if name in given or name in after[:at] else name for at, name in enumerate(after)
    ]
    output = body.op("Identity", [after[0]])
    dtypes = [TYPES[tensor.dtype] for tensor in carried]
    graph = helper.make_graph(
        body.nodes,
        "step",
        [*map(body.info, given, dtypes), body.info(step_in)],
        [*map(body.info, after, dtypes), body.info(output)],
    )
    ends, sequence = [w.name("end") for _ in carried], w.name("sequence")
    w.add("Scan", [*before, x], [*ends, sequence], body=graph, num_scan_inputs=1)
    return sequence, ends


def _zeros(w: Writer, batch: str, like: Tensor) -> str:
    shape = w.shape(batch, *like.shape[1:]) if like.dim() > 1 else batch
    value = helper.make_tensor("value", TYPES[like.dtype], [1], [0])
    return w.op("ConstantOfShape", [shape], value=value)
