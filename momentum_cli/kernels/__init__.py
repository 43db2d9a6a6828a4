"""Backends: several implementations of one signature, a file or folder each.

``run`` computes one layer in one direction, ``supports`` says why it cannot. Directions, stacking, packing and dropout
are the business of `momentum_cli.layers`.

Axes: T time, B batch, D input, H hidden, G gates * H.
"""

from __future__ import annotations

import torch
from torch.autograd import forward_ad

from momentum_cli.kernels import native, reference
from momentum_cli.kernels.backend import Backend, Work
from momentum_cli.kernels.fused import run as fused
from momentum_cli.kernels.triton import run as triton

BACKENDS: dict[str, Backend] = {"reference": reference, "native": native, "fused": fused, "triton": triton}


def choose(work: Work, shape: tuple[int, int, int], training: bool) -> str:
    """Return the name of the fastest backend for this work, from measured crossovers (docs/performance.md).

    On the CPU `fused` or, where that does not pay, `native`. On CUDA, where nothing has been measured, `native` (cuDNN)
    for linear dynamics and `triton` for what cuDNN cannot run. Within a transform of torch.func and in forward mode
    `reference`, which alone has every derivative.

    Args:
        work: What is to run.
        shape: (T, B, D) of the input.
        training: True when gradients are wanted.

    Returns:
        A key of `BACKENDS`. The reference loop serves everything, so there always is one.
    """
    if transformed():
        return "reference"
    native_can = native.supports(work) is None
    if fused.supports(work) is None and (not native_can or fused.worthwhile(work, shape, training)):
        return "fused"
    if native_can:
        return "native"
    # Elsewhere Triton only interprets its kernels, to test them.
    if work.device.type == "cuda" and triton.supports(work) is None:
        return "triton"
    return "reference"


def transformed() -> bool:
    """Return whether a transform of torch.func (grad, jvp, vmap, …) or forward-mode differentiation is at work."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def require(name: str, work: Work) -> Backend:
    """Return the backend that was asked for by name.

    Raises:
        ValueError: It cannot run this; the message says why and which ones can.
    """
    backend = BACKENDS[name]
    reason = backend.supports(work)
    if reason is None and backend is not reference and transformed():
        raise ValueError(
            f"backend {name!r} has no transforms of torch.func and no forward-mode derivatives; give the layer "
            "backend='reference' or 'auto'"
        )
    if reason is not None:
        able = [other for other, it in BACKENDS.items() if it.supports(work) is None]
        raise ValueError(f"backend {name!r} cannot run this: {reason}; these can: {', '.join(able)} (or 'auto')")
    return backend
