"""Preparation of raw values as inputs of a model, inside its TorchScript file.

Axes: B batch, T time, D channels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from momentum_cli.data.files.made import made_inputs


class PixelPreparation(nn.Module):
    """Images to sequences of pixels.

    Args:
        preprocessing: The ``preprocessing`` of a data set.
    """

    def __init__(self, preprocessing: dict[str, Any]) -> None:
        super().__init__()
        order = preprocessing["permutation"]
        self.register_buffer("permutation", torch.tensor(order or [], dtype=torch.int64), persistent=False)
        self.scale = float(preprocessing["scale"])
        self.pixels_per_step = int(preprocessing["pixels_per_step"])

    def forward(self, raw: Tensor) -> Tensor:
        """Return (B, T, D) for raw images (B, height, width) of any dtype."""
        flat = raw.reshape(raw.size(0), -1)
        if self.permutation.numel() > 0:  # type: ignore[operator]
            flat = flat.index_select(1, self.permutation)  # type: ignore[arg-type]
        return (flat.float() * self.scale).view(raw.size(0), -1, self.pixels_per_step)


class ColumnPreparation(nn.Module):
    """Columns in their original units to scaled ones.

    Args:
        preprocessing: The ``preprocessing`` of a data set.
    """

    def __init__(self, preprocessing: dict[str, Any]) -> None:
        super().__init__()
        for name, values in preprocessing["scaling"].items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.float64), persistent=False)

    def forward(self, raw: Tensor) -> Tensor:
        """Return (B, T, D) for raw columns (B, T, D) in the order of ``features``; NaN stands for a missing value."""
        # In float64, as in training: a large offset, such as a pressure's, would cost the digits that matter.
        values = raw.double()
        filled = torch.where(torch.isnan(values), self.fill, values)  # type: ignore[arg-type]
        return ((filled - self.offset) / self.scale).float()  # type: ignore[operator]


class NoPreparation(nn.Module):
    """Inputs that a model takes as they are.

    Args:
        preprocessing: The ``preprocessing`` of a data set.
    """

    def __init__(self, preprocessing: dict[str, Any]) -> None:
        super().__init__()

    def forward(self, raw: Tensor) -> Tensor:
        """Return `raw` in float32."""
        return raw.float()


class UnknownPreparation(NoPreparation):
    """Preparation that takes more than arithmetic on tensors, such as that of recordings or texts."""

    def forward(self, raw: Tensor) -> Tensor:
        """Refuse."""
        raise ValueError("prepare: this file cannot; `preprocessing` in its description says how to make the inputs")


_BY_KIND: dict[str, type[PixelPreparation | ColumnPreparation | NoPreparation]] = {
    "pixels": PixelPreparation,
    "files": ColumnPreparation,
    "none": NoPreparation,
}


def scripted_preparation(preprocessing: dict[str, Any]) -> nn.Module:
    """Return the module that makes the inputs of a model from raw values.

    Args:
        preprocessing: The ``preprocessing`` of a data set, see `momentum_cli.data.Dataset`.
    """
    kind = preprocessing.get("kind", "none")
    known = kind != "files" or not made_inputs(preprocessing)
    return (_BY_KIND.get(kind, UnknownPreparation) if known else UnknownPreparation)(preprocessing)
