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

_REPLACE_PREVIOUS, _HEAVY_BALL = 0, 1

# `mrnn_update` of kernels/cpu/momentum_rnn.h, field by field.
_UPDATE = np.dtype(
    [
        ("size", np.int64),
        *((name, np.uint64) for name in ("parameter", "momentum", "previous", "gradient")),
        ("factor", np.float32),
        ("lr", np.float32),
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
    parameters: list[Tensor], momentum: list[Tensor], gradients: list[Tensor], factors: list[float], lr: float
) -> list[Tensor]:
    """Replace each momentum by factor * momentum + gradient, then subtract lr * momentum from the parameter.

    Returns:
        ‖momentum‖ of each, 0-d float32 tensors.
    """
    own = {"parameter": _addresses(parameters), "momentum": _addresses(momentum), "factor": factors, "lr": lr}
    return _run(_HEAVY_BALL, gradients, own)


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
