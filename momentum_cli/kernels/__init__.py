"""Backends: several implementations of one signature, each in its own file or folder.

``run`` computes one layer in one direction; ``supports`` gives the reason if it cannot. `momentum_cli.layers` does
directions, stacking, packing and dropout.

Axes: T time, B batch, D input, H hidden, G gates * H.
"""

from __future__ import annotations

import torch

from momentum_cli.kernels import native, reference
from momentum_cli.kernels.backend import Backend, Work
from momentum_cli.kernels.eager import transformed
from momentum_cli.kernels.fused import run as fused
from momentum_cli.kernels.triton import run as triton

BACKENDS: dict[str, Backend] = {"reference": reference, "native": native, "fused": fused, "triton": triton}


def choose(work: Work, shape: tuple[int, int, int], training: bool) -> str:
    """Return the name of the fastest backend for this work, from measured crossovers (docs/performance.md).

    On the CPU `fused` or, where that does not pay, `native`, and for one step of a large LSTM `reference`. On CUDA,
    which has not been measured, `native` (cuDNN) for linear dynamics and `triton` for what cuDNN cannot run. Inside a
    transform of torch.func and in forward mode `reference`, which alone has every derivative, and on ``meta``, where
    nothing is computed. While torch.compile or torch.export traces, `fused` wherever it can: torch's kernels would
    break the graph, and the choice must not depend on sizes that are free.

    Args:
        work: The layer to run.
        shape: (T, B, D) of the input.
        training: True if gradients are needed.

    Returns:
        A key of `BACKENDS`; there is always one, because the reference loop runs everything.
    """
    if transformed() or work.device.type == "meta":
        return "reference"
    if not torch.compiler.is_compiling() and reference.worthwhile(work, shape, training):
        return "reference"
    native_can = native.supports(work) is None
    if fused.supports(work) is None:
        alone = not native_can or torch.compiler.is_compiling()
        if alone or fused.worthwhile(work, shape, training):
            return "fused"
    if native_can:
        return "native"
    # On other devices Triton only interprets its kernels, for tests.
    if work.device.type == "cuda" and triton.supports(work) is None:
        return "triton"
    return "reference"


def require(name: str, work: Work) -> Backend:
    """Return the backend with this name.

    Raises:
        ValueError: It cannot run ``work``; the message says why, and names those that can.
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


def check_environment() -> None:
    """Refuse a wrong environment variable before the first layer meets it.

    Raises:
        SettingError: MOMENTUMRNN_ISA or MOMENTUMRNN_TRITON names no kernels of this machine.
    """
    for backend in (fused, triton):
        backend.status()
