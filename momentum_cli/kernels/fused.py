"""Our own CPU kernels: one C++ library, loaded by ctypes, behind custom ops with autograd and fake kernels.

A thread runs all time steps of its rows of the batch without a barrier; projection, dynamics, recurrence, activations
and, backward, the weight gradients happen while a step is in cache. Linear dynamics filter the input beforehand
(`filter_input`); Adam and RMSProp run inside the kernel, in gate space.

Axes: T time, B batch, D input, H hidden, G gates * H.
"""

from __future__ import annotations

import torch
from torch import Tensor

from momentum_cli.dynamics import Adam, Dynamics, Identity, RMSProp, filter_input
from momentum_cli.kernels import cpu_library, reference
from momentum_cli.kernels.cpu_library import status
from momentum_cli.kernels.fused_ops import DTYPES, RECURRENCES, fused_forward
from momentum_cli.kernels.weights import State, Weights
from momentum_cli.recurrence import Recurrence

__all__ = ["run", "status", "supports", "worthwhile"]


def supports(
    recurrence: Recurrence,
    dynamics: Dynamics,
    device: torch.device,
    dtype: torch.dtype,
    hidden_size: int | None = None,
) -> str | None:
    """Return None if the kernel can run this, else the reason and what would help."""
    if device.type != "cpu":
        return f"the kernel runs on the CPU, not on {device.type}"
    if dtype not in DTYPES:
        return f"the kernel computes in float32 or float64, not in {str(dtype).removeprefix('torch.')}"
    if recurrence.name not in RECURRENCES:
        return f"the kernel has the recurrences {', '.join(RECURRENCES)}, not {recurrence.name!r}"
    if not (dynamics.linear or isinstance(dynamics, Adam | RMSProp)):
        return f"the kernel has no {type(dynamics).__name__}, only linear dynamics, Adam and RMSProp"
    library, _, reason = cpu_library.load()
    return None if library is not None else reason


# Below this many rows times steps the fixed cost of a call (an op from Python, packed weights) outweighs what is saved.
_ROW_STEPS_WORTHWHILE = 400
# Forward only, a thread reads all weights for its few rows: 0.9x torch at B 20, N 512, where they exceed the cache.
_LARGE_HIDDEN, _FEW_ROWS = 384, 64


def worthwhile(
    recurrence: Recurrence, dynamics: Dynamics, shape: tuple[int, int, int], hidden_size: int, training: bool
) -> bool:
    """Return whether the kernel is the faster choice where `native` could serve too (docs/performance.md).

    Args:
        recurrence: The sequential part.
        dynamics: The filter in front of it.
        shape: (T, B, D) of the input.
        hidden_size: H.
        training: True when gradients are wanted.
    """
    steps, batch, _ = shape
    if not training and hidden_size >= _LARGE_HIDDEN and batch < _FEW_ROWS:
        return False
    return steps * batch >= _ROW_STEPS_WORTHWHILE


def run(
    recurrence: Recurrence,
    dynamics: Dynamics,
    x: Tensor,
    weights: Weights,
    state: State,
    drive: State | None,
    lengths: Tensor | None,
) -> tuple[Tensor, State, State]:
    """See `momentum_cli.kernels.Backend.run`.

    Raises:
        RuntimeError: `supports` says no.
    """
    reason = supports(recurrence, dynamics, x.device, weights.w_hh.dtype)
    if reason is not None:
        raise RuntimeError(reason)
    if x.shape[1] == 0:  # no row, no thread: the loop has the shapes and the gradients of nothing
        return reference.run(recurrence, dynamics, x, weights, state, drive, lengths)
    x = x.to(weights.w_hh.dtype)
    w_ih, b_ih = weights.w_ih, weights.b_ih
    v0: Tensor | None = None
    m0: Tensor | None = None
    constants = [0.0, 0.0, 0.0, 0.0]
    kind = 0
    if isinstance(dynamics, Adam):
        kind, constants = 1, [dynamics.momentum, dynamics.step_size, dynamics.beta2, dynamics.eps]
        v0, m0 = drive if drive is not None else (None, None)
    elif isinstance(dynamics, RMSProp):
        kind, constants = 2, [0.0, dynamics.step_size, dynamics.beta2, dynamics.eps]
        m0 = drive[0] if drive is not None else None
    else:
        x, drive = filter_input(dynamics, x, b_ih is not None, drive, lengths)
        if not isinstance(dynamics, Identity) and b_ih is not None:
            w_ih, b_ih = weights.extended(), None
    h0: Tensor | None = state[0]
    c0 = state[1] if len(state) == 2 else None
    batch = x.shape[1]
    threads = torch.get_num_threads()
    parts = min(threads, batch)
    order = None
    if lengths is not None:
        # Longest first within each part, so that the running rows are a prefix, and spread evenly over the parts.
        ranked = torch.argsort(lengths, descending=True, stable=True)
        order = torch.cat([ranked[part::parts] for part in range(parts)])
        lengths = lengths[order]
        x = x.index_select(1, order)
        h0, c0, v0, m0 = (None if s is None else s.index_select(0, order) for s in (h0, c0, v0, m0))
    tensors = (x, w_ih, weights.w_hh, b_ih, weights.b_hh, h0, c0, v0, m0)
    training = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
    plan = [
        RECURRENCES[recurrence.name],
        kind,
        cpu_library.ISAS[cpu_library.chosen_isa(x.dtype)],
        threads,
        parts,
        _chunk(x.shape[0], batch, parts, kind),
    ]
    output, hn, cn, vn, mn, _, _ = fused_forward(*tensors, lengths, constants, plan, training)
    if order is not None:
        back = torch.argsort(order)
        output = output.index_select(1, back)
        hn, cn, vn, mn = (last.index_select(0, back) if len(last) else last for last in (hn, cn, vn, mn))
    state = (hn, cn) if len(state) == 2 else (hn,)
    if kind:
        return output, state, (vn, mn) if kind == 1 else (mn,)
    assert drive is not None
    return output, state, drive


def _chunk(steps: int, batch: int, parts: int, kind: int) -> int:
    """Time steps a chunk: enough rows for the weight gradient to be a real matrix product, few enough for the cache."""
    rows = -(-batch // parts)
    return max(1, min(steps, max(256 // rows, 4 if kind else 1)))
