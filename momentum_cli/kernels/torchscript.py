"""Filter and recurrences in the part of Python that TorchScript compiles, for `momentum_cli.layers.torchscript`.

Axes: T time, B batch, C channels, D input, H hidden, G gates * H.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import linear


def filter_blocks(decay: Tensor, x: Tensor, start: Tensor) -> Tensor:
    """Return ``v`` with ``v_t = decay_t v_{t-1} + x_t``, block by block.

    Args:
        decay: (T, 1) or (T, B) float64, each in [0, 1).
        x: (T, B, C).
        start: (B, C) value before the first step.

    Returns:
        (T, B, C).
    """
    rows = 32  # T / 32 turns of a loop, each a product with a triangular matrix that is cheap to make
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
    recurrence: str, y: Tensor, weights: list[Tensor], state: list[Tensor], lengths: Tensor | None
) -> tuple[Tensor, list[Tensor]]:
    """Run torch's own kernel on a filtered input.

    Args:
        recurrence: Key of `RECURRENCES`.
        y: (T, B, D).
        weights: ``weight_ih (G, D), weight_hh (G, H)`` and, unless there is none, both biases (G,).
        state: Recurrent tensors (B, H).
        lengths: (B,) int64 on the CPU, or None.

    Returns:
        (T, B, H), 0 beyond a sequence's length, and the recurrent tensors at each sequence's end.
    """
    first = [s.unsqueeze(0) for s in state]
    biases, train = len(weights) == 4, torch.is_grad_enabled()
    last: list[Tensor] = []
    if lengths is None:
        if recurrence == "lstm":
            output, h, c = torch.lstm(y, first, weights, biases, 1, 0.0, train, False, False)
            last.append(c)
        elif recurrence == "gru":
            output, h = torch.gru(y, first[0], weights, biases, 1, 0.0, train, False, False)
        elif recurrence == "rnn":
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
    if recurrence == "lstm":
        packed, h, c = torch.lstm(data, sizes, first, weights, biases, 1, 0.0, train, False)
        last.append(c)
    elif recurrence == "gru":
        packed, h = torch.gru(data, sizes, first[0], weights, biases, 1, 0.0, train, False)
    elif recurrence == "rnn":
        packed, h = torch.rnn_tanh(data, sizes, first[0], weights, biases, 1, 0.0, train, False)
    else:
        packed, h = torch.rnn_relu(data, sizes, first[0], weights, biases, 1, 0.0, train, False)
    last.insert(0, h)
    output, _ = torch._pad_packed_sequence(packed, sizes, False, 0.0, y.size(0))
    return output.index_select(1, inverse), [s.squeeze(0).index_select(0, inverse) for s in last]


def run_driven(
    recurrence: str, d: Tensor, weights: list[Tensor], state: list[Tensor], lengths: Tensor | None
) -> tuple[Tensor, list[Tensor]]:
    """Run a recurrence on a driven input d (T, B, G) step by step; see `run_native` for the rest.

    Of ``modrelu`` the weights are ``weight_ih, B`` and b of modReLU.
    """
    bias_hh: Tensor | None = None
    if len(weights) == 4:
        bias_hh = weights[3]
    h = state[0]
    c = state[-1]
    running = torch.ones(d.size(1), 1, dtype=torch.bool, device=d.device)
    outputs: list[Tensor] = []
    for t in range(d.size(0)):
        before, cell = h, c
        recurrent = linear(h, weights[1], bias_hh)
        if recurrence == "lstm":
            i, f, g, o = (d[t] + recurrent).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        elif recurrence == "gru":
            d_r, d_z, d_n = d[t].chunk(3, 1)
            h_r, h_z, h_n = recurrent.chunk(3, 1)
            n = torch.tanh(d_n + torch.sigmoid(d_r + h_r) * h_n)
            h = torch.lerp(n, h, torch.sigmoid(d_z + h_z))
        elif recurrence == "rnn":
            h = torch.tanh(d[t] + recurrent)
        elif recurrence == "modrelu":
            z = d[t] + recurrent
            h = torch.sign(z) * torch.relu(torch.abs(z) + weights[2])
        else:
            h = torch.relu(d[t] + recurrent)
        output = h
        if lengths is not None:
            running = (t < lengths).to(d.device).unsqueeze(1)
            output = torch.where(running, h, torch.zeros_like(h))
            h = torch.where(running, h, before)
            c = torch.where(running, c, cell)
        outputs.append(output)
    return torch.stack(outputs), [h, c][: len(state)]
