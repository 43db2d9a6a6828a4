"""torch's own LSTM, GRU and RNN kernels (oneDNN on the CPU, cuDNN on CUDA) for every linear dynamics.

A linear dynamics commutes with the input projection, so it is applied to the input, extended by a channel of constant 1
for the input bias; the rest is an ordinary recurrent layer. Exact up to rounding.

Axes: T time, B batch, D input, H hidden, G gates * H.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from momentum_cli.dynamics.filter import Filter
from momentum_cli.dynamics.protocol import Dynamics
from momentum_cli.dynamics.state import State
from momentum_cli.kernels.backend import Weights, Work
from momentum_cli.kernels.driven import take_in
from momentum_cli.recurrence.protocol import Recurrence


def supports(work: Work) -> str | None:
    """Return None if torch's kernels can run this, else the reason."""
    if not isinstance(work.dynamics.form, Filter):
        return f"{type(work.dynamics).__name__} is not linear, and torch's kernels project their input themselves"
    if work.device.type == "cpu" and work.dtype == torch.bfloat16:
        return "torch's kernels would keep the state in bfloat16; on the CPU they run in float32"
    if work.recurrence.torch_kernel is None:
        return f"torch has no kernel for the recurrence {work.recurrence.name!r}"
    return None


# torch.compile leaves torch.nn.LSTM, GRU and RNN to eager mode; Inductor cannot compile the functions behind them.
@torch._disable_dynamo  # type: ignore[attr-defined]
def run(
    recurrence: Recurrence,
    dynamics: Dynamics,
    x: Tensor,
    weights: Weights,
    state: State,
    drive: State | None,
    lengths: Tensor | None,
) -> tuple[Tensor, State, State]:
    """See `momentum_cli.kernels.backend.Backend.run`."""
    driven = take_in(dynamics, x, weights, drive, lengths)
    w_ih, b_ih = driven.projection(weights)
    parameters: list[Tensor] = [w_ih, weights.w_hh]
    has_biases = weights.b_ih is not None and weights.b_hh is not None
    if weights.b_ih is not None and weights.b_hh is not None:
        # torch's kernels have both biases or none.
        parameters += [torch.zeros_like(weights.b_ih) if b_ih is None else b_ih, weights.b_hh]
    if weights.w_hr is not None:
        parameters.append(weights.w_hr)
    hidden = tuple(s.unsqueeze(0) for s in state)
    first = hidden if len(hidden) > 1 else hidden[0]
    # The function behind torch.nn.LSTM, GRU or RNN: what it takes and returns is the same for padded and packed input.
    function: Any = getattr(torch._VF, str(recurrence.torch_kernel))
    # Biases, one layer, no dropout, train (keep activations for backward), one direction.
    options = (has_biases, 1, 0.0, torch.is_grad_enabled(), False)
    if lengths is None or x.shape[1] == 0:  # no sequence can be packed
        output, *last = function(driven.x, first, parameters, *options, False)
        return output, tuple(s.squeeze(0) for s in last), driven.filtered
    packed = pack_padded_sequence(driven.x, lengths, enforce_sorted=False)
    # Always set when enforce_sorted is False.
    order, inverse = packed.sorted_indices, packed.unsorted_indices
    assert order is not None
    assert inverse is not None
    ordered = tuple(s.index_select(1, order) for s in hidden)
    first = ordered if len(ordered) > 1 else ordered[0]
    data, *last = function(packed.data, packed.batch_sizes, first, parameters, *options)
    output, _ = pad_packed_sequence(packed._replace(data=data), total_length=len(x))
    return output, tuple(s.squeeze(0).index_select(0, inverse) for s in last), driven.filtered


def run_whole(
    recurrence: Recurrence, x: Tensor, weights: Sequence[Weights], state: State, *, bidirectional: bool
) -> tuple[Tensor, State]:
    """Run stacked layers without dynamics and dropout by one call, as `torch.nn.LSTM` does.

    Args:
        recurrence: One that torch has.
        x: (T, B, D).
        weights: Weights of each layer and direction.
        state: Tensors (layers * directions, B, ·).
        bidirectional: True for two directions.

    Returns:
        (T, B, directions * H), and the state after the last step.
    """
    function: Any = getattr(torch._VF, str(recurrence.torch_kernel))
    parameters = [tensor for own in weights for tensor in own if tensor is not None]
    layers = len(weights) // (2 if bidirectional else 1)
    options = (weights[0].b_ih is not None, layers, 0.0, torch.is_grad_enabled(), bidirectional, False)
    output, *last = function(x, state if len(state) > 1 else state[0], parameters, *options)
    return output, tuple(last)
