"""Backends: several implementations of one signature, a file each.

``run`` computes one layer in one direction, ``supports`` says why it cannot. Directions, stacking, packing and dropout
are the business of `momentum_cli.layers`.

Axes: T time, B batch, D input, H hidden, G gates * H.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from momentum_cli.dynamics import Dynamics
from momentum_cli.kernels import fused, native, reference, triton
from momentum_cli.kernels.weights import State, Weights
from momentum_cli.recurrence import Recurrence

__all__ = ["BACKENDS", "Backend", "State", "Weights", "choose", "require"]


class Backend(Protocol):
    """What each file of this package offers."""

    def supports(
        self,
        recurrence: Recurrence,
        dynamics: Dynamics,
        device: torch.device,
        dtype: torch.dtype,
        hidden_size: int | None = None,
    ) -> str | None:
        """Return None if the backend can run this, else the reason why not; without a hidden size for a small one."""
        ...

    def run(
        self,
        recurrence: Recurrence,
        dynamics: Dynamics,
        x: Tensor,
        weights: Weights,
        state: State,
        drive: State | None,
        lengths: Tensor | None,
    ) -> tuple[Tensor, State, State]:
        """Run one layer in one direction.

        Args:
            recurrence: The sequential part.
            dynamics: The filter in front of it.
            x: (T, B, D) input.
            weights: Parameters of the layer.
            state: Recurrent tensors before the first step, each (B, H).
            drive: State of the dynamics before the first step, or None at the start of the sequence. For linear
                dynamics in input space: ``y (B, D + 1)``, whose last channel is the filtered constant 1 that stands
                for the input bias (left out without bias), and ``k (B,)`` where there is one. Otherwise in gate
                space, (B, G) each.
            lengths: (B,) int64 valid steps on the CPU, or None for T.

        Returns:
            output (T, B, H), 0 beyond a sequence's length; the recurrent state and the state of the dynamics after
            each sequence's own last step.
        """
        ...


BACKENDS: dict[str, Backend] = {"reference": reference, "native": native, "fused": fused, "triton": triton}


def choose(
    recurrence: Recurrence,
    dynamics: Dynamics,
    shape: tuple[int, int, int],
    hidden_size: int,
    device: torch.device,
    dtype: torch.dtype,
    training: bool,
) -> str:
    """Return the name of the fastest backend for this work, from measured crossovers (docs/performance.md).

    On the CPU `fused` or, where that does not pay, `native`. On CUDA, where nothing has been measured, `native` (cuDNN)
    for linear dynamics and `triton` for what cuDNN cannot run.

    Args:
        recurrence: The sequential part.
        dynamics: The filter in front of it.
        shape: (T, B, D) of the input.
        hidden_size: H.
        device: Where the input is.
        dtype: Of the computation.
        training: True when gradients are wanted.

    Returns:
        A key of `BACKENDS`. The reference loop serves everything, so there always is one.
    """
    if fused.supports(recurrence, dynamics, device, dtype) is None and (
        native.supports(recurrence, dynamics, device, dtype) is not None
        or fused.worthwhile(recurrence, dynamics, shape, hidden_size, training)
    ):
        return "fused"
    if native.supports(recurrence, dynamics, device, dtype) is None:
        return "native"
    # Elsewhere Triton only interprets its kernels, to test them.
    if device.type == "cuda" and triton.supports(recurrence, dynamics, device, dtype, hidden_size) is None:
        return "triton"
    return "reference"


def require(
    name: str,
    recurrence: Recurrence,
    dynamics: Dynamics,
    hidden_size: int,
    device: torch.device,
    dtype: torch.dtype,
) -> Backend:
    """Return the backend that was asked for by name.

    Raises:
        ValueError: It cannot run this; the message says why and which ones can.
    """
    work = (recurrence, dynamics, device, dtype, hidden_size)
    backend = BACKENDS[name]
    reason = backend.supports(*work)
    if reason is not None:
        able = [other for other, it in BACKENDS.items() if it.supports(*work) is None]
        raise ValueError(f"backend {name!r} cannot run this: {reason}; these can: {', '.join(able)} (or 'auto')")
    return backend
