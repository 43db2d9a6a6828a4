"""The first steps of each optimizer against the formulas of its docstring, written out in numpy and float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from momentum_cli.optim import OPTIMIZERS

Array = NDArray[np.float64]
Step = Callable[[int, list[Array], list[Array]], None]
"""A step of an oracle: its number from 1, the parameters (changed in place) and their gradients."""

STEPS = 5
LR = 0.07
SHAPES = [(4, 3), (5,), (2, 3, 2)]


def draw(seed: int) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape) for shape in SHAPES]


def compare(
    name: str, oracle: Step, lr: Callable[[int], float] = lambda step: LR, **options: Any
) -> torch.optim.Optimizer:
    """Run `name` and the oracle over the same gradients and compare the parameters after every step."""
    expected = draw(0)
    params = [torch.tensor(x, requires_grad=True) for x in expected]
    optimizer = OPTIMIZERS[name](params, lr=LR, **options)
    for step in range(1, STEPS + 1):
        # Successive gradients are alike, as in training; otherwise every momentum rule sits at its bounds.
        grads = [common + 0.3 * own for common, own in zip(draw(1), draw(1 + step), strict=True)]
        for param, grad in zip(params, grads, strict=True):
            param.grad = torch.tensor(grad)
        optimizer.param_groups[0]["lr"] = lr(step)
        optimizer.step()
        oracle(step, expected, grads)
        for param, x in zip(params, expected, strict=True):
            np.testing.assert_allclose(param.detach().numpy(), x, rtol=1e-12, atol=1e-14)
    return optimizer


def norm(arrays: list[Array]) -> float:
    return float(np.sqrt(sum(np.sum(array**2) for array in arrays)))


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
