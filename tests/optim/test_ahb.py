"""SGD and Adam with adaptive heavy-ball momentum against their formulas, and on a quadratic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from optim_oracle import LR, SHAPES, STEPS, Array, compare, draw, norm

from momentum_cli.optim import OPTIMIZERS
from momentum_cli.optim.ahb_sgd import AHBSGD


class QuadraticRule:
    """β_k = min((1 - sqrt r)², 1 - δ) for one list of tensors."""

    def __init__(self, delta: float, guard: bool) -> None:
        self.delta, self.guard = delta, guard
        self.previous: list[Array] | None = None
        self.change = 0.0
        self.seen: list[float] = []

    def beta(self, lr: float, grads: list[Array]) -> float:
        beta = 0.0
        if self.previous is not None:
            r = lr * norm([g - p for g, p in zip(grads, self.previous, strict=True)]) / self.change
            root = 1 - np.sqrt(r)
            beta = min((max(root, 0.0) if self.guard else root) ** 2, 1 - self.delta)
        self.previous = [g.copy() for g in grads]
        self.seen.append(beta)
        return beta


def rules(scope: str, delta: float, guard: bool) -> list[tuple[list[int], QuadraticRule]]:
    """One rule for all tensors, or one for each: which tensors, and their rule."""
    every = list(range(len(SHAPES)))
    return [(which, QuadraticRule(delta, guard)) for which in ([every] if scope == "global" else [[i] for i in every])]


VARIANTS = [
    {},
    {"scope": "tensor"},
    {"weight_decay": 0.3},
    {"weight_decay": 0.3, "decoupled_weight_decay": True},
    {"weight_decay": 0.3, "decoupled_weight_decay": True, "scope": "tensor"},
    {"guard": True},
    {"delta": 0.9},
]


@pytest.mark.parametrize("options", VARIANTS, ids=str)
@pytest.mark.parametrize("lr", [lambda step: LR, lambda step: LR / step], ids=["constant", "schedule"])
def test_ahb_sgd(options: dict[str, Any], lr: Callable[[int], float]) -> None:
    decay, decoupled = options.get("weight_decay", 0.0), options.get("decoupled_weight_decay", False)
    groups = rules(options.get("scope", "global"), options.get("delta", 1e-3), options.get("guard", False))
    m = [np.zeros(shape) for shape in SHAPES]

    def oracle(step: int, x: list[Array], grads: list[Array]) -> None:
        for which, rule in groups:
            g = [grads[i] + (0 if decoupled else decay * x[i]) for i in which]
            beta = rule.beta(lr(step), g)
            change = []
            for i, grad in zip(which, g, strict=True):
                m[i][:] = beta * m[i] + grad
                new = x[i] - lr(step) * (m[i] + (decay * x[i] if decoupled else 0))
                change.append(new - x[i])
                x[i][:] = new
            rule.change = norm(change)

    optimizer = compare("ahb-sgd", oracle, lr, **options)
    expected = np.mean([rule.seen[-1] for _, rule in groups])
    assert optimizer.diagnostics()["beta"].item() == pytest.approx(expected, rel=1e-10)  # type: ignore[attr-defined]
    assert any(0 < beta < 0.999 for _, rule in groups for beta in rule.seen), "the rule sat at its bounds"


@pytest.mark.parametrize("options", [*VARIANTS, {"beta2": 0.7, "eps": 0.1}, {"beta2": 0.0}], ids=str)
@pytest.mark.parametrize("lr", [lambda step: LR, lambda step: LR / step], ids=["constant", "schedule"])
def test_ahb_adam(options: dict[str, Any], lr: Callable[[int], float]) -> None:
    decay, decoupled = options.get("weight_decay", 0.0), options.get("decoupled_weight_decay", False)
    beta2, eps = options.get("beta2", 0.999), options.get("eps", 1e-8)
    groups = rules(options.get("scope", "global"), options.get("delta", 1e-3), options.get("guard", False))
    m = [np.zeros(shape) for shape in SHAPES]
    v = [np.zeros(shape) for shape in SHAPES]
    product = [1.0 for _ in groups]

    def oracle(step: int, x: list[Array], grads: list[Array]) -> None:
        for number, (which, rule) in enumerate(groups):
            g = [grads[i] + (0 if decoupled else decay * x[i]) for i in which]
            beta = rule.beta(lr(step), g)
            product[number] *= beta
            change = []
            for i, grad in zip(which, g, strict=True):
                m[i][:] = beta * m[i] + (1 - beta) * grad
                v[i][:] = beta2 * v[i] + (1 - beta2) * grad**2
                unbiased = v[i] / (1 - beta2**step)
                update = m[i] / (1 - product[number]) / (np.sqrt(unbiased) + eps)
                new = x[i] - lr(step) * (update + (decay * x[i] if decoupled else 0))
                change.append(new - x[i])
                x[i][:] = new
            rule.change = norm(change)

    optimizer = compare("ahb-adam", oracle, lr, **options)
    expected = np.mean([rule.seen[-1] for _, rule in groups])
    assert optimizer.diagnostics()["beta"].item() == pytest.approx(expected, rel=1e-10)  # type: ignore[attr-defined]


def test_ahb_adamw_is_ahb_adam_with_decoupled_decay() -> None:
    results = []
    for name, options in (("ahb-adamw", {}), ("ahb-adam", {"weight_decay": 1e-2, "decoupled_weight_decay": True})):
        params = [torch.tensor(x, requires_grad=True) for x in draw(0)]
        optimizer = OPTIMIZERS[name](params, **options)
        for step in range(STEPS):
            for param, grad in zip(params, draw(1 + step), strict=True):
                param.grad = torch.tensor(grad)
            optimizer.step()
        results.append([param.detach() for param in params])
    for left, right in zip(*results, strict=True):
        assert torch.equal(left, right)


def descend(make: Callable[[list[torch.Tensor]], torch.optim.Optimizer], steps: int) -> tuple[list[float], list[float]]:
    """Minimize x'Λx / 2 with eigenvalues from 1e-3 to 1 and return the loss and β after every step."""
    eigenvalues = torch.logspace(-3, 0, 200, dtype=torch.float64)
    x = torch.tensor(np.random.default_rng(0).standard_normal(200), requires_grad=True)
    optimizer = make([x])
    losses, betas = [], []
    for _ in range(steps):
        x.grad = eigenvalues * x.detach()
        optimizer.step()
        losses.append(0.5 * float((eigenvalues * x.detach() ** 2).sum()))
        if isinstance(optimizer, AHBSGD):
            betas.append(optimizer.diagnostics()["beta"].item())
    return losses, betas


def test_on_a_quadratic_the_momentum_becomes_the_best_one() -> None:
    """β tends to (1 - sqrt(γ λ_min))², and the loss falls at the rates that theory gives each method.

    In the direction of λ an error decays by the larger root of z² - (1 + β - γ λ) z + β a step, and the loss by its
    square; the slowest direction is that of λ_min. At the best momentum the root is double, so an error goes as k z^k.
    """
    rate, smallest, steps = 0.5, 1e-3, 1600
    best = (1 - np.sqrt(rate * smallest)) ** 2
    losses, betas = descend(lambda x: AHBSGD(x, lr=rate), steps)
    assert betas[0] == 0
    assert abs(betas[-1] - best) < 0.25 * abs(betas[steps // 2] - best) < 0.25 * 3e-3
    slope = {
        beta: 2 * np.log10(max(abs(np.roots([1, -(1 + beta - rate * smallest), beta])))) for beta in (best, 0.9, 0.0)
    }
    assert np.log10(losses[-1] / losses[steps // 2 - 1]) / (steps // 2) == pytest.approx(slope[best], rel=0.15)
    for beta in (0.9, 0.0):
        others, _ = descend(lambda x, beta=beta: torch.optim.SGD(x, lr=rate, momentum=beta), steps)
        orders = np.log10(others[-1] / losses[-1])
        # It takes a while to find its momentum, so not all of what theory gives from the first step on.
        assert orders > max(14, 0.6 * steps * (slope[beta] - slope[best]))


def test_guard_decides_what_too_long_a_step_means() -> None:
    """x'x / 2 with lr = 5 has r = 5: the literal rule gives the largest momentum, the guarded one none."""
    betas = {}
    for guard in (False, True):
        x = torch.ones(3, dtype=torch.float64, requires_grad=True)
        optimizer = AHBSGD([x], lr=5.0, guard=guard, delta=0.01)
        for _ in range(2):
            x.grad = x.detach().clone()
            optimizer.step()
        betas[guard] = optimizer.diagnostics()["beta"].item()
    assert betas == {False: 0.99, True: 0.0}


def test_global_norms_run_over_all_groups() -> None:
    """The curvature is shared, the rate is the group's: β of each group by hand."""
    first = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    second = torch.tensor([3.0], dtype=torch.float64, requires_grad=True)
    optimizer = AHBSGD([{"params": [first]}, {"params": [second], "lr": 0.02}], lr=0.1)
    first.grad, second.grad = torch.tensor([1.0, 1.0]).double(), torch.tensor([2.0]).double()
    optimizer.step()
    moved = np.sqrt(0.1**2 + 0.1**2 + 0.04**2)
    first.grad, second.grad = torch.tensor([0.9, 1.2]).double(), torch.tensor([1.5]).double()
    before = first.detach().clone(), second.detach().clone()
    optimizer.step()
    curvature = np.sqrt(0.1**2 + 0.2**2 + 0.5**2) / moved
    for x, old, lr, last, grad in (
        (first, before[0], 0.1, [1.0, 1.0], [0.9, 1.2]),
        (second, before[1], 0.02, [2.0], [1.5]),
    ):
        beta = min((1 - np.sqrt(lr * curvature)) ** 2, 1 - 1e-3)
        expected = old.numpy() - lr * (beta * np.array(last) + np.array(grad))
        np.testing.assert_allclose(x.detach().numpy(), expected, rtol=1e-6)
