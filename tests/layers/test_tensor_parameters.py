"""Parameters that are tensors: parametrizations, pruning, hypernetworks, functional calls; as with torch.nn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from layer_inputs import DYNAMIC, flat, random
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

from momentum_cli import GRU, LSTM, RNN, Identity, OrthogonalRNN
from momentum_cli.kernels import BACKENDS
from momentum_cli.layers.recurrent import RecurrentLayer

LAYERS: dict[str, Any] = {"lstm": LSTM, "gru": GRU, "rnn": RNN, "orthogonal": OrthogonalRNN}
THEIRS: dict[str, Any] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
BACKEND_NAMES = ["auto", "reference", "native", "fused"]


def build(kind: str, dynamics: str, backend: str) -> RecurrentLayer:
    torch.manual_seed(0)
    layer: RecurrentLayer = LAYERS[kind](3, 4, dynamics=DYNAMIC[dynamics], dtype=torch.float64)
    if backend != "auto" and BACKENDS[backend].supports(layer.work(torch.device("cpu"), torch.float64)) is not None:
        pytest.skip(f"{backend} does not serve this layer")
    layer.backend = backend
    return layer


def name_of(kind: str) -> str:
    return "weight_ih_l0" if kind == "orthogonal" else "weight_hh_l0"


class Doubled(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


CHANGES: dict[str, Callable[[nn.Module, str], Any]] = {
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "own": lambda module, name: parametrize.register_parametrization(module, name, Doubled()),
    "prune": lambda module, name: prune.l1_unstructured(module, name, 0.5),
}


@pytest.mark.parametrize(
    ("dynamics", "change"),
    [
        # How a parameter is read does not depend on the dynamics.
        pytest.param(dynamics, change, marks=[] if dynamics == "adam" or change == "weight_norm" else pytest.mark.slow)
        for dynamics in DYNAMIC
        for change in CHANGES
    ],
)
@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize("kind", LAYERS)
def test_a_changed_parameter_computes_what_its_value_does(kind: str, dynamics: str, backend: str, change: str) -> None:
    layer, plain = build(kind, dynamics, backend), build(kind, dynamics, "reference")
    name = name_of(kind)
    CHANGES[change](layer.eval(), name)
    x = random(60, 8, 3)
    with torch.no_grad():
        plain.get_parameter(name).copy_(getattr(layer, name))
    output, state = layer(x)
    right, right_state = plain(x)
    torch.testing.assert_close(output, right, rtol=1e-10, atol=1e-12)
    for one, other in zip(flat(state), flat(right_state), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    output.sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in layer.parameters())


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", THEIRS)
def test_gradients_are_those_of_torch(kind: str, change: str) -> None:
    torch.manual_seed(0)
    theirs = THEIRS[kind](3, 4).double()
    mine = LAYERS[kind](3, 4, dynamics=Identity(), dtype=torch.float64)
    mine.load_state_dict(theirs.state_dict())
    x = random(60, 8, 3)
    gradients = []
    for module in (theirs, mine):
        torch.manual_seed(1)
        CHANGES[change](module.eval(), "weight_hh_l0")
        module(x)[0].pow(2).sum().backward()
        gradients.append({name: parameter.grad for name, parameter in module.named_parameters()})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize("kind", LAYERS)
def test_a_weight_made_by_another_network(kind: str, backend: str) -> None:
    layer = build(kind, "momentum", backend)
    name = name_of(kind)
    shape = layer.get_parameter(name).shape
    source = random(*shape, seed=3).requires_grad_()
    delattr(layer, name)
    setattr(layer, name, source * 0.3)
    layer(random(60, 8, 3))[0].sum().backward()
    assert source.grad is not None
    plain = build(kind, "momentum", "reference")
    weight = plain.get_parameter(name)
    with torch.no_grad():
        weight.copy_(source * 0.3)
    plain(random(60, 8, 3))[0].sum().backward()
    torch.testing.assert_close(source.grad, weight.grad * 0.3, rtol=1e-9, atol=1e-11)
    setattr(layer, name, None)
    with pytest.raises(TypeError, match=rf"`{name}` must be a tensor, got nothing"):
        layer(random(60, 8, 3))


@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize("kind", LAYERS)
def test_a_functional_call_takes_the_parameters_that_it_is_given(kind: str, backend: str) -> None:
    layer = build(kind, "momentum", backend)
    x = random(60, 8, 3)
    given = {name: (0.5 * value.detach()).requires_grad_() for name, value in layer.named_parameters()}
    output = torch.func.functional_call(layer, given, (x,))[0]
    gradients = torch.autograd.grad(output.pow(2).sum(), list(given.values()))
    plain = build(kind, "momentum", "reference")
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.mul_(0.5)
    right = torch.autograd.grad(plain(x)[0].pow(2).sum(), list(plain.parameters()))
    for one, other in zip(gradients, right, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)
