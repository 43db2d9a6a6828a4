"""Our own CPU kernels: one C++ library, loaded by ctypes, behind custom ops with autograd and fake kernels.

A thread runs all time steps of its rows of the batch without a barrier; projection, dynamics, recurrence, activations
and, in the backward pass, the weight gradients are computed while a step is in cache. A linear dynamics filters the
input beforehand; moments are computed inside the kernel, in gate space.

Axes: T time, B batch, D input, H hidden, G gates * H.
"""

from __future__ import annotations

import torch
from torch import Tensor

from momentum_cli.dynamics.filter import Filter
from momentum_cli.dynamics.protocol import Dynamics
from momentum_cli.dynamics.state import State
from momentum_cli.kernels import reference
from momentum_cli.kernels.backend import Weights, Work
from momentum_cli.kernels.driven import LINEAR, take_in
from momentum_cli.kernels.eager import are_plain, is_eager
from momentum_cli.kernels.fused import library
from momentum_cli.kernels.fused.library import status
from momentum_cli.kernels.fused.ops import DTYPES, NARROW, RECURRENCES, eager_forward, fused_forward
from momentum_cli.recurrence.protocol import Recurrence

__all__ = ["run", "status", "supports", "worthwhile"]


def supports(work: Work) -> str | None:
    """Return None if the kernel can run this, else the reason and a remedy."""
    if work.device.type != "cpu":
        return f"the kernel runs on the CPU, not on {work.device.type}"
    if work.dtype not in DTYPES:
        return f"the kernel has float32, float64 and bfloat16, not {str(work.dtype).removeprefix('torch.')}"
    if work.recurrence.kernel not in RECURRENCES:
        return f"the kernel has the recurrences {', '.join(RECURRENCES)}, not {work.recurrence.name!r}"
    if work.projected:
        return "the kernel has no projection of the output (proj_size)"
    if work.dynamics.form is None:
        return f"the kernel has no {type(work.dynamics).__name__}, which has only a step"
    missing: str | None = library.why_missing()
    if missing is not None or work.dtype != torch.bfloat16:
        return missing
    if work.recurrence.kernel not in NARROW:
        return f"{work.recurrence.name!r} has no state besides h, which products in bfloat16 would round at every step"
    narrow: str | None = library.why_no_bfloat16()
    return narrow


# Measured crossovers to torch's kernels (benchmarks/every_shape.py). torch runs an LSTM by oneDNN in one call. Ours
# packs the weights at each call, which a training step pays back after so many rows times steps: up to so many hidden
# units. In front of torch's call a filter costs as much as packing. A GRU or RNN torch runs step by step, which ours
# beats after a few.
_ROW_STEPS, _MOST_ROW_STEPS, _A_FEW_STEPS = ((64, 4), (128, 8), (256, 128)), 512, 4
# Few rows of a large LSTM without gradients: each thread reads all weights for its few rows, whereas oneDNN spreads
# them over the threads: 0.6 to 0.98 of torch's speed at N = 512 and up to 20 rows on two threads, 0.94 to 1.13 on one.
_LARGE_HIDDEN, _FEW_ROWS = 384, 64


def worthwhile(work: Work, shape: tuple[int, int, int], training: bool) -> bool:
    """Return True if the kernel is faster than `native`, which could run this too (docs/performance.md).

    Args:
        work: The layer to run.
        shape: (T, B, D) of the input.
        training: True if gradients are needed.
    """
    steps, batch, _ = shape
    hidden = work.hidden_size
    if work.recurrence.torch_kernel != "lstm":
        return steps >= (_A_FEW_STEPS if hidden <= _ROW_STEPS[-1][0] else 2 * _A_FEW_STEPS)
    if not training:
        return hidden < _LARGE_HIDDEN or batch >= _FEW_ROWS or torch.get_num_threads() == 1
    form = work.dynamics.form
    if isinstance(form, Filter) and not form.is_identity and hidden <= _ROW_STEPS[-1][0]:
        return True
    needed = next((row_steps for most, row_steps in _ROW_STEPS if hidden <= most), _MOST_ROW_STEPS)
    return steps * batch >= needed


def run(
    recurrence: Recurrence,
    dynamics: Dynamics,
    x: Tensor,
    weights: Weights,
    state: State,
    drive: State | None,
    lengths: Tensor | None,
) -> tuple[Tensor, State, State]:
    """See `momentum_cli.kernels.backend.Backend.run`.

    Raises:
        RuntimeError: `supports` gives a reason.
    """
    dtype = torch.bfloat16 if x.dtype == torch.bfloat16 else weights.w_hh.dtype
    reason = supports(Work(recurrence, dynamics, weights.w_hh.shape[1], x.device, dtype))
    if reason is not None:
        raise RuntimeError(reason)
    if x.shape[1] == 0:  # an empty batch: the loop gives the right shapes and gradients
        output, state, drive = reference.run(
            recurrence, dynamics, x.to(weights.w_hh.dtype), weights, state, drive, lengths
        )
        return output.to(dtype), state, drive
    driven = take_in(dynamics, x.to(dtype), weights, drive, lengths)
    x, v0, m0 = driven.x.to(dtype), driven.velocity, driven.second_moment
    h0: Tensor | None = state[0]
    c0 = state[1] if len(state) == 2 else None
    batch = x.shape[1]
    # Not min: a batch of any size is a symbol while torch.compile traces.
    parts: int = torch.sym_min(_threads(), batch)  # type: ignore[assignment]  # a symbol is used like an int
    order = None
    if lengths is not None:
        # Longest first within each part, so that the running rows are a prefix.
        order = torch.argsort(lengths, descending=True, stable=True)
        if not torch.compiler.is_compiling():  # spread evenly over the parts, too, whose number is known here
            order = torch.cat([order[part::parts] for part in range(parts)])
        lengths = lengths[order]
        x = x.index_select(1, order)
        h0, c0, v0, m0 = (None if s is None else s.index_select(0, order) for s in (h0, c0, v0, m0))
    tensors = (x, weights.w_ih, weights.w_hh, weights.b_ih, weights.b_hh, h0, c0, v0, m0)
    training = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
    # A constant, which `chosen_isa` needs, also while a size that is free is traced: int() would leave it free.
    hidden = len((None,) * weights.w_hh.shape[1])
    plan = [
        RECURRENCES[str(recurrence.kernel)],
        driven.dynamics,
        library.ISAS[library.chosen_isa(x.dtype, hidden)],
        parts,
        _chunk(x.shape[0], batch, parts, driven.dynamics),
    ]
    call = eager_forward if is_eager() and are_plain(tensors) else fused_forward
    output, hn, cn, vn, mn, _, _ = call(*tensors, lengths, driven.constants or [0.0] * 4, plan, training)
    if order is not None:
        back = torch.argsort(order)
        output = output.index_select(1, back)
        # Tensors that the work does not have are flat and empty.
        hn, cn, vn, mn = (last.index_select(0, back) if last.dim() == 2 else last for last in (hn, cn, vn, mn))
    state = (hn, cn) if len(state) == 2 else (hn,)
    return output, state, driven.after(vn, mn)


@library.constant_when_compiled
def _threads() -> int:
    return torch.get_num_threads()


def _chunk(steps: int, batch: int, parts: int, dynamics: int) -> int:
    """Choose the steps per chunk: enough rows for an efficient weight-gradient product, few enough for the cache."""
    rows = -(-batch // parts)
    # Symbols pass for integers.
    return torch.sym_min(steps, torch.sym_max(256 // rows, 1 if dynamics == LINEAR else 4))  # type: ignore[return-value]
