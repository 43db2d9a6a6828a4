"""A NaN or an infinity in one gradient spoils its own tensor and leaves the steps of the others as they are."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor

from momentum_cli.optim import OPTIMIZERS

SHAPES = [(3, 2), (4,), (2, 2), (5,)]
SPOILED, AT, STEPS = 1, 2, 6
CASES: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in OPTIMIZERS]
CASES += [
    (name, {"scope": "tensor"}) for name in OPTIMIZERS if "scope" in inspect.signature(OPTIMIZERS[name]).parameters
]
CASES += [("ahb-adam", {"guard": True}), ("mada", {"hyper_lr": 0.1, "beta3": 0.2, "rho": 0.7})]


def run(name: str, options: dict[str, Any], bad: float | None, groups: int, dtypes: list[torch.dtype]) -> list[Tensor]:
    """Make steps; from `AT` on one gradient is bad, or not there."""
    generator = torch.Generator().manual_seed(0)

    def draw() -> list[Tensor]:
        return [torch.randn(s, generator=generator).to(d) for s, d in zip(SHAPES, dtypes, strict=True)]

    params = [p.requires_grad_() for p in draw()]
    parts = [{"params": params[part::groups]} for part in range(groups)]
    optimizer = OPTIMIZERS[name](parts, **{"lr": 0.01, **options})
    for step in range(STEPS):
        for param, grad in zip(params, draw(), strict=True):
            param.grad = grad
        if step >= AT:
            if bad is None:
                params[SPOILED].grad = None
            else:
                params[SPOILED].grad.view(-1)[1] = bad  # type: ignore[union-attr]
        optimizer.step()
    return [param.detach() for param in params]


@pytest.mark.parametrize("foreach", [None, False])
@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_others_step_as_if_the_tensor_had_no_gradient(name: str, options: dict[str, Any], foreach: bool | None) -> None:
    for dtypes in ([torch.float32] * 4, [torch.float32, torch.float64, torch.float64, torch.float32]):
        for groups in (1, 2):
            given = {**options, "foreach": foreach}
            without = run(name, given, None, groups, dtypes)
            for bad in (float("nan"), -float("inf")):
                spoiled = run(name, given, bad, groups, dtypes)
                for number, (one, other) in enumerate(zip(spoiled, without, strict=True)):
                    if number != SPOILED:
                        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)
            assert not torch.isfinite(spoiled[SPOILED]).all()
