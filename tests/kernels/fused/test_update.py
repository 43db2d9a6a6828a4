"""Steps of optimizers in the C++ library: against the formulas in float64, whatever the sizes and threads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from momentum_cli.kernels.fused import library, update
from momentum_cli.optim import OPTIMIZERS, multi_tensor

SIZES = ((1,), (7, 3), (64,), (0,), (4096,), (4099,), (65536 + 5,), (3, 50000))

pytestmark = pytest.mark.skipif(library.load()[0] is None, reason="the kernel library was not built")


def tensors(seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in SIZES]


@pytest.fixture(params=[1, 2, 5])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def close(found: list[Tensor], expected: list[Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.dtype is torch.float32
        torch.testing.assert_close(one.double(), other, rtol=1e-6, atol=1e-6)


def test_the_gradient_before_is_replaced_and_its_change_measured(threads: int) -> None:
    previous, gradients = tensors(0), tensors(1)
    expected = [(g.double() - p.double()).norm() for p, g in zip(previous, gradients, strict=True)]
    close(update.replace_previous_(previous, gradients), expected)
    for p, g in zip(previous, gradients, strict=True):
        torch.testing.assert_close(p, g, rtol=0, atol=0)


def test_a_heavy_ball_step_is_the_formula(threads: int) -> None:
    parameters, momentum, gradients = tensors(0), tensors(1), tensors(2)
    factors = [0.1 * k for k in range(len(SIZES))]
    ahead = [f * m.double() + g.double() for f, m, g in zip(factors, momentum, gradients, strict=True)]
    moved = [p.double() - 0.3 * m for p, m in zip(parameters, ahead, strict=True)]
    close(update.heavy_ball_(parameters, momentum, gradients, factors, 0.3), [m.norm() for m in ahead])
    close(momentum, ahead)
    close(parameters, moved)


def test_decoupled_decay_is_part_of_the_update(threads: int) -> None:
    parameters, momentum, gradients = tensors(0), tensors(1), tensors(2)
    updates = [
        0.5 * m.double() + g.double() + 0.2 * p.double()
        for p, m, g in zip(parameters, momentum, gradients, strict=True)
    ]
    moved = [p.double() - 0.3 * u for p, u in zip(parameters, updates, strict=True)]
    norms = update.heavy_ball_(parameters, momentum, gradients, [0.5] * len(SIZES), 0.3, 0.2)
    close(norms, [u.norm() for u in updates])
    close(parameters, moved)


@pytest.mark.parametrize("eps", [0.0, 1e-3])
def test_an_adaptive_step_is_the_formula(threads: int, eps: float) -> None:
    parameters, averages, gradients = tensors(0), tensors(1), tensors(2)
    squares = [s.square() for s in tensors(3)]
    factors = [0.1 * k for k in range(len(SIZES))]
    means = [f * m.double() + (1 - f) * g.double() for f, m, g in zip(factors, averages, gradients, strict=True)]
    roots = [0.9 * s.double() + 0.1 * g.double() ** 2 for s, g in zip(squares, gradients, strict=True)]
    updates = [m / (1.5 * v.sqrt() + eps) + 0.2 * p.double() for m, v, p in zip(means, roots, parameters, strict=True)]
    moved = [p.double() - 0.3 * u for p, u in zip(parameters, updates, strict=True)]
    options = {"beta2": 0.9, "root_factor": 1.5, "eps": eps, "decay": 0.2}
    norms = update.adaptive_(parameters, averages, squares, gradients, factors, 0.3, **options)
    close(norms, [u.norm() for u in updates])
    close(averages, means)
    close(squares, roots)
    close(parameters, moved)


def test_norms_do_not_depend_on_the_threads() -> None:
    found = []
    before = torch.get_num_threads()
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found.append(torch.stack(update.replace_previous_(tensors(0), tensors(1))))
    torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize("other", ["float64", "strided", "no library"])
def test_what_it_does_not_serve_goes_through_torch(other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    previous, gradients = tensors(0), tensors(1)
    if other == "float64":
        previous, gradients = [p.double() for p in previous], [g.double() for g in gradients]
    elif other == "strided":
        previous[1] = previous[1].t().contiguous().t()
    else:
        monkeypatch.setattr(library, "load", lambda: (None, "", "absent"))
    monkeypatch.setattr(update, "replace_previous_", None)
    expected = [(g.double() - p.double()).norm() for p, g in zip(previous, gradients, strict=True)]
    found = multi_tensor.replace_previous_(previous, gradients)
    for one, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(one.double(), wanted, rtol=1e-5, atol=1e-6)
    for p, g in zip(previous, gradients, strict=True):
        torch.testing.assert_close(p, g, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["ahb-sgd", "ahb-adam"])
@pytest.mark.parametrize("options", [{}, {"scope": "tensor"}, {"weight_decay": 0.1, "decoupled_weight_decay": True}])
def test_an_optimizer_makes_the_same_steps_with_and_without_it(
    name: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = []
    for served in (True, False):
        if not served:
            monkeypatch.setattr(library, "load", lambda: (None, "", "absent"))
        params = [p.requires_grad_() for p in tensors(0)]
        optimizer = OPTIMIZERS[name](params, lr=0.05, **options)
        for _ in range(6):
            optimizer.zero_grad()
            sum(
                ((p * torch.linspace(0.1, 1, max(p.numel(), 1))[: p.numel()].view_as(p)) ** 2).sum() for p in params
            ).backward()
            optimizer.step()
        ends.append(params)
    for one, wanted in zip(*ends, strict=True):
        torch.testing.assert_close(one, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["ahb-sgd", "ahb-adam"])
def test_autograd_sees_that_parameters_have_moved(name: str) -> None:
    weight = torch.ones(3, requires_grad=True)
    loss = (weight * weight).sum()
    loss.backward(retain_graph=True)
    OPTIMIZERS[name]([weight], lr=0.1).step()  # type: ignore[call-arg]
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_tensors_whose_memory_is_not_their_values_are_not_served() -> None:
    plain = [torch.ones(4)]
    assert update.serves(plain, [torch.zeros(4)])
    assert not update.serves(plain, [torch.zeros(5)])
    assert not update.serves(plain, [torch._efficientzerotensor(4)])
    assert not update.serves(plain, [torch._neg_view(torch.ones(4))])
    assert not update.serves(plain, [torch.ones(8)[::2]])
    assert not update.serves(plain * 2, [torch.zeros(4), torch.zeros(4)])


@pytest.mark.parametrize("name", ["ahb-sgd", "ahb-adam"])
@pytest.mark.parametrize("sizes", [((8, 8), (40, 40)), ((16, 8), (8, 8))])
def test_a_state_of_another_shape_is_refused(name: str, sizes: tuple[tuple[int, int], tuple[int, int]]) -> None:
    states = []
    for size in sizes:
        param = torch.ones(size, requires_grad=True)
        optimizer = OPTIMIZERS[name]([param], lr=0.1)  # type: ignore[call-arg]
        param.grad = torch.ones(size)
        optimizer.step()
        states.append(optimizer)
    with pytest.raises(ValueError, match=r"state '.*' of parameter 0 must have the shape of the parameter"):
        states[1].load_state_dict(states[0].state_dict())
