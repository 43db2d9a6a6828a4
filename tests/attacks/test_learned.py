"""The learned attack: what it reads, the gradient it is trained by, and that training makes it an attack."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from momentum_cli.attacks import PGD, Ball, Learned
from momentum_cli.attacks.learned import readable

B, T, D = 6, 4, 2


def loss_sum(outputs: Tensor, targets: Tensor) -> Tensor:
    return cross_entropy(outputs, targets, reduction="sum")


def subject() -> tuple[Any, Ball, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    matrix = torch.randn(T * D, 3, dtype=torch.float64, generator=generator)
    inputs = torch.rand(B, T, D, dtype=torch.float64, generator=generator)
    start = torch.rand(B, T, D, dtype=torch.float64, generator=generator) * 2 - 1
    targets = torch.randint(3, (B,), generator=generator)
    return lambda x: (3 * x.flatten(1)).sin() @ matrix, Ball(inputs, 0.3, None, (0.0, 1.0)), start, targets


def test_gradients_are_read_as_the_paper_says() -> None:
    given = torch.tensor([1.0, -math.exp(5), math.exp(-10), -0.5 * math.exp(-10), 0.0], dtype=torch.float64)
    expected = torch.tensor([[0.0, 1.0], [0.5, -1.0], [-1.0, 1.0], [-1.0, -0.5], [-1.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(readable(given), expected)


def test_a_lesson_finds_what_the_attack_finds() -> None:
    model, ball, start, targets = subject()
    attack = Learned(4).double()
    found, _ = attack.lesson(model, targets, loss_sum, ball, start)
    torch.testing.assert_close(found, attack(model, targets, loss_sum, ball, start))
    assert not found.requires_grad
    assert ((found - ball.centre).abs() <= 0.3 + 1e-12).all()
    assert ((found >= 0) & (found <= 1)).all()


def test_the_gradient_of_a_lesson_is_that_of_the_loss_of_all_steps() -> None:
    """Against autograd through the whole walk, the gradients that are read held fixed."""
    model, ball, start, targets = subject()
    attack = Learned(3).double()
    _, rise = attack.lesson(model, targets, loss_sum, ball, start)
    rise.backward()  # type: ignore[no-untyped-call]
    found = ball.spread(start)
    state: Any = None
    total = torch.zeros((), dtype=torch.float64)
    expected: list[Tensor] = []
    for _ in range(3):
        there = found.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss_sum(model(there), targets), there)
        read, state = attack.layer(readable(gradient).reshape(1, -1, 2), state)
        found = ball.project(found + 2.5 * 0.3 / 3 * torch.tanh(attack.head(read)).reshape(B, T, D))
        total = total + loss_sum(model(found), targets)
    expected = list(torch.autograd.grad(total, list(attack.parameters())))
    for parameter, gradient in zip(attack.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-9, atol=1e-12)
    assert max(float(gradient.abs().max()) for gradient in expected) > 1e-3


def test_trained_on_one_model_it_comes_close_to_pgd() -> None:
    model, ball, start, targets = subject()
    attack = Learned(5).double()
    optimizer = torch.optim.Adam(attack.parameters(), lr=0.01)

    def loss(which: Any) -> float:
        return float(loss_sum(model(which(model, targets, loss_sum, ball, start)), targets))

    clean = float(loss_sum(model(ball.centre), targets))
    untrained = loss(attack)
    for _ in range(150):
        _, rise = attack.lesson(model, targets, loss_sum, ball, start)
        optimizer.zero_grad()
        (-rise).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert loss(attack) > clean + 0.9 * (loss(PGD(5)) - clean)
    assert untrained < clean + 0.5 * (loss(PGD(5)) - clean)


def test_initial_values_depend_on_the_seed_alone() -> None:
    random = torch.get_rng_state()
    one, other = Learned(), Learned()
    assert torch.equal(torch.get_rng_state(), random)
    other.reset_parameters(7)
    assert torch.equal(torch.get_rng_state(), random)
    assert not torch.equal(one.head.weight, other.head.weight)
    one.reset_parameters(7)
    for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize(("given", "size"), [(None, 2.5 * 0.3 / 4), (0.07, 0.07)])
def test_no_step_is_longer_than_the_step_size(given: float | None, size: float) -> None:
    model, ball, _, targets = subject()
    attack = Learned(4, given).double()
    attack.head.bias.data.fill_(100.0)  # tanh is 1
    free = Ball(ball.centre, 10.0)
    found = attack(model, targets, loss_sum, free if given else ball, torch.zeros_like(ball.centre))
    reached = ball.project(ball.centre + 4 * size) if given is None else ball.centre + 4 * size
    torch.testing.assert_close(found, reached)
