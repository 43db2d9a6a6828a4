"""The first steps of the other optimizers against the formulas of their docstrings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from optim_oracle import LR, SHAPES, Array, compare, decays, every_decay, norm, zeros

from momentum_cli.optim import OPTIMIZERS


@every_decay
def test_nhb(options: dict[str, Any]) -> None:
    coupled, decoupled = decays(options)
    m, previous = zeros(), zeros()
    seen = []

    def oracle(step: int, x: list[Array], grads: list[Array]) -> None:
        for i, grad in enumerate(grads):
            g = grad + coupled * x[i]
            if step == 1:
                m[i][:] = g
            else:
                q = norm([g - previous[i]]) / norm([g])
                b = min(((1 - q) / (1 + q)) ** 2, 1 - 1e-3)
                seen.append(b)
                m[i][:] = b * m[i] + (1 - b) * g
            previous[i][:] = g
            x[i] -= LR * (m[i] + decoupled * x[i])

    optimizer = compare("nhb", oracle, **options)
    assert optimizer.diagnostics()["beta"].item() == pytest.approx(np.mean(seen[-3:]))  # type: ignore[attr-defined]


def test_nhb_bounds_its_momentum_below_one() -> None:
    """The same gradient again: q = 0."""
    param = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = OPTIMIZERS["nhb"]([param], lr=1.0, delta=0.25)
    for _ in range(2):
        param.grad = torch.ones_like(param)
        optimizer.step()
    assert optimizer.diagnostics()["beta"].item() == 0.75  # type: ignore[attr-defined]


@pytest.mark.parametrize("scope", ["global", "tensor"])
@every_decay
def test_frsgd(options: dict[str, Any], scope: str) -> None:
    coupled, decoupled = decays(options)
    m = zeros()
    before: dict[int, float] = {}
    seen: list[float] = []

    def oracle(step: int, x: list[Array], grads: list[Array]) -> None:
        g = [grad + coupled * value for grad, value in zip(grads, x, strict=True)]
        sizes = [norm(g)] * len(g) if scope == "global" else [norm([grad]) for grad in g]
        for i, grad in enumerate(g):
            b = 0.0 if step == 1 else min(sizes[i] ** 2 / before[i] ** 2, 1 - 1e-4)
            seen.append(b)
            before[i] = sizes[i]
            m[i][:] = b * m[i] + grad
            x[i] -= LR * (m[i] + decoupled * x[i])

    optimizer = compare("frsgd", oracle, scope=scope, **options)
    assert any(0 < b < 1 - 1e-4 for b in seen)
    assert optimizer.diagnostics()["beta"].item() == pytest.approx(np.mean(seen[-3:]))  # type: ignore[attr-defined]


@pytest.mark.parametrize("method", [{}, {"beta": 0.6, "resilience_decay": 0.8, "eps": 0.01}, {"resilience_decay": 0.0}])
@every_decay
def test_adarem(options: dict[str, Any], method: dict[str, float]) -> None:
    coupled, decoupled = decays(options)
    beta, fade, eps = method.get("beta", 0.999), method.get("resilience_decay", 0.999), method.get("eps", 1e-8)
    u = zeros()

    def oracle(step: int, x: list[Array], grads: list[Array]) -> None:
        for i, grad in enumerate(grads):
            g = grad + coupled * x[i]
            a = 1 + fade**step * np.sign(g) * u[i] / (np.max(np.abs(u[i])) + eps)
            assert np.all((a >= 0) & (a <= 2))
            x[i] -= LR * (a * g + decoupled * x[i])
            u[i][:] = beta * u[i] + (1 - beta) * g

    compare("adarem", oracle, **options, **method)


@pytest.mark.parametrize("name", ["sigsigngrad", "tanhsigngrad"])
@pytest.mark.parametrize("method", [{}, {"beta1": 0.5, "beta2": 0.7, "beta3": 2.5, "eps": 0.1}], ids=str)
@every_decay
def test_sign_grad(name: str, options: dict[str, Any], method: dict[str, float]) -> None:
    coupled, decoupled = decays(options)
    beta1, beta2 = method.get("beta1", 0.9), method.get("beta2", 0.999)
    beta3, eps = method.get("beta3", 1.0), method.get("eps", 1e-8)
    m, v, previous = zeros(), zeros(), zeros()

    def oracle(step: int, x: list[Array], grads: list[Array]) -> None:
        for i, grad in enumerate(grads):
            g = grad + coupled * x[i]
            m[i][:] = beta1 * m[i] + (1 - beta1) * g
            v[i][:] = beta2 * v[i] + (1 - beta2) * g**2
            product = beta3 * previous[i] * g
            friction = 1 / (1 + np.exp(-product)) if name == "sigsigngrad" else np.tanh(product) + 1
            previous[i][:] = g
            adam = m[i] / (1 - beta1**step) / (np.sqrt(v[i] / (1 - beta2**step)) + eps)
            x[i] -= LR * (friction * adam + decoupled * x[i])

    compare(name, oracle, **options, **method)


@pytest.mark.parametrize("method", [{}, {"beta1": 0.5, "beta2": 0.7, "eps": 0.1}], ids=str)
@every_decay
def test_avgrad(options: dict[str, Any], method: dict[str, float]) -> None:
    coupled, decoupled = decays(options)
    beta1, beta2, eps = method.get("beta1", 0.9), method.get("beta2", 0.999), method.get("eps", 1e-8)
    m, v = zeros(), zeros()
    unbiased: list[list[Array]] = [[] for _ in SHAPES]

    def oracle(step: int, x: list[Array], grads: list[Array]) -> None:
        for i, grad in enumerate(grads):
            g = grad + coupled * x[i]
            m[i][:] = beta1 * m[i] + (1 - beta1) * g
            v[i][:] = beta2 * v[i] + (1 - beta2) * g**2
            unbiased[i].append(v[i] / (1 - beta2**step))
            mean = np.mean(unbiased[i], axis=0)
            x[i] -= LR * (m[i] / (1 - beta1**step) / (np.sqrt(mean) + eps) + decoupled * x[i])

    compare("avgrad", oracle, **options, **method)


@pytest.mark.parametrize("method", [{}, {"beta1": 0.5, "beta2": 0.7, "eps": 0.1, "clip_threshold": 0.3}], ids=str)
@every_decay
def test_hfac(options: dict[str, Any], method: dict[str, float]) -> None:
    """Written with matrices of ones, as in the paper; a vector is a column without ψ and with r itself."""
    coupled, decoupled = decays(options)
    beta1, beta2 = method.get("beta1", 0.9), method.get("beta2", 0.999)
    eps, threshold = method.get("eps", 1e-30), method.get("clip_threshold", 1.0)
    matrices = [(shape[0], int(np.prod(shape[1:]))) for shape in SHAPES]
    u = [np.zeros((rows, 1)) for rows, _ in matrices]
    r = [np.zeros((rows, 1)) for rows, _ in matrices]
    v = [np.zeros((columns, 1)) for _, columns in matrices]
    s = [np.zeros((columns, 1)) for _, columns in matrices]
    clipped = []

    def oracle(step: int, x: list[Array], grads: list[Array]) -> None:
        keep1, keep2 = (beta * (1 - beta ** (step - 1)) / (1 - beta**step) for beta in (beta1, beta2))
        for i, grad in enumerate(grads):
            rows, columns = matrices[i]
            g = (grad + coupled * x[i]).reshape(rows, columns)
            ones_m, ones_n = np.ones((rows, 1)), np.ones((columns, 1))
            u[i] = keep1 * u[i] + (1 - keep1) * g @ ones_n / columns
            v[i] = keep1 * v[i] + (1 - keep1) * g.T @ ones_m / rows
            r[i] = keep2 * r[i] + (1 - keep2) * (g**2 + eps) @ ones_n
            s[i] = keep2 * s[i] + (1 - keep2) * (g.T**2 + eps) @ ones_m
            second = r[i] @ s[i].T / (ones_m.T @ r[i])
            phi = keep1 * (u[i] @ ones_n.T - g @ ones_n @ ones_n.T / columns) / np.sqrt(r[i] @ ones_n.T / columns)
            psi = keep1 * (ones_m @ v[i].T - ones_m @ ones_m.T @ g / rows) / np.sqrt(ones_m @ s[i].T / rows)
            if len(SHAPES[i]) == 1:
                second, drift = r[i], phi
            else:
                drift = 0.5 * (phi + psi)
            scaled = g / np.sqrt(second)
            clip = max(1.0, float(np.sqrt(np.mean(scaled**2))) / threshold)
            clipped.append(clip > 1)
            x[i] -= LR * ((drift + scaled / clip).reshape(SHAPES[i]) + decoupled * x[i])

    compare("hfac", oracle, **options, **method)
    assert any(clipped)
