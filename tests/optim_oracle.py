"""Runs an optimizer next to its formula in numpy and float64."""

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


DECAYS: list[dict[str, Any]] = [
    {},
    {"weight_decay": 0.3, "decoupled_weight_decay": False},
    {"weight_decay": 0.3, "decoupled_weight_decay": True},
]
every_decay = pytest.mark.parametrize("options", DECAYS, ids=str)


def decays(options: dict[str, Any]) -> tuple[float, float]:
    """Coupled and decoupled decay."""
    decay = options.get("weight_decay", 0.0)
    return (0.0, decay) if options.get("decoupled_weight_decay") else (decay, 0.0)


def zeros() -> list[Array]:
    return [np.zeros(shape) for shape in SHAPES]
