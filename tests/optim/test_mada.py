"""MADA against its formula with derivatives by autograd, and its corners against the optimizers they are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from optim_oracle import LR, STEPS, Array, compare, decays, draw, every_decay, norm

from momentum_cli.optim import OPTIMIZERS


def mada_direction(
    step: int, g: torch.Tensor, state: dict[str, torch.Tensor], point: dict[str, torch.Tensor], eps: float
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """u_t and the moments after it, by the docstring, in operations that autograd follows."""
    beta3, c, rho, gamma = point["beta3"], point["c"], point["rho"], point["gamma"]
    change = g - state["previous"]
    m = 0.9 * state["m"] + 0.1 * g
    n = beta3 * state["n"] + (1 - beta3) * change
    first = m / (1 - 0.9**step) + beta3 * n
    ahead = (g + beta3 * change) ** 2
    s = c * ahead + (1 - c) * (state["v"] + ahead * torch.sign(ahead - state["v"]))
    v = 0.999 * state["v"] + 0.001 * s
    unbiased = v / (1 - 0.999**step)
    total = state["total"] + unbiased
    mixed = rho * unbiased + (1 - rho) * total / step
    # The root with the slope 1 / (2 (root + eps)) that the optimizer takes.
    value = mixed.detach()
    root = value.sqrt() + (mixed - value) / (2 * (value.sqrt() + eps))
    update = gamma * first / (root + eps) + (1 - gamma) * torch.sign(first.detach())
    after = {"m": m, "n": n, "v": v, "total": total, "previous": g}
    return update, {name: tensor.detach() for name, tensor in after.items()}


@pytest.mark.parametrize("hyper_lr", [0.0, 0.05])
@pytest.mark.parametrize(
    "start",
    [{}, {"beta3": 0.3, "c": 0.4, "rho": 0.6, "gamma": 0.7}, {"beta3": 0.02, "c": 0.99, "rho": 0.01, "gamma": 0.5}],
    ids=str,
)
@every_decay
def test_mada(options: dict[str, Any], start: dict[str, float], hyper_lr: float) -> None:
    """The derivatives of the step by autograd, the hyper-gradient step by hand."""
    coupled, decoupled = decays(options)
    eps = 1e-3
    first = {"beta3": 0.0, "c": 1.0, "rho": 1.0, "gamma": 1.0, **start}
    point = {name: torch.tensor(value, dtype=torch.float64) for name, value in first.items()}
    states: list[dict[str, torch.Tensor]] = []
    slopes: dict[str, list[torch.Tensor]] = {}

    def oracle(step: int, x: list[Array], grads: list[Array]) -> None:
        g = [torch.tensor(grad + coupled * value) for grad, value in zip(grads, x, strict=True)]
        if step == 1:
            zero = [{name: torch.zeros_like(grad) for name in ("m", "n", "v", "total")} for grad in g]
            states[:] = [{**state, "previous": grad} for state, grad in zip(zero, g, strict=True)]
        for name, slope in slopes.items():
            inner = sum(float((grad * of_tensor).sum()) for grad, of_tensor in zip(g, slope, strict=True))
            lengths = norm([grad.numpy() for grad in g]) * norm([of_tensor.numpy() for of_tensor in slope])
            if lengths > 0:
                point[name] = (point[name] + hyper_lr * inner / lengths).clamp(0, 1)
        for i in range(len(g)):
            update, after = mada_direction(step, g[i], states[i], point, eps)
            for name, here in point.items():

                def of_coefficient(value: torch.Tensor, name: str = name, i: int = i) -> torch.Tensor:
                    return mada_direction(step, g[i], states[i], {**point, name: value}, eps)[0]

                slopes.setdefault(name, [])[i:] = [torch.autograd.functional.jacobian(of_coefficient, here)]
            states[i] = after
            x[i] -= LR * (update.numpy() + decoupled * x[i])

    optimizer = compare("mada", oracle, hyper_lr=hyper_lr, eps=eps, **options, **start)
    learned = optimizer.diagnostics()  # type: ignore[attr-defined]
    assert {name: value.item() for name, value in learned.items()} == pytest.approx(
        {name: value.item() for name, value in point.items()}
    )
    moved = [abs(point[name].item() - first[name]) for name in point]
    assert max(moved) > 0 if hyper_lr else max(moved) == 0


@pytest.mark.parametrize(
    ("ours", "options", "theirs"),
    [
        ("mada", {}, torch.optim.Adam),
        ("avgrad", {"beta2": 0.0}, None),
        ("tanhsigngrad", {"beta3": 0.0}, torch.optim.Adam),
    ],
)
def test_corners_are_known_optimizers(ours: str, options: dict[str, Any], theirs: Any) -> None:
    """MADA at β3 = 0, c = ρ = γ = 1 and friction 1 are torch's Adam; MADA at ρ = 0 is our AVGrad."""
    extra = {"hyper_lr": 0.0} if ours == "mada" else {}
    left = [torch.tensor(x, requires_grad=True) for x in draw(0)]
    right = [torch.tensor(x, requires_grad=True) for x in draw(0)]
    first = OPTIMIZERS[ours](left, lr=LR, **options, **extra)
    second = theirs(right, lr=LR) if theirs else OPTIMIZERS["mada"](right, lr=LR, rho=0.0, hyper_lr=0.0, **options)
    for step in range(STEPS):
        for params in (left, right):
            for param, grad in zip(params, draw(1 + step), strict=True):
                param.grad = torch.tensor(grad)
        first.step()
        second.step()
    for a, b in zip(left, right, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)
