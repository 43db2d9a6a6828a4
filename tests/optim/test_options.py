"""Options that optimizers share are those of every constructor: shown, described, applied, and no others accepted."""

from __future__ import annotations

import inspect
import pydoc
from typing import Annotated, Any, Unpack

import pytest
import torch
from torch import Tensor

from momentum_cli.optim import OPTIMIZERS
from momentum_cli.optim.ahb_adam import AHBAdamW
from momentum_cli.optim.ahb_sgd import AHBSGD
from momentum_cli.optim.optimizer import Group, MultiTensorOptimizer, Params, Work
from momentum_cli.optim.options import Default, StepOptions

OURS = {name: cls for name, cls in OPTIMIZERS.items() if issubclass(cls, MultiTensorOptimizer)}
every_class = pytest.mark.parametrize("cls", OURS.values(), ids=OURS)


def start() -> list[Tensor]:
    return [torch.tensor([1.0, -2.0], requires_grad=True)]


@every_class
def test_the_signature_is_what_the_optimizer_starts_with(cls: Any) -> None:
    parameters = dict(inspect.signature(cls).parameters)
    assert list(parameters)[:2] == ["params", "lr"]
    del parameters["params"]
    assert {"weight_decay", "maximize", "foreach"} <= parameters.keys()
    made = cls(start()).defaults
    assert {name: made[name] for name in parameters} == {name: each.default for name, each in parameters.items()}
    # A class may set an option that it does not offer, and nothing else.
    assert made.keys() - parameters.keys() <= {"decoupled_weight_decay"}


@every_class
def test_every_option_is_shown_by_help_and_described(cls: Any) -> None:
    shown, described = pydoc.render_doc(cls), inspect.getdoc(cls) or ""
    for name in inspect.signature(cls).parameters:
        assert f"{name}:" in shown.split("\n |  \n")[0], name
        assert f"    {name}: " in described, name


@every_class
def test_an_option_that_there_is_not_is_refused(cls: Any) -> None:
    with pytest.raises(
        TypeError, match=rf"unknown option 'wieght_decay' of {cls.__name__}; did you mean 'weight_decay'"
    ):
        cls(start(), wieght_decay=0.1)


def test_options_take_effect_by_their_names() -> None:
    group = AHBSGD(start(), 0.3, weight_decay=0.1, guard=True, foreach=False).param_groups[0]
    assert [group[name] for name in ("lr", "weight_decay", "guard", "foreach", "delta")] == [
        0.3,
        0.1,
        True,
        False,
        1e-3,
    ]
    adamw = AHBAdamW(start(), 0.3, 0.9, 1e-6).param_groups[0]
    assert [adamw[name] for name in ("beta2", "eps", "weight_decay", "decoupled_weight_decay")] == [
        0.9,
        1e-6,
        0.01,
        True,
    ]
    with pytest.raises(TypeError, match="multiple values for keyword argument 'decoupled_weight_decay'"):
        AHBAdamW(start(), decoupled_weight_decay=False)  # type: ignore[call-arg]


class PullOptions(StepOptions, total=False):
    pull: Annotated[float, Default(0.5)]


class Pulled(MultiTensorOptimizer):
    first_state = "unused"

    def __init__(self, params: Params, lr: float = 0.5, **options: Unpack[PullOptions]) -> None:
        super().__init__(params, lr=lr, weight_decay=0.0, decoupled_weight_decay=False, **options)

    def _check(self, group: Group) -> None: ...

    def _new_state(self, group: Group, param: Tensor, grad: Tensor) -> dict[str, Tensor]:
        return {}

    def _apply(self, work: Work) -> None: ...


def test_a_constructor_names_only_what_it_adds() -> None:
    shown = [(each.name, each.default) for each in inspect.signature(Pulled).parameters.values()]
    assert shown[1:] == [("lr", 0.5), ("maximize", False), ("foreach", None), ("pull", 0.5)]
    assert Pulled(start(), pull=0.1).defaults["pull"] == 0.1
