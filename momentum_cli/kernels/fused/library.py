"""The C++ library of the CPU kernels: found, loaded by ctypes, and described for `doctor`."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import torch

from momentum_cli.errors import SettingError
from momentum_cli.messages import refuse

ABI = 9
ISAS = {"generic": 0, "avx2": 1, "avx512": 2, "avx512_bf16": 3}
_COST = (
    "linear dynamics run on torch's kernels, adam and rmsprop on a Python loop over time, both slower in training; "
    "steps of ahb-sgd and ahb-adam take longer"
)


class Arguments(ctypes.Structure):
    """`mrnn_args` of kernels/cpu/momentum_rnn.h, field by field."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("abi", "isa", "real_bytes", "recurrence", "dynamics", "threads")),
        *((name, ctypes.c_int64) for name in ("parts", "chunk", "steps", "batch", "input", "hidden")),
        ("folded", ctypes.c_int64),
        *((name, ctypes.c_double) for name in ("momentum", "step_size", "beta2", "eps")),
        *((name, ctypes.c_void_p) for name in ("x", "w_ih", "w_hh", "b_ih", "b_hh", "h0", "c0", "v0", "m0", "lengths")),
        *((name, ctypes.c_void_p) for name in ("out", "hn", "cn", "vn", "mn", "saved", "checkpoints")),
        *((name, ctypes.c_void_p) for name in ("d_out", "d_hn", "d_cn", "d_vn", "d_mn")),
        *((name, ctypes.c_void_p) for name in ("dx", "dw_ih", "dw_hh", "db_ih", "db_hh", "dh0", "dc0", "dv0", "dm0")),
        ("packed", ctypes.c_void_p),
    ]


class Scan(ctypes.Structure):
    """`mrnn_scan` of kernels/cpu/momentum_rnn.h, field by field."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("real_bytes", "threads", "steps", "batch", "channels", "constant")),
        *((name, ctypes.c_int64) for name in ("backward", "decay_steps", "decay_columns")),
        ("gain", ctypes.c_double),
        *((name, ctypes.c_void_p) for name in ("decays", "x", "start", "out")),
    ]


class Stage(ctypes.Structure):
    """`mrnn_stage` of kernels/cpu/momentum_rnn.h, field by field."""

    _fields_ = [
        ("layer", Arguments),
        ("input", ctypes.c_void_p),
        ("filter", Scan),
    ]


@cache
def load() -> tuple[Any, str, str]:
    """Return (library or None, its path, reason if None); MOMENTUMRNN_KERNEL_LIBRARY names another build of it."""
    here, other = Path(__file__).parents[1], os.environ.get("MOMENTUMRNN_KERNEL_LIBRARY")
    built = (path for path in here.glob("_cpu*") if path.suffix in (".so", ".pyd"))
    # The newest, because a source tree may hold an old build under another name.
    found = [Path(other)] if other else sorted(built, key=lambda path: path.stat().st_mtime, reverse=True)
    if not found:
        reason = "the kernel library was not built: install a C++ compiler (g++ or clang++), then reinstall momentumrnn"
        return None, "", reason
    path = str(found[0])
    try:
        library = ctypes.CDLL(path)
        sizes = (library.mrnn_args_bytes(), library.mrnn_stage_bytes())
        current = library.mrnn_abi() == ABI and sizes == (ctypes.sizeof(Arguments), ctypes.sizeof(Stage))
    except (OSError, AttributeError) as error:
        return None, path, f"the kernel library cannot be loaded ({error}); reinstall momentumrnn"
    if not current:
        return None, path, "the kernel library was built from other sources than this package; reinstall momentumrnn"
    for name in ("forward", "backward", "saved_size", "checkpoints_size", "packed_bytes", "pack"):
        function = getattr(library, f"mrnn_{name}")
        function.restype, function.argtypes = ctypes.c_int64, [ctypes.POINTER(Arguments)]
    library.mrnn_update_all.restype = ctypes.c_int64
    library.mrnn_scan_all.restype = ctypes.c_int64
    library.mrnn_scan_all.argtypes = [ctypes.POINTER(Scan)]
    library.mrnn_stream.restype = ctypes.c_int64
    library.mrnn_stream.argtypes = [ctypes.POINTER(Stage), ctypes.c_int64]
    _lend_openmp(library)
    return library, path, ""


def _lend_openmp(library: Any) -> None:
    """Let the kernel use torch's OpenMP threads if torch has GNU's runtime; otherwise it starts its own threads."""
    try:
        process = ctypes.CDLL(None)
        functions = [getattr(process, n) for n in ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads")]
    except (AttributeError, OSError, TypeError):
        return
    library.mrnn_use_openmp(*(ctypes.cast(function, ctypes.c_void_p) for function in functions))


_Function = TypeVar("_Function", bound=Callable[..., object])


def constant_when_compiled(function: _Function) -> _Function:
    """Let torch.compile take the result of a function as a constant.

    This is `torch.compiler.assume_constant_result`, which would import the compiler: two seconds at every start.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


@constant_when_compiled
def why_missing() -> str | None:
    """Return None if the library is loaded, else the reason; torch.compile takes the answer as a constant."""
    library, _, reason = load()
    return reason if library is None else None


@constant_when_compiled
def chosen_isa(dtype: torch.dtype = torch.float32, hidden_size: int = 0) -> str:
    """Return the instruction set in use: the best one, or the one that MOMENTUMRNN_ISA names.

    The best one is that of the longest vectors, unless a layer would be mostly padding: its units are padded to two of
    them.

    float64 has portable kernels only. bfloat16 has kernels for AVX512_BF16, and portable ones, slow and for tests,
    which only MOMENTUMRNN_ISA=generic selects.

    Args:
        dtype: Dtype of the input.
        hidden_size: Of a layer; 0 for other work.

    Raises:
        SettingError: MOMENTUMRNN_ISA names an instruction set that this machine lacks.
        RuntimeError: This machine has no kernels for bfloat16; see `why_no_bfloat16`.
    """
    if dtype == torch.float64:
        return "generic"
    wanted = os.environ.get("MOMENTUMRNN_ISA")
    if dtype == torch.bfloat16:
        if (reason := why_no_bfloat16()) is not None:
            raise RuntimeError(reason)
        return "generic" if wanted == "generic" else "avx512_bf16"
    if wanted is None:
        best: int = load()[0].mrnn_best_isa(ctypes.c_int64(hidden_size))
        return list(ISAS)[best]
    able = [name for name in ("generic", "avx2", "avx512") if _has(name)]
    if wanted not in able:
        raise SettingError(refuse("MOMENTUMRNN_ISA", wanted, f"be one of {', '.join(able)} on this machine"))
    return wanted


def _has(isa: str) -> bool:
    return bool(load()[0].mrnn_has_isa(ctypes.c_int64(ISAS[isa])))


@constant_when_compiled
def why_no_bfloat16() -> str | None:
    """Return None if there are kernels that multiply in bfloat16, else the reason."""
    library, _, reason = load()
    if library is None:
        return reason
    wanted = os.environ.get("MOMENTUMRNN_ISA")
    if wanted == "avx2":
        return f"MOMENTUMRNN_ISA={wanted} has no products of bfloat16"
    return None if wanted == "generic" or _has("avx512_bf16") else "this processor has no AVX512_BF16"


def status() -> dict[str, Any]:
    """Describe the kernel library for `doctor`.

    Returns:
        ``available`` (bool), ``isa`` ("generic", "avx2", "avx512" or None), ``library`` (path or None), ``reason``
        (why not, with the remedy; None when available), ``cost`` (of running without it; None when available),
        ``bfloat16`` (how layers in bfloat16 and under autocast are computed; None when not available).
    """
    library, path, reason = load()
    if library is None:
        return {
            "available": False,
            "isa": None,
            "library": path or None,
            "reason": reason,
            "cost": _COST,
            "bfloat16": None,
        }
    why_not = why_no_bfloat16()
    narrow = f"computed in float32: {why_not}" if why_not else "lstm and gru multiply in bfloat16, others in float32"
    return {"available": True, "isa": chosen_isa(), "library": path, "reason": None, "cost": None, "bfloat16": narrow}
