"""Our own CPU kernels: one C++ library, loaded by ctypes, behind custom ops with autograd and fake kernels.

A thread runs all time steps of its rows of the batch without a barrier; projection, dynamics, recurrence, activations
and, backward, the weight gradients happen while a step is in cache. Linear dynamics filter the input beforehand
(`filter_input`); Adam and RMSProp run inside the kernel, in gate space.

Axes: T time, B batch, D input, H hidden, G gates * H.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from momentum_cli.dynamics import Adam, Dynamics, Identity, RMSProp, filter_input
from momentum_cli.kernels.weights import State, Weights
from momentum_cli.kernels.workspace import Workspace
from momentum_cli.recurrence import Recurrence

_ABI = 2
_ISAS = {"generic": 0, "avx2": 1, "avx512": 2}
_RECURRENCES = {"lstm": 0, "gru": 1, "rnn": 2, "rnn_relu": 3, "modrelu": 4}
_GATES = (4, 3, 1, 1, 1)
_DTYPES = {torch.float32: 4, torch.float64: 8}
_WORKSPACE = Workspace()
_COST = "linear dynamics run on torch's kernels, adam and rmsprop on a Python loop over time, both slower in training"


class _Arguments(ctypes.Structure):
    """`mrnn_args` of kernels/cpu/momentum_rnn.h, field by field."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("abi", "isa", "real_bytes", "recurrence", "dynamics", "threads")),
        *((name, ctypes.c_int64) for name in ("parts", "chunk", "steps", "batch", "input", "hidden")),
        *((name, ctypes.c_double) for name in ("momentum", "step_size", "beta2", "eps")),
        *((name, ctypes.c_void_p) for name in ("x", "w_ih", "w_hh", "b_ih", "b_hh", "h0", "c0", "v0", "m0", "lengths")),
        *((name, ctypes.c_void_p) for name in ("out", "hn", "cn", "vn", "mn", "saved", "checkpoints")),
        *((name, ctypes.c_void_p) for name in ("d_out", "d_hn", "d_cn", "d_vn", "d_mn")),
        *((name, ctypes.c_void_p) for name in ("dx", "dw_ih", "dw_hh", "db_ih", "db_hh", "dh0", "dc0", "dv0", "dm0")),
    ]


@cache
def _load() -> tuple[Any, str, str]:
    """Return (library or None, its path, why it is not there); MOMENTUMRNN_KERNEL_LIBRARY names another build of it."""
    here, other = Path(__file__).parent, os.environ.get("MOMENTUMRNN_KERNEL_LIBRARY")
    found = [Path(other)] if other else [*sorted(here.glob("_cpu*.so")), *sorted(here.glob("_cpu*.pyd"))]
    if not found:
        reason = "the kernel library was not built: install a C++ compiler (g++ or clang++), then reinstall momentumrnn"
        return None, "", reason
    path = str(found[0])
    try:
        library = ctypes.CDLL(path)
        current = library.mrnn_abi() == _ABI and library.mrnn_args_bytes() == ctypes.sizeof(_Arguments)
    except (OSError, AttributeError) as error:
        return None, path, f"the kernel library cannot be loaded ({error}); reinstall momentumrnn"
    if not current:
        return None, path, "the kernel library was built from other sources than this package; reinstall momentumrnn"
    for name in ("mrnn_forward", "mrnn_backward"):
        getattr(library, name).restype = ctypes.c_int64
        getattr(library, name).argtypes = [ctypes.POINTER(_Arguments)]
    _lend_openmp(library)
    return library, path, ""


def _lend_openmp(library: Any) -> None:
    """Let the kernel run on torch's OpenMP team if torch has one of GNU's; otherwise it starts threads of its own."""
    try:
        process = ctypes.CDLL(None)
        functions = [getattr(process, n) for n in ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads")]
    except (AttributeError, OSError, TypeError):
        return
    library.mrnn_use_openmp(*(ctypes.cast(function, ctypes.c_void_p) for function in functions))


def _isa(dtype: torch.dtype = torch.float32) -> str:
    """Return the instruction set in use: the best one, or what MOMENTUMRNN_ISA asks for; float64 is portable only."""
    library, _, _ = _load()
    if dtype == torch.float64:
        return "generic"
    wanted = os.environ.get("MOMENTUMRNN_ISA")
    if wanted is None:
        best: int = library.mrnn_best_isa()
        return list(_ISAS)[best]
    able = [name for name, number in _ISAS.items() if library.mrnn_has_isa(ctypes.c_int64(number))]
    if wanted not in able:
        raise ValueError(f"MOMENTUMRNN_ISA: got {wanted!r}, this machine allows {', '.join(able)}")
    return wanted


def status() -> dict[str, Any]:
    """Describe the kernel library for `doctor`.

    Returns:
        ``available`` (bool), ``isa`` ("generic", "avx2", "avx512" or None), ``library`` (path or None), ``reason``
        (why not, with the remedy; None when available), ``cost`` (what running without it costs; None when available).
    """
    library, path, reason = _load()
    if library is None:
        return {"available": False, "isa": None, "library": path or None, "reason": reason, "cost": _COST}
    return {"available": True, "isa": _isa(), "library": path, "reason": None, "cost": None}


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
    if dtype not in _DTYPES:
        return f"the kernel computes in float32 or float64, not in {str(dtype).removeprefix('torch.')}"
    if recurrence.name not in _RECURRENCES:
        return f"the kernel has the recurrences {', '.join(_RECURRENCES)}, not {recurrence.name!r}"
    if not (dynamics.linear or isinstance(dynamics, Adam | RMSProp)):
        return f"the kernel has no {type(dynamics).__name__}, only linear dynamics, Adam and RMSProp"
    library, _, reason = _load()
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
        _RECURRENCES[recurrence.name],
        kind,
        _ISAS[_isa(x.dtype)],
        threads,
        parts,
        _chunk(x.shape[0], batch, parts, kind),
    ]
    output, hn, cn, vn, mn, _, _ = _fused_forward(*tensors, lengths, constants, plan, training)
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


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None or tensor.numel() == 0 else tensor.data_ptr()


def _call(name: str, plan: list[int], constants: list[float], shape: tuple[int, ...], **tensors: Tensor | None) -> None:
    library, _, reason = _load()
    if library is None:
        raise RuntimeError(reason)
    recurrence, kind, isa, threads, parts, chunk = plan
    dtype = next(t for t in tensors.values() if t is not None).dtype
    arguments = _Arguments(
        _ABI, isa, _DTYPES[dtype], recurrence, kind, threads, parts, chunk, *shape, *constants
    )  # fmt: skip
    for field, tensor in tensors.items():
        assert tensor is None or tensor.is_contiguous(), field
        setattr(arguments, field, _pointer(tensor))
    code = getattr(library, name)(ctypes.byref(arguments))
    if code:
        problem = {-1: "bad argument", -2: "out of memory", -3: "instruction set not available"}.get(code, str(code))
        raise RuntimeError(f"{name}: {problem} (T, B, D, H = {shape})")


def _dense(*tensors: Tensor | None) -> list[Tensor | None]:
    return [None if t is None else t.detach().contiguous() for t in tensors]


@cache
def _tile(isa: int, dtype: torch.dtype) -> int:
    """Hidden units are padded to this many in what is saved: two vectors."""
    vector_bytes: int = _load()[0].mrnn_vector_bytes(ctypes.c_int64(isa))
    return 2 * vector_bytes // _DTYPES[dtype]


def _allocate(
    x: Tensor, w_hh: Tensor, lengths: Tensor | None, plan: list[int], training: bool, large: Callable[[int], Tensor]
) -> list[Tensor]:
    """Return the outputs of a forward pass; ``large`` makes the flat buffers that only the backward pass reads."""
    recurrence, kind, isa, _, _, chunk = plan
    steps, batch, _ = x.shape
    hidden, gates = w_hh.shape[1], w_hh.shape[0]
    width = _tile(isa, x.dtype)
    padded = -(-hidden // width) * width
    output = x.new_empty(steps, batch, hidden) if lengths is None else x.new_zeros(steps, batch, hidden)
    hn = x.new_empty(batch, hidden)
    cn = x.new_empty(batch, hidden) if recurrence == 0 else x.new_empty(0)
    vn = x.new_empty(batch, gates) if kind == 1 else x.new_empty(0)
    mn = x.new_empty(batch, gates) if kind else x.new_empty(0)
    kept = (5, 5, 1, 1, 1)[recurrence]
    saved = large(steps * batch * padded * kept if training else 0)
    states = (0, 2, 1)[kind] * _GATES[recurrence]
    checkpoints = large(-(-steps // chunk) * batch * padded * states if training else 0)
    return [output, hn, cn, vn, mn, saved, checkpoints]


Seven = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
Nine = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


@torch.library.custom_op("momentumrnn::fused_forward", mutates_args=(), device_types="cpu")
def _fused_forward(
    x: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    h0: Tensor | None,
    c0: Tensor | None,
    v0: Tensor | None,
    m0: Tensor | None,
    lengths: Tensor | None,
    constants: list[float],
    plan: list[int],
    training: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    large = partial(_WORKSPACE.empty, dtype=x.dtype)
    output, hn, cn, vn, mn, saved, checkpoints = _allocate(x, w_hh, lengths, plan, training, large)
    names = ("x", "w_ih", "w_hh", "b_ih", "b_hh", "h0", "c0", "v0", "m0", "lengths")
    inputs = dict(zip(names, _dense(x, w_ih, w_hh, b_ih, b_hh, h0, c0, v0, m0, lengths), strict=True))
    outputs = {"out": output, "hn": hn, "cn": cn, "vn": vn, "mn": mn, "saved": saved, "checkpoints": checkpoints}
    _call("mrnn_forward", plan, constants, (*x.shape, w_hh.shape[1]), **inputs, **outputs)
    return output, hn, cn, vn, mn, saved, checkpoints


@_fused_forward.register_fake
def _(
    x: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    h0: Tensor | None,
    c0: Tensor | None,
    v0: Tensor | None,
    m0: Tensor | None,
    lengths: Tensor | None,
    constants: list[float],
    plan: list[int],
    training: bool,
) -> tuple[Tensor, ...]:
    return tuple(_allocate(x, w_hh, lengths, plan, training, x.new_empty))


@torch.library.custom_op("momentumrnn::fused_backward", mutates_args=(), device_types="cpu")
def _fused_backward(
    x: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    h0: Tensor | None,
    c0: Tensor | None,
    v0: Tensor | None,
    m0: Tensor | None,
    lengths: Tensor | None,
    out: Tensor,
    saved: Tensor,
    checkpoints: Tensor,
    d_out: Tensor | None,
    d_hn: Tensor | None,
    d_cn: Tensor | None,
    d_vn: Tensor | None,
    d_mn: Tensor | None,
    constants: list[float],
    plan: list[int],
    wants_dx: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    gradients = _allocate_gradients(x, w_ih, w_hh, b_ih, b_hh, plan, lengths, wants_dx)
    names = ("x", "w_ih", "w_hh", "b_ih", "b_hh", "h0", "c0", "v0", "m0", "lengths")
    inputs = dict(zip(names, _dense(x, w_ih, w_hh, b_ih, b_hh, h0, c0, v0, m0, lengths), strict=True))
    kept = {"out": out, "saved": saved, "checkpoints": checkpoints}
    incoming_names = ("d_out", "d_hn", "d_cn", "d_vn", "d_mn")
    incoming = dict(zip(incoming_names, _dense(d_out, d_hn, d_cn, d_vn, d_mn), strict=True))
    results = ("dx", "dw_ih", "dw_hh", "db_ih", "db_hh", "dh0", "dc0", "dv0", "dm0")
    outputs = dict(zip(results, gradients, strict=True))
    _call("mrnn_backward", plan, constants, (*x.shape, w_hh.shape[1]), **inputs, **kept, **incoming, **outputs)
    return gradients


def _allocate_gradients(
    x: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    plan: list[int],
    lengths: Tensor | None,
    wants_dx: bool,
) -> Nine:
    """Weight gradients are sums that the kernel adds to, so they start at 0; dx beyond a sequence's end stays 0."""
    recurrence, kind = plan[:2]
    batch, hidden, gates = x.shape[1], w_hh.shape[1], w_hh.shape[0]
    dx = x.new_empty(0) if not wants_dx else x.new_empty(x.shape) if lengths is None else x.new_zeros(x.shape)
    return (
        dx,
        w_ih.new_zeros(w_ih.shape),
        w_hh.new_zeros(w_hh.shape),
        x.new_empty(0) if b_ih is None else b_ih.new_zeros(b_ih.shape),
        x.new_empty(0) if b_hh is None else b_hh.new_zeros(b_hh.shape),
        x.new_empty(batch, hidden),
        x.new_empty(batch, hidden) if recurrence == 0 else x.new_empty(0),
        x.new_empty(batch, gates) if kind == 1 else x.new_empty(0),
        x.new_empty(batch, gates) if kind else x.new_empty(0),
    )


@_fused_backward.register_fake
def _(
    x: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    h0: Tensor | None,
    c0: Tensor | None,
    v0: Tensor | None,
    m0: Tensor | None,
    lengths: Tensor | None,
    out: Tensor,
    saved: Tensor,
    checkpoints: Tensor,
    d_out: Tensor | None,
    d_hn: Tensor | None,
    d_cn: Tensor | None,
    d_vn: Tensor | None,
    d_mn: Tensor | None,
    constants: list[float],
    plan: list[int],
    wants_dx: bool,
) -> tuple[Tensor, ...]:
    return _allocate_gradients(x, w_ih, w_hh, b_ih, b_hh, plan, lengths, wants_dx)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Seven) -> None:
    *tensors, constants, plan, _ = inputs
    ctx.set_materialize_grads(False)  # else a zero gradient as large as all saved activations would be made
    ctx.save_for_backward(*tensors, output[0], output[5], output[6])
    ctx.constants, ctx.plan = constants, plan


def _backward(ctx: Any, d_out: Any, d_hn: Any, d_cn: Any, d_vn: Any, d_mn: Any, *_: Any) -> tuple[Any, ...]:
    wanted = ctx.needs_input_grad
    gradients = _fused_backward(*ctx.saved_tensors, d_out, d_hn, d_cn, d_vn, d_mn, ctx.constants, ctx.plan, wanted[0])
    return (*(g if w else None for g, w in zip(gradients, wanted, strict=False)), None, None, None, None)


_fused_forward.register_autograd(_backward, setup_context=_setup)
