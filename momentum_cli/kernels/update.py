"""Steps of an optimizer by the C++ library: one pass over memory where torch's calls make two or three.

The library serves contiguous float32 tensors on the CPU; `serves` tells.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import torch
from torch import Tensor

from momentum_cli.kernels import cpu_library

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
    """Return whether the library is there and can take these tensors."""
    return cpu_library.load()[0] is not None and all(
        tensor.is_cpu and tensor.dtype is torch.float32 and tensor.is_contiguous()
        for tensors in lists
        for tensor in tensors
    )


def replace_previous_(previous: list[Tensor], gradients: list[Tensor]) -> list[Tensor]:
    """Replace each of `previous` by its gradient.

    Returns:
        ‖gradient - previous‖ of each, 0-d float32 tensors.
    """
    return _run(_REPLACE_PREVIOUS, gradients, {"previous": _addresses(previous)})


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
    arrays = {"parameter": _addresses(parameters), "momentum": _addresses(momentum)}
    return _run(_HEAVY_BALL, gradients, {**arrays, "factor": factors, "lr": lr, "decay": decay})


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
    return _run(_ADAPTIVE, gradients, {**{name: _addresses(those) for name, those in arrays.items()}, **numbers})


def _run(what: int, gradients: list[Tensor], fields: dict[str, Any]) -> list[Tensor]:
    library, _, _ = cpu_library.load()
    isa = cpu_library.ISAS[cpu_library.chosen_isa()]
    updates = np.zeros(len(gradients), dtype=_UPDATE)
    for name, value in fields.items():
        updates[name] = value
    updates["gradient"] = _addresses(gradients)
    updates["size"] = [gradient.numel() for gradient in gradients]
    numbers = [ctypes.c_int64(number) for number in (isa, what, torch.get_num_threads(), len(updates))]
    code = library.mrnn_update_all(*numbers, ctypes.c_void_p(updates.ctypes.data))
    if code != 0:
        raise RuntimeError(f"the kernel library refused an optimizer step (code {code}); please report this")
    return list(torch.from_numpy(updates["norm"].astype(np.float32)).unbind())


def _addresses(tensors: list[Tensor]) -> list[int]:
    return [tensor.data_ptr() for tensor in tensors]
