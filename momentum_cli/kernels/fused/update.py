"""Optimizer steps by the C++ library: one pass over memory instead of two or three by torch's calls.

The library takes contiguous float32 tensors on the CPU; `serves` checks.
"""

from __future__ import annotations

import ctypes
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from momentum_cli.kernels.fused import library

_REPLACE_PREVIOUS, _HEAVY_BALL, _ADAPTIVE = 0, 1, 2

# `mrnn_update` of kernels/cpu/momentum_rnn.h, field by field.
_UPDATE = np.dtype(
    [
        ("size", np.int64),
        *((name, np.uint64) for name in ("parameter", "momentum", "square", "previous", "gradient")),
        *((name, np.float32) for name in ("lr", "decay", "factor", "beta2", "root_factor", "eps")),
        ("norm", np.float64),
    ]
)


def serves(*lists: list[Tensor]) -> bool:
    """Return True if the library is available and can take these tensors.

    Args:
        lists: Lists of the same length; tensors at the same index are processed together.
    """
    return (
        library.load()[0] is not None
        and all(tensor.shape == same[0].shape for same in zip(*lists, strict=True) for tensor in same)
        and all(_plain(tensor) for tensors in lists for tensor in tensors)
        and _apart([tensor for tensors in lists for tensor in tensors])
    )


def _apart(tensors: list[Tensor]) -> bool:
    """Return True if no two tensors share memory, which two threads would write."""
    spans = sorted((tensor.data_ptr(), tensor.data_ptr() + tensor.nbytes) for tensor in tensors if tensor.numel())
    return all(one[1] <= other[0] for one, other in pairwise(spans))


def _plain(tensor: Tensor) -> bool:
    """Return True if the memory of a tensor holds its values in order."""
    return (
        tensor.is_cpu
        and tensor.dtype is torch.float32
        and tensor.is_contiguous()
        and not tensor.is_neg()
        and (tensor.numel() == 0 or tensor.data_ptr() != 0)
    )


def replace_previous_(previous: list[Tensor], gradients: list[Tensor]) -> list[Tensor]:
    """Replace each of `previous` by its gradient.

    Returns:
        ‖gradient - previous‖ of each, 0-d float32 tensors.
    """
    return _run(_REPLACE_PREVIOUS, gradients, {"previous": previous}, {})


def heavy_ball_(
    parameters: list[Tensor],
    momentum: list[Tensor],
    gradients: list[Tensor],
    factors: list[float],
    lr: float,
    decay: float = 0.0,
) -> list[Tensor]:
    """Replace each momentum by factor * momentum + gradient, then subtract lr * u from the parameter.

    u is the momentum plus decay * parameter.

    Returns:
        ‖u‖ of each, 0-d float32 tensors.
    """
    arrays = {"parameter": parameters, "momentum": momentum}
    return _run(_HEAVY_BALL, gradients, arrays, {"factor": factors, "lr": lr, "decay": decay})


def adaptive_(
    parameters: list[Tensor],
    averages: list[Tensor],
    squares: list[Tensor],
    gradients: list[Tensor],
    factors: list[float],
    lr: float,
    *,
    beta2: float,
    root_factor: float,
    eps: float,
    decay: float = 0.0,
) -> list[Tensor]:
    """Replace both running averages, of gradients and of their squares, then subtract lr * u from the parameter.

    u is average / (root_factor * sqrt(square) + eps) + decay * parameter; the average forgets by its factor, the square
    by beta2.

    Returns:
        ‖u‖ of each, 0-d float32 tensors.
    """
    arrays = {"parameter": parameters, "momentum": averages, "square": squares}
    numbers = {"factor": factors, "lr": lr, "beta2": beta2, "root_factor": root_factor, "eps": eps, "decay": decay}
    return _run(_ADAPTIVE, gradients, arrays, numbers)


def _run(what: int, gradients: list[Tensor], arrays: dict[str, list[Tensor]], numbers: dict[str, Any]) -> list[Tensor]:
    loaded, _, _ = library.load()
    isa = library.ISAS[library.chosen_isa()]
    updates = np.zeros(len(gradients), dtype=_UPDATE)
    for name, tensors in {**arrays, "gradient": gradients}.items():
        updates[name] = [tensor.data_ptr() for tensor in tensors]
    for name, number in numbers.items():
        updates[name] = number
    updates["size"] = [gradient.numel() for gradient in gradients]
    options = [ctypes.c_int64(number) for number in (isa, what, torch.get_num_threads(), len(updates))]
    code = loaded.mrnn_update_all(*options, ctypes.c_void_p(updates.ctypes.data))
    if code != 0:
        raise RuntimeError(f"the kernel library refused an optimizer step (code {code}); please report this")
    # By its version autograd knows that a tensor kept for a backward pass has changed.
    torch.autograd.graph.increment_version([tensor for tensors in arrays.values() for tensor in tensors])
    return list(torch.from_numpy(updates["norm"].astype(np.float32)).unbind())
