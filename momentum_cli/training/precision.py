"""Number types of a training: the requested or chosen precision, and the scale of a loss in float16."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from lightning_fabric.plugins.precision import Precision

# The largest power of two that float16 has, as torch.amp.GradScaler begins with.
_FIRST = 2.0**16
_LARGEST = 2.0**24
# Finite steps after which a larger scale is tried, as with GradScaler.
_PATIENCE = 2000


def chosen_precision(asked: str, accelerator: str) -> str:
    """Return the precision that ``auto`` means on a device; other precisions are returned unchanged.

    A GPU that computes in bfloat16 trains in ``bf16-mixed``, an older one in ``fp16-mixed``, and a CPU in ``fp32``.

    Args:
        asked: `train.precision` of a recipe.
        accelerator: ``"cpu"`` or ``"cuda"``.
    """
    if asked != "auto":
        return asked
    if accelerator != "cuda":
        return "fp32"
    return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16-mixed"


def fabric_precision(precision: str, accelerator: str) -> Precision:
    """Return Fabric's form of a precision other than ``auto``."""
    from lightning_fabric.plugins.precision import MixedPrecision, Precision

    if precision == "fp32":
        return Precision()
    if precision == "bf16-mixed":
        return MixedPrecision("bf16-mixed", accelerator)
    # `LossScale` in place of torch's scaler, which waits for the device in each step and is not in our checkpoints.
    return MixedPrecision("16-mixed", accelerator, torch.amp.GradScaler(accelerator, enabled=False))


class Scale(Protocol):
    """A factor of the loss before its gradient is taken.

    Attributes:
        tensors: The state, by name.
    """

    tensors: dict[str, Tensor]

    def enlarge(self, loss: Tensor) -> Tensor:
        """Return the loss whose gradient is to be taken."""

    def reduce(self, gradients: Sequence[Tensor]) -> None:
        """Divide gradients by the scale, in place."""

    def follow(self, loss: Tensor, norm: Tensor) -> Tensor:
        """Choose the next scale.

        Args:
            loss, norm: 0-d tensors of a step: the loss before scaling, and the norm of the gradient after `reduce`.

        Returns:
            0-d bool: True if the step was not finite because of the scale, and a smaller one is tried next.
        """

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from `tensors` of an earlier scale, or from the start if there are none."""


class NoScale:
    """The scale 1, for every type with the exponents of float32."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._never = torch.zeros((), dtype=torch.bool)

    def enlarge(self, loss: Tensor) -> Tensor:
        """See `Scale.enlarge`."""
        return loss

    def reduce(self, gradients: Sequence[Tensor]) -> None:
        """See `Scale.reduce`."""

    def follow(self, loss: Tensor, norm: Tensor) -> Tensor:
        """See `Scale.follow`."""
        return self._never

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """See `Scale.restore`."""


class LossScale:
    """A power of two that keeps small gradients from becoming 0 in float16.

    It is halved after a step whose gradient overflowed, and doubled after 2000 finite ones in a row, within [1, 2^24].
    A loss that is not finite says nothing about the scale, nor does a gradient that is not finite at scale 1. Reducing
    by a power of two rounds nothing.

    Args:
        device: Device of the loss.

    Reference: Micikevicius et al., Mixed Precision Training, arXiv 1710.03740, section 3.2.
    """

    def __init__(self, device: torch.device | str) -> None:
        self._device = device
        self.tensors: dict[str, Tensor] = {}
        self.restore({})

    def enlarge(self, loss: Tensor) -> Tensor:
        """See `Scale.enlarge`."""
        return loss * self.tensors["value"]

    def reduce(self, gradients: Sequence[Tensor]) -> None:
        """See `Scale.reduce`."""
        torch._foreach_mul_(list(gradients), 1.0 / self.tensors["value"])

    def follow(self, loss: Tensor, norm: Tensor) -> Tensor:
        """See `Scale.follow`."""
        value, finite = self.tensors["value"], torch.isfinite(norm)
        overflowed = torch.isfinite(loss) & ~finite & (value > 1.0)
        streak = torch.where(finite, self.tensors["streak"] + 1, 0)
        grown = streak >= _PATIENCE
        scaled = torch.where(overflowed, value / 2, torch.where(grown, value * 2, value))
        self.tensors = {"value": scaled.clamp(1.0, _LARGEST), "streak": torch.where(grown, 0, streak)}
        return overflowed

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """See `Scale.restore`."""
        start = {"value": torch.tensor(_FIRST), "streak": torch.tensor(0)} | dict(tensors)
        self.tensors = {name: tensor.to(self._device) for name, tensor in start.items()}


def scale_for(precision: str, device: torch.device) -> Scale:
    """Return the scale of the loss for a precision other than ``auto``."""
    return LossScale(device) if precision == "fp16-mixed" else NoScale()
