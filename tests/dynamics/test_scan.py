"""The scan over time against the recurrence written as a loop."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from momentum_cli.dynamics.scan import decay_scan


def loop(decay: Tensor, x: Tensor, start: Tensor | None) -> Tensor:
    value = torch.zeros_like(x[0]) if start is None else start
    values = []
    for t in range(len(x)):
        value = decay[t].unsqueeze(1) * value + x[t]
        values.append(value)
    return torch.stack(values)


# One block, two, both levels of blocks, three levels; not multiples of the block.
@pytest.mark.parametrize("steps", [1, 5, 64, 65, 96, 784, 2100])
@pytest.mark.parametrize("kind", ["number", "zero", "of time", "of time and sequence"])
def test_scan_is_the_loop_with_its_gradients(steps: int, kind: str) -> None:
    generator = torch.Generator().manual_seed(steps)
    x = torch.randn(steps, 2, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    start = torch.randn(2, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    decays: dict[str, Tensor | float] = {
        "number": 0.9,
        "zero": 0,  # as a user may write it
        "of time": torch.rand(steps, 1, generator=generator, dtype=torch.float64) * 0.99,
        "of time and sequence": torch.rand(steps, 2, generator=generator, dtype=torch.float64).round(decimals=1) * 0.9,
    }
    decay = decays[kind]
    column = decay if isinstance(decay, Tensor) else torch.full((steps, 1), decay, dtype=torch.float64)
    weight = torch.randn(steps, 2, 3, generator=generator, dtype=torch.float64)
    for first in (None, start):
        inputs = [x] if first is None else [x, start]
        got, expected = decay_scan(decay, x, first), loop(column, x, first)
        torch.testing.assert_close(got, expected, rtol=1e-11, atol=1e-11)
        gradients = [torch.autograd.grad((values * weight).sum(), inputs) for values in (got, expected)]
        for one, other in zip(*gradients, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


def test_scan_in_half_precision_and_under_autocast_is_computed_in_float32() -> None:
    x = torch.randn(500, 2, 3, generator=torch.Generator().manual_seed(5))
    decay = 0.99
    exact = decay_scan(decay, x.double())
    half = decay_scan(decay, x.bfloat16())
    assert half.dtype is torch.bfloat16
    # Rounding the result to bfloat16 costs 2^-8; an accumulation in bfloat16 would cost far more.
    torch.testing.assert_close(half.double(), decay_scan(decay, x.bfloat16().double()), rtol=2**-8, atol=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = decay_scan(decay, x)
    assert mixed.dtype is torch.float32
    torch.testing.assert_close(mixed.double(), exact, rtol=1e-5, atol=1e-5)
