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


@pytest.mark.parametrize("schedule", ["onecycle", "cyclic", "by hand"])
def test_a_scaled_momentum_that_something_else_sets_is_refused(schedule: str) -> None:
    """It was overwritten without a word: OneCycleLR cycled a momentum that no step had."""
    optimizer = SGD(start(), lr=0.1, momentum="scaled")
    run(optimizer, [0.1, 0.05])
    if schedule == "onecycle":
        torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=9)
    elif schedule == "cyclic":
        torch.optim.lr_scheduler.CyclicLR(optimizer, 0.01, 0.1)
    else:
        optimizer.param_groups[0]["momentum"] = 0.5
    before = optimizer.param_groups[0]["params"][0].clone()
    with pytest.raises(ValueError, match=r"`momentum` must be left alone.*cycle_momentum=False"):
        optimizer.step()
    assert torch.equal(optimizer.param_groups[0]["params"][0], before)


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler")
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_onecycle_does_to_each_optimizer_what_it_does_to_those_of_torch(name: str) -> None:
    """It cycles the momentum of those that have an option for it, and refuses the others."""
    cls, (param,) = OPTIMIZERS[name], start()
    optimizer = cls([param], lr=0.1)
    cycles: Any = torch.optim.lr_scheduler.OneCycleLR
    if {"momentum", "betas"} & inspect.signature(cls).parameters.keys():
        schedule = cycles(optimizer, max_lr=0.1, total_steps=9)
    else:
        with pytest.raises(ValueError, match="optimizer must support momentum or beta1"):
            cycles(optimizer, max_lr=0.1, total_steps=9)
        optimizer = cls([param], lr=0.1)
        schedule = cycles(optimizer, max_lr=0.1, total_steps=9, cycle_momentum=False)
    rates = []
    for _ in range(8):
        param.grad = torch.ones(3)
        before = param.detach().clone()
        optimizer.step()
        rates.append(optimizer.param_groups[0]["lr"])
        schedule.step()
        assert not torch.equal(param, before)
    assert max(rates) > 0.09
    assert rates[-1] < 0.01


def test_scaled_sgd_follows_onecycle_without_momentum_as_sgd_given_both() -> None:
    ours = SGD(start(), lr=0.1, momentum="scaled")
    theirs = torch.optim.SGD(start(), lr=0.1, momentum=0.9)
    schedules = [
        torch.optim.lr_scheduler.OneCycleLR(o, max_lr=0.1, total_steps=9, cycle_momentum=False) for o in (ours, theirs)
    ]
    for step in range(8):
        for optimizer, schedule in zip((ours, theirs), schedules, strict=True):
            optimizer.param_groups[0]["params"][0].grad = torch.tensor([1.0, 0.5, -0.2]) * (step + 1)
            theirs.param_groups[0]["momentum"] = scaled_momentum(theirs.param_groups[0]["lr"], 0.464)
            optimizer.step()
            schedule.step()
    assert torch.equal(ours.param_groups[0]["params"][0], theirs.param_groups[0]["params"][0])


@pytest.mark.parametrize("option", ["capturable", "differentiable"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_capturable_and_differentiable_work_as_in_torch_or_are_refused(name: str, option: str) -> None:
    cls = OPTIMIZERS[name]
    if option not in inspect.signature(cls).parameters:
        with pytest.raises(TypeError, match=option):
            cls(start(), lr=0.1, **{option: True})
        return
    if option == "capturable":
        assert cls.__module__.startswith("torch")
        return
    (leaf,) = start()
    param = leaf.clone()
    optimizer = cls([leaf], lr=0.1, differentiable=True)
    optimizer.param_groups[0]["params"][0] = param
    param.grad = torch.tensor([1.0, 0.5, -0.2], requires_grad=True)
    optimizer.step()
    (gradient,) = torch.autograd.grad(param.sum(), leaf)
    assert (gradient > 0.9).all()  # 1, less the weight decay of adamw


def test_scaled_sgd_is_as_differentiable_as_torch_with_that_momentum() -> None:
    slopes = []
    for cls, momentum in ((SGD, "scaled"), (torch.optim.SGD, scaled_momentum(0.1, 0.464))):
        leaf, grad = torch.zeros(3), torch.tensor([1.0, 0.5, -0.2], requires_grad=True)
        param = leaf.clone()
        optimizer: Any = cls([leaf], lr=0.1, momentum=momentum, differentiable=True)  # type: ignore[arg-type]
        optimizer.param_groups[0]["params"][0] = param
        for _ in range(2):  # torch takes the first gradient as a constant
            param.grad = grad * 2
            optimizer.step()
        slopes += torch.autograd.grad(param.sum(), grad)
    torch.testing.assert_close(slopes[0], torch.full((3,), -0.2))
    assert torch.equal(*slopes)


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
