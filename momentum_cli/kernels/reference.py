"""The definition: a plain PyTorch loop over time that follows the equations. Other backends are tested against it.

Axes: T time, B batch, D input, H hidden, G gates * H.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import linear, pad

from momentum_cli.dynamics.filter import Filter
from momentum_cli.dynamics.moments import Moments
from momentum_cli.dynamics.protocol import Dynamics
from momentum_cli.dynamics.ragged import advance
from momentum_cli.dynamics.state import State
from momentum_cli.kernels.backend import Weights, Work
from momentum_cli.recurrence.protocol import Recurrence


def supports(work: Work) -> str | None:
    """Return None: the loop runs everything."""
    return None


# One step of a large LSTM on the CPU is a product by each weight matrix. Our kernel and oneDNN pack the weights first,
# which takes longer than the product; the loop does not (benchmarks/every_shape.py). A session is faster still, but
# only without gradients and up to `_PACKED_FAST` units. Rows up to which the loop wins: without gradients, with, and
# with and moments, which only our kernel runs otherwise.
_PACKED_FAST, _FEW_ROWS, _ROWS_OF_MOMENTS = 256, (8, 64), 256


def worthwhile(work: Work, shape: tuple[int, int, int], training: bool) -> bool:
    """Return True if the loop is faster than the other backends; arguments as for `momentum_cli.kernels.choose`."""
    steps, batch, _ = shape
    rows = _ROWS_OF_MOMENTS if training and isinstance(work.dynamics.form, Moments) else _FEW_ROWS[training]
    if steps > 1 or batch > rows or work.device.type != "cpu" or work.projected:
        return False
    large = work.hidden_size >= _PACKED_FAST if training else work.hidden_size > _PACKED_FAST
    return large and work.recurrence.kernel == "lstm" and work.dtype in (torch.float32, torch.float64)


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
    u = linear(x, weights.w_ih, weights.b_ih)
    linear_filter = isinstance(dynamics.form, Filter)
    if linear_filter:
        # The state is kept in input space, whatever the backend. The loop itself works in gate space, where the
        # equations are written, so the input is filtered only to obtain the state.
        extended = x if weights.b_ih is None else pad(x, (0, 1), value=1.0)
        outer = dynamics.init(extended[0]) if drive is None else drive
        inner = (linear(outer[0], weights.extended()), *outer[1:]) if outer else ()
    else:
        extended, outer = x, ()
        inner = dynamics.init(u[0]) if drive is None else drive
    outputs = []
    # Not u[t]: in the backward pass each index would make a gradient as large as all of u.
    projected = u.unbind(0)
    for t in range(len(x)):
        d, next_inner = dynamics.step(projected[t], inner)
        next_state = recurrence.step(d, state, weights.w_hh, weights.b_hh)
        if weights.w_hr is not None:
            next_state = (linear(next_state[0], weights.w_hr), *next_state[1:])
        next_outer = dynamics.step(extended[t], outer)[1] if linear_filter else ()
        output = next_state[0]
        if lengths is not None:
            running = (t < lengths).to(x.device, non_blocking=True)
            output = torch.where(running.unsqueeze(1), output, torch.zeros_like(output))
            next_state = advance(running, next_state, state)
            next_inner = advance(running, next_inner, inner)
            next_outer = advance(running, next_outer, outer)
        state, inner, outer = next_state, next_inner, next_outer
        outputs.append(output)
    return torch.stack(outputs), state, outer if linear_filter else inner
