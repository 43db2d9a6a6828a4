"""Linear recurrences over time, computed for all steps at once.

Axes: T time, B batch, C channels; N blocks of L steps.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.functional import pad

# Up to this many steps one block is as fast as several.
_ONE_BLOCK = 16


class Run(Protocol):
    """Computes a scan of float32 or float64; no derivatives. A graph that is traced gets `traced_scan` instead."""

    def __call__(
        self,
        decay: Tensor | float,
        x: Tensor,
        start: Tensor | None,
        *,
        backward: bool,
        gain: float = 1.0,
        constant: bool = False,
    ) -> Tensor:
        """Return the scan of ``gain x``, with a constant of ``gain [x, 1]``.

        `backward` in time, where ``v_t = decay_{t+1} v_{t+1} + gain x_t``, it is the transpose; without a constant.
        """


def autocast_type(device: torch.device) -> str:
    """Return the type of device whose autocast applies; ``meta`` has none and counts as a CPU."""
    return "cpu" if device.type == "meta" else device.type


def decay_scan(
    decay: Tensor | float,
    x: Tensor,
    start: Tensor | None = None,
    run: Run | None = None,
    *,
    gain: float = 1.0,
    constant: bool = False,
) -> Tensor:
    """Return ``v`` with ``v_t = decay_t v_{t-1} + gain x_t``.

    No step reads a later one, not even multiplied by 0, so a NaN or an infinity at step t leaves all earlier steps
    unchanged; in the gradient, all later ones. Differentiable in x and start, any number of times and in forward mode.
    Inputs in bfloat16 and float16 are scanned in float32.

    Args:
        decay: A number for all steps, or (T, 1) or (T, B) float64; each in [0, 1).
        x: (T, B, C).
        start: (B, C) value before the first step, or None for 0; (B, C + 1) with a constant.
        run: Function that computes it; None for about 2 sqrt(T) torch operations on whole blocks of time.
        gain: Factor of the input.
        constant: Scan one more channel, whose input is 1.

    Returns:
        (T, B, C), with a constant (T, B, C + 1); dtype of x.
    """
    if x.dtype in (torch.bfloat16, torch.float16):
        first = None if start is None else start.float()
        return decay_scan(decay, x.float(), first, gain=gain, constant=constant).to(x.dtype)
    kind = autocast_type(x.device)
    # Entering a context takes as long as a short scan.
    with torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext():
        decays = decay if isinstance(decay, Tensor) else float(decay)
        first = None if start is None else start.to(x.dtype)
        if torch._C._are_functorch_transforms_active():
            return torch_scan(decays, x, first, backward=False, gain=gain, constant=constant)
        if torch.compiler.is_compiling():
            number = 0.0 if isinstance(decays, Tensor) else decays
            columns = decays if isinstance(decays, Tensor) else None
            traced: Tensor = traced_scan(extended(x, gain, constant), first, columns, number, False)
            return traced
        grad = torch.is_grad_enabled() and (x.requires_grad or (first is not None and first.requires_grad))
        if not grad and forward_ad._current_level < 0:
            # The usual case, x being data: a node of the graph would take longer than a short scan.
            with torch.no_grad():
                return (run or torch_scan)(decays, x, first, backward=False, gain=gain, constant=constant)
        result: Tensor = _Scan.apply(run or torch_scan, decays, extended(x, gain, constant), first, False)
        return result


def extended(x: Tensor, gain: float, constant: bool) -> Tensor:
    """Return ``gain x`` (T, B, C), with a constant ``gain [x, 1]``."""
    if constant:
        x = pad(x, (0, 1), value=1.0)
    return x if gain == 1.0 else gain * x


class _Scan(torch.autograd.Function):
    """The scan as one node of the autograd graph: its gradient is the scan in the other direction."""

    @staticmethod
    def forward(run: Run, decay: Tensor | float, x: Tensor, start: Tensor | None, backward: bool) -> Tensor:
        return run(decay, x, start, backward=backward)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.run, decay, x, start, ctx.backward_in_time = inputs
        ctx.shape, ctx.starts = x.shape, start is not None
        ctx.decay = decay  # depends on step numbers only, never on a parameter

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        dx = _Scan.apply(ctx.run, ctx.decay, gradient, None, not ctx.backward_in_time)
        if not ctx.starts:
            return None, None, dx, None, None
        decay = ctx.decay[0].to(dx.dtype).unsqueeze(-1) if isinstance(ctx.decay, Tensor) else ctx.decay
        return None, None, dx, decay * dx[0], None

    @staticmethod
    def jvp(ctx: Any, _: Any, __: Any, dx: Tensor | None, d_start: Tensor | None, *___: Any) -> Tensor:
        if dx is None:
            assert d_start is not None
            dx = d_start.new_zeros(ctx.shape)
        return torch_scan(ctx.decay, dx, d_start, backward=ctx.backward_in_time)


@torch.library.custom_op("momentumrnn::scan", mutates_args=())
def traced_scan(x: Tensor, start: Tensor | None, decays: Tensor | None, decay: float, backward: bool) -> Tensor:
    """Compute a scan as one operator of a graph, which then serves any number of steps.

    Args:
        x: (T, B, C) float32 or float64.
        start: (B, C), or None.
        decays: (T, 1) or (T, B) float64, or None for `decay` at all steps.
        decay: A number, unless there are `decays`.
        backward: Scan backward in time.
    """
    return torch_scan(decay if decays is None else decays, x, start, backward=backward)


@traced_scan.register_fake
def _(x: Tensor, *_: Any) -> Tensor:
    return x.new_empty(x.shape)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, start, decays, ctx.decay, ctx.backward_in_time = inputs
    ctx.save_for_backward(decays)
    ctx.starts = start is not None


def _backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    (decays,) = ctx.saved_tensors
    dx = traced_scan(gradient, None, decays, ctx.decay, not ctx.backward_in_time)
    first = ctx.decay if decays is None else decays[0].to(dx.dtype).unsqueeze(-1)
    return dx, first * dx[0] if ctx.starts else None, None, None, None


traced_scan.register_autograd(_backward, setup_context=_setup)


def torch_scan(
    decay: Tensor | float,
    x: Tensor,
    start: Tensor | None,
    *,
    backward: bool,
    gain: float = 1.0,
    constant: bool = False,
) -> Tensor:
    """Compute the scan of `Run`: step i of all blocks at once; then each block adds the last value before it."""
    x = extended(x, gain, constant)
    steps, batch, channels = x.shape
    if not steps:
        return x.clone()
    rows = steps if steps <= _ONE_BLOCK else math.isqrt(steps - 1) + 1
    blocks = -(-steps // rows)
    padding = blocks * rows - steps
    factors = None
    if isinstance(decay, Tensor):
        # The factor of the value that enters each step; backward in time, none enters the last one.
        factors = torch.cat((decay[1:], torch.zeros_like(decay[:1]))) if backward else decay
        factors = pad(factors, (0, 0, 0, padding)).view(blocks, rows, -1, 1)
    x = (pad(x, (0, 0, 0, 0, 0, padding)) if padding else x).reshape(blocks, rows, batch, channels)
    order = range(rows - 1, -1, -1) if backward else range(rows)
    inner = _within(decay if factors is None else factors.to(x.dtype), x, order)
    if blocks > 1 or start is not None:
        last = inner[:, order[-1]].unbind(0)
        products = _products(decay, factors, rows, backward=backward, like=x)
        value = torch.zeros_like(last[0]) if start is None else start
        before = [value] * blocks
        for block in range(blocks - 1, -1, -1) if backward else range(blocks):
            before[block] = value
            value = torch.addcmul(last[block], products[min(block, len(products) - 1), order[-1]], value)
        inner = torch.addcmul(inner, products, torch.stack(before).unsqueeze(1))
    return inner.view(blocks * rows, batch, channels)[:steps]


def _within(factors: Tensor | float, x: Tensor, order: range) -> Tensor:
    """Return the scan of each block of x (N, L, B, C), from 0."""
    inputs = x.unbind(1)
    recorded = torch.is_grad_enabled() or torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()
    result = None if recorded else torch.empty_like(x)
    # Without autograd each step is written in place.
    values: list[Any] = [None] * len(inputs) if result is None else list(result.unbind(1))
    for step in order:
        if step == order[0]:
            value = inputs[step] if result is None else values[step].copy_(inputs[step])
        elif isinstance(factors, Tensor):
            value = torch.addcmul(inputs[step], factors[:, step], value, out=values[step])
        else:
            value = torch.add(inputs[step], value, alpha=factors, out=values[step])
        values[step] = value
    return torch.stack(values, 1) if result is None else result


def _products(decay: Tensor | float, factors: Tensor | None, rows: int, *, backward: bool, like: Tensor) -> Tensor:
    """Return the product of all factors from the first step of a block to each one, (1 | N, L, 1 | B, 1)."""
    if factors is None:
        powers = torch.arange(1, rows + 1, device=like.device, dtype=torch.float64)
        products = torch.pow(float(decay), powers.flip(0) if backward else powers).view(1, rows, 1, 1)
    else:
        products = factors.flip(1).cumprod(1).flip(1) if backward else factors.cumprod(1)
    return products.to(like.dtype)
