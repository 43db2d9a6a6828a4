"""Initial values of the parameters of LSTM, GRU and RNN.

Axes: H hidden, G gates * H.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Protocol

import torch
from torch import nn

from momentum_cli.messages import refuse


class _Layer(Protocol):
    hidden_size: int

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]: ...


def initialize(layer: _Layer, init: str, forget_gate: int | None, forget_bias: float | None) -> None:
    """Initialise in place, see `RecurrentLayer.reset_parameters`.

    Args:
        layer: Its parameters are named as in `torch.nn.LSTM`.
        init: ``"torch"`` or ``"paper"``.
        forget_gate: Number of the gate whose biases are the forget bias, or None if there is none.
        forget_bias: Its value, or None.

    Raises:
        ValueError: ``init`` is unknown, or a forget bias was given to a layer without a forget gate or bias.
    """
    if init not in ("torch", "paper"):
        raise ValueError(refuse("init", init, "be 'torch' or 'paper'"))
    if forget_bias is not None and forget_gate is None:
        raise ValueError(refuse("forget_bias", forget_bias, "be None: the layer has no forget gate with a bias"))
    if init == "paper" and forget_bias is None and forget_gate is not None:
        forget_bias = 1.0
    bound = 1.0 / math.sqrt(layer.hidden_size)
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if init == "torch":
                nn.init.uniform_(parameter, -bound, bound)
            elif name.startswith(("weight_ih", "weight_hr")):
                nn.init.orthogonal_(parameter)
            elif name.startswith("weight_hh"):
                nn.init.eye_(parameter)
            else:
                nn.init.zeros_(parameter)
            if forget_bias is not None and forget_gate is not None and name.startswith("bias"):
                parameter[forget_gate * layer.hidden_size : (forget_gate + 1) * layer.hidden_size] = forget_bias
