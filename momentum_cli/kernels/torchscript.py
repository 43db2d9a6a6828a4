"""Filter, torch's kernels and traced functions for TorchScript, as `momentum_cli.layers.torchscript` needs them.

Axes: T time, B batch, C channels, D input, H hidden, G gates * H.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.jit._trace import TracerWarning


def filter_blocks(decay: Tensor, x: Tensor, start: Tensor) -> Tensor:
    """Return ``v`` with ``v_t = decay_t v_{t-1} + x_t``, block by block.

    Args:
        decay: (T, 1) or (T, B) float64, each in [0, 1).
        x: (T, B, C).
        start: (B, C) value before the first step.

    Returns:
        (T, B, C).
    """
    rows = 32  # T / 32 iterations, each a product with a triangular matrix that is cheap to build
    outputs: list[Tensor] = []
    value = start
    at = 0
    while at < x.size(0):
        block = x[at : at + rows]
        factor = decay[at : at + rows]
        row = torch.arange(block.size(0), device=x.device)
        later = (row.unsqueeze(1) > row.unsqueeze(0)).unsqueeze(2)
        not_earlier = (row.unsqueeze(1) >= row.unsqueeze(0)).unsqueeze(2)
        # A running product, because decays may be 0.
        products = torch.where(later, factor.unsqueeze(1), torch.ones_like(factor).unsqueeze(1)).cumprod(0)
        products = (products * not_earlier).to(x.dtype)
        if factor.size(1) == 1:
            inner = torch.matmul(products.squeeze(2), block.reshape(block.size(0), -1)).view_as(block)
        else:
            inner = torch.einsum("ijb,jbc->ibc", products, block)
        inner = torch.addcmul(inner, factor.cumprod(0).to(x.dtype).unsqueeze(2), value.unsqueeze(0))
        value = inner[-1]
        outputs.append(inner)
        at += rows
    return torch.cat(outputs)


def run_native(
    kernel: str, y: Tensor, weights: list[Tensor], biases: bool, state: list[Tensor], lengths: Tensor | None
) -> tuple[Tensor, list[Tensor]]:
    """Run torch's own kernel on a filtered input.

    Args:
        kernel: `Recurrence.torch_kernel`.
        y: (T, B, D).
        weights: ``weight_ih (G, D), weight_hh (G, H)``, with biases both of them (G,), with a projection
            ``weight_hr (P, H)``.
        biases: True with biases.
        state: Recurrent tensors (B, H).
        lengths: (B,) int64 on the CPU, or None.

    Returns:
        (T, B, H), 0 beyond the end of each sequence, and the recurrent tensors at each sequence's end.
    """
    first = [s.unsqueeze(0) for s in state]
    train = torch.is_grad_enabled()
    last: list[Tensor] = []
    if lengths is None:
        if kernel == "lstm":
            output, h, c = torch.lstm(y, first, weights, biases, 1, 0.0, train, False, False)
            last.append(c)
        elif kernel == "gru":
            output, h = torch.gru(y, first[0], weights, biases, 1, 0.0, train, False, False)
        elif kernel == "rnn_tanh":
            output, h = torch.rnn_tanh(y, first[0], weights, biases, 1, 0.0, train, False, False)
        else:
            output, h = torch.rnn_relu(y, first[0], weights, biases, 1, 0.0, train, False, False)
        last.insert(0, h)
        return output, [s.squeeze(0) for s in last]
    ranked, order = torch.sort(lengths, descending=True)
    inverse = torch.argsort(order).to(y.device)
    order = order.to(y.device)
    data, sizes = torch._pack_padded_sequence(y.index_select(1, order), ranked, False)
    first = [s.index_select(1, order) for s in first]
    if kernel == "lstm":
        packed, h, c = torch.lstm(data, sizes, first, weights, biases, 1, 0.0, train, False)
        last.append(c)
    elif kernel == "gru":
        packed, h = torch.gru(data, sizes, first[0], weights, biases, 1, 0.0, train, False)
    elif kernel == "rnn_tanh":
        packed, h = torch.rnn_tanh(data, sizes, first[0], weights, biases, 1, 0.0, train, False)
    else:
        packed, h = torch.rnn_relu(data, sizes, first[0], weights, biases, 1, 0.0, train, False)
    last.insert(0, h)
    output, _ = torch._pad_packed_sequence(packed, sizes, False, 0.0, y.size(0))
    return output.index_select(1, inverse), [s.squeeze(0).index_select(0, inverse) for s in last]


class _Call(nn.Module):
    """A function as a module, so that it can be traced and become a part of another module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *arguments: Any) -> Any:
        return self.function(*arguments)


def traced(what: str, function: Callable[..., Any], *examples: tuple[Any, ...]) -> Any:
    """Return a function of tensors as a module of TorchScript, traced on the first example.

    Args:
        what: Name of the function in messages.
        function: A function without control flow that depends on the values of tensors.
        examples: Arguments of several calls, with different sizes; on each, function and module must agree.

    Raises:
        TypeError: It cannot be traced, or computes something else at another size.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", TracerWarning)
        try:
            module = torch.jit.trace(  # type: ignore[no-untyped-call]
                _Call(function), examples[0], check_inputs=list(examples), strict=False
            )
        except Exception as error:  # the function may raise anything while it is traced
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise TypeError(f"TorchScript cannot trace {what}: {first}") from error
    return module
