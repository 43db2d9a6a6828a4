"""Our own CUDA kernels, in Triton, for what torch has no kernel: above all Adam and RMSProp, without a Python loop.

The projection of the input is one matrix product of torch; the dynamics and the recurrence are one kernel over all
steps (`momentum_cli.kernels.triton.kernels`). Linear dynamics filter the input beforehand, as for `native`.

Every step reads all of W_hh, 16 N² bytes of an LSTM in float32; `momentum_cli.kernels.triton.variants` has other ways.

float32 products are computed in float32 (``input_precision="ieee"``): TensorFloat-32 would keep 10 bits of the mantissa
of h at every step. cuDNN's LSTM in torch uses it by default, and with it the tensor cores.

None of this has been timed: docs/performance.md.

Axes: T time, B batch, D input, H hidden, G gates * H.
"""

from __future__ import annotations

import os
import shutil
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from momentum_cli.dynamics.protocol import Dynamics
from momentum_cli.dynamics.state import State
from momentum_cli.kernels.backend import Weights, Work
from momentum_cli.kernels.driven import take_in
from momentum_cli.kernels.triton import ops, tiles, variants
from momentum_cli.recurrence.protocol import Recurrence

# A tile of W_hh with all gates of all units must fit shared memory, and the moments of all gates must fit registers.
MAX_HIDDEN = 256
# When programs share the units, the tiles of each are small; beyond this size a step is a large product anyway.
MAX_HIDDEN_SPLIT = 1024
_DTYPES = (torch.float32, torch.float64)
_COST = "on CUDA adam and rmsprop run on a Python loop over time, which is much slower"


@cache
def _load() -> str | None:
    """Import triton and the kernels; return the reason if that fails. It takes a second, so call it only if needed."""
    try:
        import_module("momentum_cli.kernels.triton.kernels")
    except ImportError as error:
        return f"triton cannot be imported ({error}); torch's CUDA wheels for Linux include it: pip install triton"
    return None


@cache
def _no_compiler() -> str | None:
    """Return why Triton cannot start a compiled kernel, or None: it builds the code that starts one by a C compiler."""
    # As triton.runtime.build looks for it.
    if os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang"):
        return None
    return "triton finds no C compiler, which it needs to start a kernel: install gcc or clang, or name one in CC"


def _problem() -> str | None:
    """Return why the kernels cannot run, or None; torch.compile does not trace it, as it contains an import."""
    if torch.compiler.is_compiling():
        return None
    return _load() or (None if _interpreting() else _no_compiler())


def _interpreting() -> bool:
    """Return True if Triton's interpreter runs the kernels, on any device.

    Triton reads TRITON_INTERPRET when a kernel is defined, so the value at the import of the kernels counts.
    """
    if os.environ.get("TRITON_INTERPRET", "0").lower() not in ("1", "true", "on", "yes", "y"):
        return False
    if torch.compiler.is_compiling():
        return True
    if _load() is not None:
        return False
    kernels = import_module("momentum_cli.kernels.triton.kernels")
    return type(kernels.recurrence_forward).__name__ == "InterpretedFunction"


def status() -> dict[str, Any]:
    """Describe the backend for `doctor`; triton itself is not imported.

    Returns:
        ``available`` (bool), ``triton`` (its version or None), ``variant`` (a name of
        `momentum_cli.kernels.triton.variants`), ``reason`` (why not; None when available), ``cost`` (of running without
        it; None when available).
    """
    try:
        found: str | None = version("triton")
    except PackageNotFoundError:
        found = None
    if not torch.cuda.is_available():
        reason: str | None = "no CUDA device"
    elif found is None:
        reason = "triton is not installed"
    else:
        reason = _load() or _no_compiler()
    return {
        "available": reason is None,
        "triton": found,
        "variant": variants.chosen(),
        "reason": reason,
        "cost": _COST if reason else None,
    }


def supports(work: Work) -> str | None:
    """Return None if the kernels can run this, else the reason and a remedy."""
    if work.device.type != "cuda" and not _interpreting():
        return f"the Triton kernels run on CUDA devices, not on {work.device.type}"
    if work.dtype not in _DTYPES:
        return f"the Triton kernels compute in float32 or float64, not in {str(work.dtype).removeprefix('torch.')}"
    if work.recurrence.kernel not in tiles.GATES:
        return f"the Triton kernels have the recurrences {', '.join(tiles.GATES)}, not {work.recurrence.name!r}"
    if work.projected:
        return "the Triton kernels have no projection of the output (proj_size)"
    if work.dynamics.form is None:
        return f"the Triton kernels have no {type(work.dynamics).__name__}, which has only a step"
    name = variants.chosen()
    variant = variants.VARIANTS[name]
    if variant.on_tensor_cores and work.dtype != torch.float32:
        return f"{variants.SWITCH}={name} computes in float32, not in {str(work.dtype).removeprefix('torch.')}"
    most = MAX_HIDDEN_SPLIT if variant.split else MAX_HIDDEN
    if work.hidden_size > most:
        return f"the Triton kernels have room for {most} hidden units, not for {work.hidden_size}"
    return _problem()


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
    reason = supports(Work(recurrence, dynamics, weights.w_hh.shape[1], x.device, weights.w_hh.dtype))
    if reason is not None:
        raise RuntimeError(reason)
    gates = recurrence.gates
    driven = take_in(dynamics, x, weights, drive, lengths)
    w_ih, bias = driven.projection(weights)
    b_ih, b_hh, v0, m0 = (
        None if t is None else _side_by_side(t, gates)
        for t in (bias, weights.b_hh, driven.velocity, driven.second_moment)
    )
    if m0 is not None and v0 is None:
        v0 = torch.zeros_like(m0)
    u = linear(driven.x, _side_by_side(w_ih.t(), gates).t(), b_ih)
    w_t = _side_by_side(weights.w_hh.t(), gates)
    h0, c0 = state[0], state[1] if len(state) == 2 else None
    lengths = None if lengths is None else lengths.to(x.device, non_blocking=True)
    tensors = (u, w_t, b_hh, h0, c0, v0, m0)
    training = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
    results = ops.forward(*tensors, lengths, str(recurrence.kernel), driven.constants, training)
    states, _, _, h_n, c_n, v_n, m_n, _, _ = results
    after = (h_n, c_n) if c0 is not None else (h_n,)
    return states[1:], after, driven.after(_apart(v_n, gates), _apart(m_n, gates))


def _side_by_side(tensor: Tensor, gates: int) -> Tensor:
    """Reorder the last dimension (G) so that the gates of a unit are adjacent: from gate-major to unit-major."""
    return tensor.reshape(*tensor.shape[:-1], gates, -1).transpose(-1, -2).flatten(-2)


def _apart(tensor: Tensor, gates: int) -> Tensor:
    """Invert `_side_by_side`."""
    return tensor.reshape(*tensor.shape[:-1], -1, gates).transpose(-1, -2).flatten(-2)
