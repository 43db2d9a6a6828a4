"""The parameters of one layer in one direction, as every backend takes them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

State = tuple[Tensor, ...]


class Weights(NamedTuple):
    """Axes: D input, H hidden, G gates * H. Names and layouts of `torch.nn.LSTM`."""

    w_ih: Tensor  # (G, D)
    w_hh: Tensor  # (G, H)
    b_ih: Tensor | None  # (G,)
    b_hh: Tensor | None  # (G,)

    def extended(self) -> Tensor:
        """Return ``[w_ih, b_ih]`` (G, D + 1): the projection of an input whose last channel is the constant 1."""
        return self.w_ih if self.b_ih is None else torch.cat((self.w_ih, self.b_ih.unsqueeze(1)), 1)
