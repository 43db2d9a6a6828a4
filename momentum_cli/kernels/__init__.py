"""Backends: several implementations of one signature, a file each.

``run`` computes one layer in one direction, ``supports`` says why it cannot. Directions, stacking, packing and dropout
are the business of `momentum_cli.layers.lstm_gru_rnn`.

Axes: T time, B batch, D input, H hidden, G gates * H.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from momentum_cli.dynamics.protocol import Dynamics
from momentum_cli.kernels import fused, native, reference, triton
from momentum_cli.kernels.weights import State, Weights
from momentum_cli.kernels.work import Work
from momentum_cli.recurrence.protocol import Recurrence

__all__ = ["BACKENDS", "Backend", "State", "Weights", "Work", "choose", "require"]


class Backend(Protocol):
    """What each file of this package offers."""

    def supports(self, work: Work) -> str | None:
        """Return None if the backend can run this, else the reason why not."""
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


def choose(work: Work, shape: tuple[int, int, int], training: bool) -> str:
    """Return the name of the fastest backend for this work, from measured crossovers (docs/performance.md).

    On the CPU `fused` or, where that does not pay, `native`. On CUDA, where nothing has been measured, `native` (cuDNN)
    for linear dynamics and `triton` for what cuDNN cannot run.

    Args:
        work: What is to run.
        shape: (T, B, D) of the input.
        training: True when gradients are wanted.

    Returns:
        A key of `BACKENDS`. The reference loop serves everything, so there always is one.
    """
    native_can = native.supports(work) is None
    if fused.supports(work) is None and (not native_can or fused.worthwhile(work, shape, training)):
        return "fused"
    if native_can:
        return "native"
    # Elsewhere Triton only interprets its kernels, to test them.
    if work.device.type == "cuda" and triton.supports(work) is None:
        return "triton"
    return "reference"


def require(name: str, work: Work) -> Backend:
    """Return the backend that was asked for by name.

    Raises:
        ValueError: It cannot run this; the message says why and which ones can.
    """
    backend = BACKENDS[name]
    reason = backend.supports(work)
    if reason is not None:
        able = [other for other, it in BACKENDS.items() if it.supports(work) is None]
        raise ValueError(f"backend {name!r} cannot run this: {reason}; these can: {', '.join(able)} (or 'auto')")
    return backend
