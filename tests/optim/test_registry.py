"""Optimizers by name: the table, torch's SGD with a scaled momentum, and the package pytorch-optimizer."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from momentum_cli.optim import EXTERNAL, OPTIMIZERS, resolve
from momentum_cli.optim.sgd import SGD, scaled_momentum


def start() -> list[torch.Tensor]:
    return [torch.tensor([1.0, -2.0, 3.0], requires_grad=True)]


def run(optimizer: torch.optim.Optimizer, rates: list[float]) -> torch.Tensor:
    (param,) = optimizer.param_groups[0]["params"]
    for step, rate in enumerate(rates):
        optimizer.param_groups[0]["lr"] = rate
        param.grad = torch.tensor([1.0, 0.5, -0.2]) * (step + 1)
        optimizer.step()
    detached: torch.Tensor = param.detach()
    return detached


def test_table_names_its_own_classes_and_the_page_describes_them() -> None:
    page = (Path(__file__).parents[2] / "docs" / "optimizers.md").read_text(encoding="utf-8")
    for name, cls in OPTIMIZERS.items():
        assert resolve(name) is cls
        assert f"`{name}`" in page, f"docs/optimizers.md does not say what {name} is"
        assert "lr" in inspect.signature(cls).parameters


def test_unknown_names_get_the_nearest_one() -> None:
    with pytest.raises(ValueError, match=r"unknown optimizer 'ahb-sdg'; did you mean 'ahb-sgd'\?"):
        resolve("ahb-sdg")


def test_scaled_momentum_follows_the_rate() -> None:
    """Step by step it is SGD with the momentum of the formula."""
    rates = [0.1, 0.05, 0.01, 0.02]
    scaled = run(SGD(start(), lr=0.1, momentum="scaled", momentum_scale=0.7), rates)
    (param,) = start()
    buffer = torch.zeros(3)
    with torch.no_grad():
        for step, rate in enumerate(rates):
            beta = 1 - 0.7 * rate ** (2 / 3)
            grad = torch.tensor([1.0, 0.5, -0.2]) * (step + 1)
            buffer = grad if step == 0 else beta * buffer + grad
            param -= rate * buffer
    torch.testing.assert_close(scaled, param.detach())


def test_scaled_momentum_stays_in_range() -> None:
    assert scaled_momentum(0.1, 0.464) == pytest.approx(0.9, abs=1e-3)
    assert scaled_momentum(10.0, 1.0) == 0.0
    assert scaled_momentum(0.0, 1.0) < 1


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9, "nesterov": True}, {"momentum": 0.5, "weight_decay": 0.1}])
def test_otherwise_it_is_torch_sgd(options: dict[str, Any]) -> None:
    rates = [0.1, 0.05, 0.02]
    assert torch.equal(
        run(SGD(start(), lr=0.1, **options), rates), run(torch.optim.SGD(start(), lr=0.1, **options), rates)
    )


def test_scaled_momentum_survives_a_checkpoint() -> None:
    first = SGD(start(), lr=0.1, momentum="scaled")
    run(first, [0.1, 0.1])
    second = SGD(start(), lr=0.3)
    second.load_state_dict(first.state_dict())
    run(second, [0.02])
    assert second.param_groups[0]["momentum"] == scaled_momentum(0.02, 0.464)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"momentum": "scale"}, "`momentum` must be a number >= 0 or 'scaled', got 'scale'"),
        ({"momentum": "scaled", "momentum_scale": 0.0}, "`momentum_scale` must be > 0, got 0.0"),
        (
            {"momentum": "scaled", "lr": torch.tensor(0.1)},
            "`lr` must be a number where the momentum is scaled, got tensor",
        ),
    ],
)
def test_wrong_options_of_the_scaled_momentum(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="^" + message.replace("(", r"\(")):
        SGD(start(), **options)


def test_without_the_package_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
    with pytest.raises(ValueError, match=r"not installed; install it with: pip install \"momentumrnn\[optimizers\]\""):
        resolve(f"{EXTERNAL}adai")


@pytest.mark.filterwarnings("ignore")
def test_optimizers_of_the_package_are_found_by_name() -> None:
    pytest.importorskip("pytorch_optimizer")
    adai = resolve(f"{EXTERNAL}AdaI")
    assert adai.__name__ == "Adai"
    params = start()
    assert not torch.equal(run(adai(params, lr=0.1), [0.1]), start()[0])  # type: ignore[call-arg]
    with pytest.raises(ValueError, match=r"did you mean 'pytorch_optimizer:adabelief'\?"):
        resolve(f"{EXTERNAL}adabelif")
