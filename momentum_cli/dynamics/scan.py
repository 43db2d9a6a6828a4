"""Linear recurrences over time, computed for all steps at once.

Axes: T time, B batch, C channels; N blocks of L steps.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

# Steps of a block. Blocks of about sqrt(784) keep both levels of pixel-by-pixel MNIST small.
_BLOCK = 32


def decay_scan(decay: Tensor | float, x: Tensor, start: Tensor | None = None) -> Tensor:
    """Return ``v`` with ``v_t = decay_t v_{t-1} + x_t``, without a Python loop over T.

    Blocks of time are multiplied by the lower triangular matrix of decay products, and the blocks' last values go
    through the same scan, so the depth is log(T) / log(block) and the work T * block * B * C. Differentiable in x and
    start. Below float32 the work is done in float32.

    Args:
        decay: A number for all steps, or (T, 1) or (T, B) float64; each in [0, 1).
        x: (T, B, C).
        start: (B, C) value before the first step, or None for 0.

    Returns:
        (T, B, C), dtype of x.
    """
    if x.dtype in (torch.bfloat16, torch.float16):
        return decay_scan(decay, x.float(), None if start is None else start.float()).to(x.dtype)
    with torch.autocast(x.device.type, enabled=False):
        decay = decay if isinstance(decay, Tensor) else float(decay)
        return _scan(decay, x, None if start is None else start.to(x.dtype))


def _scan(decay: Tensor | float, x: Tensor, start: Tensor | None) -> Tensor:
    steps, batch, channels = x.shape
    if steps <= 2 * _BLOCK:
        blocks, rows = 1, steps
    else:
        blocks, rows = -(-steps // _BLOCK), _BLOCK
        padding = blocks * rows - steps
        x = pad(x, (0, 0, 0, 0, 0, padding))
        if isinstance(decay, Tensor):
            decay = pad(decay, (0, 0, 0, padding))
    x = x.reshape(blocks, rows, batch, channels)
    powers = _constant_powers(decay, rows, x) if isinstance(decay, float) else _powers(decay.view(blocks, rows, -1))
    products, from_start = (p.to(x.dtype) for p in powers)
    if products.shape[3] == 1:
        inner = torch.matmul(products.squeeze(3), x.reshape(blocks, rows, batch * channels))
        inner = inner.view(blocks, rows, batch, channels)
    else:
        inner = torch.einsum("nijb,njbc->nibc", products, x)
    if blocks > 1:
        ends = _scan(decay**rows if isinstance(decay, float) else powers[1][:, -1], inner[:, -1], start)
        first = torch.zeros_like(ends[:1]) if start is None else start.unsqueeze(0)
        before: Tensor | None = torch.cat((first, ends[:-1]))
    else:
        before = None if start is None else start.unsqueeze(0)
    if before is not None:  # (N, B, C): the value at the end of the block before
        inner = torch.addcmul(inner, from_start.unsqueeze(3), before.unsqueeze(1))
    return inner.reshape(blocks * rows, batch, channels)[:steps]


def _powers(decay: Tensor) -> tuple[Tensor, Tensor]:
    """Return products[n, i, j] = decay_{j+1} ... decay_i (0 for j > i), (N, L, L, 1 | B), and those from the start.

    Running products, because a quotient of products would divide by decays of 0.
    """
    row = torch.arange(decay.shape[1], device=decay.device)
    factors = torch.where((row[:, None] > row)[None, :, :, None], decay.unsqueeze(2), 1.0)
    return factors.cumprod(1).mul((row[:, None] >= row)[None, :, :, None]), decay.cumprod(1)


def _constant_powers(decay: float, rows: int, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return what `_powers` does for the same decay at every step: one block serves all, (1, L, L, 1) and (1, L, 1)."""
    row = torch.arange(rows, device=x.device, dtype=torch.float64)
    lag = row[:, None] - row
    products = torch.where(lag >= 0, torch.pow(decay, lag.clamp(min=0.0)), 0.0)
    return products[None, :, :, None], torch.pow(decay, row + 1.0)[None, :, None]
