"""Orthogonal cells and `sr-coupled` over 20 steps of training: losses and gradients of an independent computation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from cell_oracle import Array, Parameters, Problem, RMSprop, coupled_gradients, orthogonal_gradients
from torch import nn
from torch.nn.functional import cross_entropy

from momentum_cli import CoupledLSTM, HeavyBall, Identity, OrthogonalRNN
from momentum_cli.layers.recurrent import RecurrentLayer

STEPS, BATCH, INPUT, HIDDEN, CLASSES, UPDATES = 9, 6, 3, 5, 4, 20
RATE, ORTHOGONAL_RATE, ALPHA = 0.02, 0.01, 0.99


def problem(number: int) -> Problem:
    """Other data at every step of the optimizer."""
    generator = np.random.default_rng(number)
    return Problem(generator.normal(size=(STEPS, BATCH, INPUT)), generator.integers(0, CLASSES, BATCH))


def rates(parameters: Parameters) -> dict[str, float]:
    return {name: ORTHOGONAL_RATE if name == "skew" else RATE for name in parameters}


class Model:
    """A layer with a linear head on its last output, trained by torch's RMSprop."""

    def __init__(self, layer: RecurrentLayer) -> None:
        torch.manual_seed(3)
        self.layer = layer
        layer.reset_parameters()
        self.head = nn.Linear(HIDDEN, CLASSES, dtype=torch.float64)
        # b of modReLU starts near 0, where it hardly acts.
        if isinstance(layer, OrthogonalRNN):
            nn.init.uniform_(layer.get_parameter("bias_hh_l0"), -0.3, 0.3)
        named = dict(layer.named_parameters()) | {f"head.{name}": p for name, p in self.head.named_parameters()}
        self.parameters = {name.replace("_l0", "").removeprefix("orthogonal_hh."): p for name, p in named.items()}
        groups = [{"params": [p], "lr": rates({name: np.empty(0)})[name]} for name, p in self.parameters.items()]
        self.optimizer = torch.optim.RMSprop(groups, alpha=ALPHA, eps=1e-8)

    def numbers(self) -> Parameters:
        return {name: p.detach().numpy().copy() for name, p in self.parameters.items()}

    def backward(self, data: Problem) -> float:
        output, _ = self.layer(torch.from_numpy(data.x))
        loss = cross_entropy(self.head(output[-1]), torch.from_numpy(data.y))
        self.optimizer.zero_grad()
        loss.backward()
        return loss.item()

    def step(self) -> None:
        self.optimizer.step()
        self.layer.after_step()


def close(got: Parameters, expected: Parameters) -> None:
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        scale = float(np.abs(value).max())
        np.testing.assert_allclose(got[name], value, rtol=1e-9, atol=1e-10 * max(scale, 1e-3), err_msg=name)


@pytest.mark.parametrize("backend", ["reference", "auto"])
@pytest.mark.parametrize(("momentum", "step_size"), [(0.0, 1.0), (0.6, 0.9)])
@pytest.mark.parametrize("basis_every", [1, 3, "infty", None])
def test_an_orthogonal_cell_trains_as_written_out(
    basis_every: Any, momentum: float, step_size: float, backend: str
) -> None:
    dynamics = HeavyBall(momentum, step_size) if momentum else Identity()
    trivialization = {"trivialization": "static"} if basis_every is None else {"basis_every": basis_every}
    layer = OrthogonalRNN(INPUT, HIDDEN, dynamics=dynamics, backend=backend, dtype=torch.float64, **trivialization)
    model = Model(layer)
    p, base = model.numbers(), layer.orthogonal("_l0").base.numpy().copy()
    optimizer = RMSprop(rates(p), ALPHA)
    for number in range(UPDATES):
        loss, gradients, _ = orthogonal_gradients(problem(number), p, base, momentum, step_size)
        assert model.backward(problem(number)) == pytest.approx(loss, rel=1e-10)
        close({name: q.grad.numpy() for name, q in model.parameters.items() if q.grad is not None}, gradients)
        optimizer.step(p, gradients)
        model.step()
        if isinstance(basis_every, int) and (number + 1) % basis_every == 0:
            base = orthogonal_gradients(problem(number), p, base, momentum, step_size)[2]
            p["skew"] = np.zeros_like(p["skew"])
    close(model.numbers(), p)
    np.testing.assert_allclose(base.T @ base, np.eye(HIDDEN), atol=1e-12)


@pytest.mark.parametrize("restart", [1, 4, 40])
def test_sr_coupled_trains_as_written_out(restart: int) -> None:
    model = Model(CoupledLSTM(INPUT, HIDDEN, step_size=0.9, restart_every=restart, dtype=torch.float64))
    p = model.numbers()
    optimizer = RMSprop(rates(p), ALPHA)
    losses: list[float] = []
    for number in range(UPDATES):
        loss, gradients = coupled_gradients(problem(number), p, 0.9, restart)
        assert model.backward(problem(number)) == pytest.approx(loss, rel=1e-10)
        close({name: q.grad.numpy() for name, q in model.parameters.items() if q.grad is not None}, gradients)
        optimizer.step(p, gradients)
        model.step()
        losses.append(loss)
    close(model.numbers(), p)


def test_the_oracle_is_its_own_finite_difference() -> None:
    """The gradients by hand are those of the loss by hand."""
    generator = np.random.default_rng(0)

    def draw(*shape: int) -> Array:
        return generator.normal(size=shape) * 0.4

    head = {"head.weight": draw(CLASSES, HIDDEN), "head.bias": draw(CLASSES)}
    orthogonal = head | {"weight_ih": draw(HIDDEN, INPUT), "skew": draw(10), "bias_hh": draw(HIDDEN)}
    weights = {"weight_ih": draw(20, INPUT), "weight_hh": draw(20, HIDDEN), "bias_ih": draw(20), "bias_hh": draw(20)}
    base = np.linalg.qr(draw(HIDDEN, HIDDEN))[0]
    for p, compute in (
        (orthogonal, lambda q: orthogonal_gradients(problem(0), q, base, 0.6, 0.9)[:2]),
        (head | weights, lambda q: coupled_gradients(problem(0), q, 0.9, 4)),
    ):
        gradients = compute(p)[1]
        for name, value in p.items():
            direction = generator.normal(size=value.shape)
            ends = [compute(p | {name: value + sign * 1e-6 * direction})[0] for sign in (1.0, -1.0)]
            assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(float((gradients[name] * direction).sum()), rel=1e-6)
