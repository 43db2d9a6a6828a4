"""Elman recurrences: tanh and relu."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import linear

from momentum_cli.dynamics.state import State
from momentum_cli.recurrence.protocol import Recurrence


def rnn_tanh_step(d: Tensor, state: State, weight_hh: Tensor, bias_hh: Tensor | None) -> tuple[Tensor]:
    """Advance an Elman RNN: ``h' = tanh(d + W_hh h + b_hh)``; d and h (B, H), weight_hh (H, H). As `torch.nn.RNN`."""
    return (torch.tanh(d + linear(state[0], weight_hh, bias_hh)),)


def rnn_relu_step(d: Tensor, state: State, weight_hh: Tensor, bias_hh: Tensor | None) -> tuple[Tensor]:
    """Advance an Elman RNN: ``h' = relu(d + W_hh h + b_hh)``; d and h (B, H), weight_hh (H, H). As `torch.nn.RNN`."""
    return (torch.relu(d + linear(state[0], weight_hh, bias_hh)),)


RNN = Recurrence("rnn", 1, ("h",), rnn_tanh_step, "h' = tanh(d + W_hh h + b_hh)", torch_kernel="rnn_tanh", kernel="rnn")
RNN_RELU = Recurrence(
    "rnn_relu", 1, ("h",), rnn_relu_step, "h' = relu(d + W_hh h + b_hh)", torch_kernel="rnn_relu", kernel="rnn_relu"
)
