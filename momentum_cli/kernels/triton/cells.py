"""Elementwise operations of one step, on the chip: activations, dynamics, the cells and their gradients, in Triton.

The gates of a hidden unit are adjacent, SLOTS columns per unit: a tile of BLOCK_B rows and BLOCK_H units has the shape
(BLOCK_B, BLOCK_H * SLOTS). LSTM i, f, g, o; GRU r, z, n and a spare column, which keeps the recurrent part of n for the
backward pass; the others one column. Importing this module imports Triton, which takes a second.
"""

# Compile-time constants in capitals, as in Triton's own kernels; triton has no types.
# ruff: noqa: N803
# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False
# mypy: disallow-untyped-decorators=False, disallow-untyped-calls=False
from __future__ import annotations

import triton  # type: ignore[import-untyped, import-not-found, unused-ignore]
import triton.language as tl  # type: ignore[import-untyped, import-not-found, unused-ignore]


@triton.jit
def sigmoid(x):
    """Return 1 / (1 + exp(-x)), evaluated without exponentials of positive numbers."""
    e = tl.exp(-tl.abs(x))
    return tl.where(x >= 0, 1.0, e) / (1.0 + e)


@triton.jit
def tanh(x):
    """Return tanh(x) with full relative accuracy, near 0 too, where 1 - exp(-2 |x|) would cancel.

    For |x| < 1/2 it is Lambert's continued fraction x / (1 + x² / (3 + x² / (5 + …))), truncated after 13, whose error
    there is below the precision of float64.
    """
    square = tl.minimum(x * x, 1.0)
    over = 135135.0 + square * (17325.0 + square * (378.0 + square))
    under = 135135.0 + square * (62370.0 + square * (3150.0 + square * 28.0))
    e = tl.exp(-2.0 * tl.abs(x))
    far = tl.where(x >= 0, 1.0, -1.0) * (1.0 - e) / (1.0 + e)
    return tl.where(tl.abs(x) < 0.5, x * (over / under), far)


@triton.jit
def inverse_root(second, eps):
    """Return ``1 / sqrt(second + eps)``, and 0 where both are 0, as `momentum_cli.dynamics.moments.normalize`."""
    radicand = second + eps
    empty = radicand == 0
    radicand = tl.where(empty, 1.0, radicand)
    root = tl.sqrt(radicand) if second.dtype == tl.float64 else tl.sqrt_rn(radicand)
    return tl.where(empty, 0.0, 1.0 / root)


@triton.jit
def rounded(number, dtype: tl.constexpr):
    """Return a float64 number as float32 in a float32 kernel, which would otherwise compute in float64."""
    if dtype == tl.float32:
        number = tl.cast(number, tl.float32)
    return number


@triton.jit
def advance_moments(u, velocity, second, momentum, step_size, beta2, new_share):
    """Return Adam's ``momentum v + step_size u`` and ``beta2 m + (1 - beta2) u²``; RMSProp has momentum 0."""
    return momentum * velocity + step_size * u, beta2 * second + new_share * u * u


@triton.jit
def split_gates(x, BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr):
    """Return the four columns of each unit, (BLOCK_B, BLOCK_H) each."""
    even, odd = tl.split(tl.reshape(x, [BLOCK_B, BLOCK_H, 2, 2]))
    first, third = tl.split(even)
    second, fourth = tl.split(odd)
    return first, second, third, fourth


@triton.jit
def join_gates(first, second, third, fourth, BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr):
    """Invert `split_gates`."""
    return tl.reshape(tl.join(tl.join(first, third), tl.join(second, fourth)), [BLOCK_B, BLOCK_H * 4])


@triton.jit
def step_forward(
    d, product, bias, h, c,
    RECURRENCE: tl.constexpr, HAS_BIAS: tl.constexpr, BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr,
):  # fmt: skip
    """Return ``h'``, ``c'`` (h' again without a cell) and what the backward pass needs of the gates, one tile.

    Args:
        d: Driven input, with gates.
        product: ``W_hh h``, with gates.
        bias: ``b_hh``, (1, columns); for modReLU its b; without it there is no modReLU.
        h, c: State.
    """
    if RECURRENCE == "lstm":
        i, f, g, o = split_gates(d + (product + bias), BLOCK_B, BLOCK_H)
        i, f, g, o = sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)
        new_c = f * c + i * g
        new_h = o * tanh(new_c)
        kept = join_gates(i, f, g, o, BLOCK_B, BLOCK_H)
    elif RECURRENCE == "gru":
        d_r, d_z, d_n, _ = split_gates(d, BLOCK_B, BLOCK_H)
        h_r, h_z, h_n, _ = split_gates(product + bias, BLOCK_B, BLOCK_H)
        r, z = sigmoid(d_r + h_r), sigmoid(d_z + h_z)
        n = tanh(d_n + r * h_n)
        new_h = n + z * (h - n)
        new_c = new_h
        kept = join_gates(r, z, n, h_n, BLOCK_B, BLOCK_H)
    else:
        if RECURRENCE == "rnn":
            new_h = tanh(d + (product + bias))
        elif RECURRENCE == "rnn_relu":
            z = d + (product + bias)
            new_h = tl.where(z <= 0, 0.0, z)  # keeps NaN
        else:
            new_h = d + product
            if HAS_BIAS:
                size = tl.abs(new_h) + bias
                size = tl.where(size <= 0, 0.0, size)
                new_h = tl.where(new_h > 0, size, tl.where(new_h < 0, -size, 0.0 * size))
        new_c = new_h
        kept = new_h
    return new_h, new_c, kept


@triton.jit
def step_backward(
    dh, dc, kept, h, c, new_h, new_c,
    RECURRENCE: tl.constexpr, HAS_BIAS: tl.constexpr, BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr,
):  # fmt: skip
    """Return the gradients of d, ``W_hh h``, h outside that product, and c, from those of ``h'`` and ``c'``."""
    if RECURRENCE == "lstm":
        i, f, g, o = split_gates(kept, BLOCK_B, BLOCK_H)
        squashed = tanh(new_c)
        dc += dh * o * (1.0 - squashed * squashed)
        d_i = dc * g * i * (1.0 - i)
        d_f = dc * c * f * (1.0 - f)
        d_g = dc * i * (1.0 - g * g)
        d_o = dh * squashed * o * (1.0 - o)
        d_drive = join_gates(d_i, d_f, d_g, d_o, BLOCK_B, BLOCK_H)
        d_product = d_drive
        dh = tl.zeros_like(dh)
        dc *= f
    elif RECURRENCE == "gru":
        r, z, n, h_n = split_gates(kept, BLOCK_B, BLOCK_H)
        d_z = dh * (h - n) * z * (1.0 - z)
        d_n = dh * (1.0 - z) * (1.0 - n * n)
        d_r = d_n * h_n * r * (1.0 - r)
        d_drive = join_gates(d_r, d_z, d_n, tl.zeros_like(d_n), BLOCK_B, BLOCK_H)
        d_product = join_gates(d_r, d_z, d_n * r, tl.zeros_like(d_n), BLOCK_B, BLOCK_H)
        dh *= z
    else:
        d_drive = dh
        if RECURRENCE == "rnn":
            d_drive = dh * (1.0 - new_h * new_h)
        elif RECURRENCE == "rnn_relu":
            d_drive = tl.where(new_h == 0, 0.0, dh)
        elif HAS_BIAS:
            # modReLU: where |z| + b is above 0 its slope is 1, elsewhere the output is 0; torch's sign of a NaN is 0.
            d_drive = tl.where(tl.abs(new_h) > 0, dh, 0.0)
        d_product = d_drive
        dh = tl.zeros_like(dh)
    return d_drive, d_product, dh, dc
