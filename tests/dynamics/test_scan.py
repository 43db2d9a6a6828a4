"""The scan over time against the recurrence written as a loop."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from momentum_cli.dynamics.scan import decay_scan
from momentum_cli.kernels.fused.library import why_missing
from momentum_cli.kernels.fused.scan import scan_on_cpu


def loop(decay: Tensor, x: Tensor, start: Tensor | None) -> Tensor:
    value = torch.zeros_like(x[0]) if start is None else start
    values = []
    for t in range(len(x)):
        value = decay[t].unsqueeze(1) * value + x[t]
        values.append(value)
    return torch.stack(values)


DECAYS = ["number", "of time", "of time and sequence"]


def decay_of(kind: str, steps: int) -> Tensor | float:
    generator = torch.Generator().manual_seed(steps)
    column = torch.rand(steps, 1 if kind == "of time" else 2, generator=generator, dtype=torch.float64) * 0.9
    return 0.9 if kind == "number" else column


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


@pytest.mark.parametrize("kind", ["number", "of time and sequence"])
@pytest.mark.parametrize("steps", [1, 20])
def test_scan_amplifies_its_input_and_carries_a_constant(steps: int, kind: str) -> None:
    generator = torch.Generator().manual_seed(steps)
    x = torch.randn(steps, 2, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    start = torch.randn(2, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    decay = decay_of(kind, steps)
    column = decay if isinstance(decay, Tensor) else torch.full((steps, 1), decay, dtype=torch.float64)
    with_one = 0.6 * torch.cat([x, torch.ones(steps, 2, 1, dtype=torch.float64)], 2)
    got, expected = decay_scan(decay, x, start, gain=0.6, constant=True), loop(column, with_one, start)
    torch.testing.assert_close(got, expected, rtol=1e-11, atol=1e-11)
    for run in (None, scan_on_cpu if why_missing() is None else None):
        with torch.no_grad():
            plain = decay_scan(decay, x, start, run, gain=0.6, constant=True)
        torch.testing.assert_close(plain, expected, rtol=1e-11, atol=1e-11)
    gradients = [torch.autograd.grad(values.sin().sum(), (x, start)) for values in (got, expected)]
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


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("steps", [12, 40, 200])
@pytest.mark.parametrize("kind", DECAYS)
def test_no_step_meets_a_later_one_nor_its_gradient_an_earlier_one(kind: str, steps: int, bad: float) -> None:
    decay = decay_of(kind, steps)
    column = decay if isinstance(decay, Tensor) else torch.full((steps, 1), decay, dtype=torch.float64)
    at = steps // 2 + 1
    x = torch.randn(steps, 2, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x[at, 1, 2] = bad
    got, expected = decay_scan(decay, x), loop(column, x, None)
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12, equal_nan=True)
    assert got[:at].isfinite().all()
    assert got[:, 0].isfinite().all()
    x = torch.randn(steps, 2, 3, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(steps, 2, 3, dtype=torch.float64)
    upstream[at, 1, 2] = bad
    (gradient,) = torch.autograd.grad(decay_scan(decay, x), x, upstream)
    assert gradient[at + 1 :].isfinite().all()
    assert gradient[:, 0].isfinite().all()
    (right,) = torch.autograd.grad(loop(column, x, None), x, upstream)
    torch.testing.assert_close(gradient, right, rtol=1e-12, atol=1e-12, equal_nan=True)


# torch.func uses torch.jit.script, which warns that it is deprecated.
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
@pytest.mark.parametrize("kind", DECAYS)
@pytest.mark.parametrize("steps", [5, 40])
def test_derivatives_of_the_scan_of_every_sort(kind: str, steps: int) -> None:
    decay = decay_of(kind, steps)
    x = torch.randn(steps, 2, 2, dtype=torch.float64, requires_grad=True)
    start = torch.randn(2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *given: decay_scan(decay, *given), (x, start), check_forward_ad=True)
    # A function of the scan that has second derivatives.
    assert torch.autograd.gradgradcheck(lambda *given: decay_scan(decay, *given).sin(), (x, start))
    summed = lambda *given: decay_scan(decay, *given).pow(3).sum()  # noqa: E731
    for transform in (torch.func.grad, torch.func.jacfwd, torch.func.jacrev):
        torch.testing.assert_close(transform(summed)(x, start), torch.autograd.grad(summed(x, start), x)[0])
    many = torch.randn(4, steps, 2, 2, dtype=torch.float64)
    mapped = torch.func.vmap(lambda one: decay_scan(decay, one))(many)
    torch.testing.assert_close(mapped, torch.stack([decay_scan(decay, one) for one in many]))
