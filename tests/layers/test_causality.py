"""No output depends on a later input and no gradient on an earlier one, even if an input is NaN.

Axes: T time, B batch.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from layer_inputs import DYNAMIC, random
from torch import Tensor

from momentum_cli import GRU, LSTM, RNN, HeavyBall, OrthogonalRNN
from momentum_cli.dynamics.protocol import Dynamics
from momentum_cli.kernels import BACKENDS
from momentum_cli.layers.recurrent import RecurrentLayer

LAYERS: dict[str, Any] = {"lstm": LSTM, "gru": GRU, "rnn": RNN, "orthogonal": OrthogonalRNN}
BACKEND_NAMES = ["reference", "native", "fused"]
STEPS, BATCH, AT, ROW = 60, 8, 30, 3
BAD = {"nan": float("nan"), "inf": float("inf"), "-inf": -float("inf"), "overflow": 3e38}


def build(kind: str, dynamics: Dynamics, backend: str, **options: Any) -> RecurrentLayer:
    torch.manual_seed(0)
    layer: RecurrentLayer = LAYERS[kind](5, 7, dynamics=dynamics, **options)
    if BACKENDS[backend].supports(layer.work(torch.device("cpu"), torch.float32)) is not None:
        pytest.skip(f"{backend} does not serve this layer")
    layer.backend = backend
    return layer


def inputs(bad: float) -> tuple[Tensor, Tensor]:
    """Return an input, and the same with a bad value in one row at one step."""
    clean = random(STEPS, BATCH, 5).float()
    spoiled = clean.clone()
    spoiled[AT, ROW, 2] = bad
    return clean, spoiled


def others(values: Tensor) -> Tensor:
    return torch.cat([values[:, :ROW], values[:, ROW + 1 :]], 1)


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize("dynamics", DYNAMIC)
@pytest.mark.parametrize("kind", LAYERS)
def test_a_bad_value_does_not_reach_back(kind: str, dynamics: str, backend: str, bad: str) -> None:
    layer = build(kind, DYNAMIC[dynamics], backend, bidirectional=True)
    clean, spoiled = inputs(BAD[bad])
    right, got = layer(clean)[0], layer(spoiled)[0]
    size = layer.hidden_size
    assert torch.equal(got[:AT, :, :size], right[:AT, :, :size])
    assert torch.equal(got[AT + 1 :, :, size:], right[AT + 1 :, :, size:])
    assert torch.equal(others(got), others(right))


@pytest.mark.parametrize("backend", BACKEND_NAMES)
def test_a_product_that_overflows_does_not_reach_back(backend: str) -> None:
    layer = build("lstm", HeavyBall(0.9, 2.0), backend)
    clean, spoiled = inputs(3e38)
    assert torch.equal(layer(spoiled)[0][:AT], layer(clean)[0][:AT])


@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize("dynamics", DYNAMIC)
@pytest.mark.parametrize("kind", LAYERS)
def test_in_chunks_a_bad_value_spoils_what_it_spoils_in_the_whole(kind: str, dynamics: str, backend: str) -> None:
    layer = build(kind, DYNAMIC[dynamics], backend)
    _, spoiled = inputs(float("nan"))
    whole, _ = layer(spoiled)
    parts, state = [], None
    for chunk in spoiled.split(17):
        output, state = layer(chunk, state)
        parts.append(output)
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-4, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize("dynamics", DYNAMIC)
@pytest.mark.parametrize("kind", LAYERS)
def test_a_bad_gradient_does_not_reach_forward(kind: str, dynamics: str, backend: str) -> None:
    layer = build(kind, DYNAMIC[dynamics], backend)
    x = inputs(0.0)[0].requires_grad_()
    upstream = random(STEPS, BATCH, 7, seed=1).float()
    (right,) = torch.autograd.grad(layer(x)[0], x, upstream)
    upstream[AT, ROW, 1] = float("nan")
    (got,) = torch.autograd.grad(layer(x)[0], x, upstream)
    torch.testing.assert_close(got[AT + 1 :], right[AT + 1 :], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(others(got), others(right), rtol=1e-5, atol=1e-6)
    assert got[AT, ROW].isnan().all()


@pytest.mark.parametrize("backend", BACKEND_NAMES[1:])
@pytest.mark.parametrize("kind", [*LAYERS, "relu"])
def test_gradients_after_a_bad_value_are_those_of_the_reference(kind: str, backend: str) -> None:
    """A finite gradient would hide a divergence."""
    options = {"nonlinearity": "relu"} if kind == "relu" else {}
    spoiled = []
    for name in ("reference", backend):
        layer = build("rnn" if kind == "relu" else kind, HeavyBall(0.6), name, **options)
        output, _ = layer(inputs(float("nan"))[1])
        spoiled.append(torch.autograd.grad(output.sum(), tuple(layer.parameters())))
    for expected, got in zip(*spoiled, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4, equal_nan=True)
