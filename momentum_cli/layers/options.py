"""Types of the keyword arguments that the constructors of layers share."""

from __future__ import annotations

from typing import TypedDict

import torch


class CommonOptions(TypedDict, total=False):
    """Keyword arguments of every layer; described in `LSTM`."""

    batch_first: bool
    dropout: float
    bidirectional: bool
    backend: str
    device: torch.device | str | None
    dtype: torch.dtype | None
