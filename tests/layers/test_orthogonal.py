"""OrthogonalRNN against a loop in float64 that follows the equations, in chunks, packed, scripted, trained, resumed."""

from __future__ import annotations

import copy
import json
import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from layer_inputs import DYNAMIC, flat, random
from lightning_fabric import Fabric
from skew_matrices import exponential, skew
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

import momentum_cli
from momentum_cli import HeavyBall, Identity, OrthogonalRNN
from momentum_cli.data import Dataset, Split
from momentum_cli.dynamics.protocol import Dynamics
from momentum_cli.models.sequence import SequenceModel
from momentum_cli.recipe.recipe import load_recipe, parse_recipe
from momentum_cli.runs.checkpoint import Checkpoint
from momentum_cli.training.snapshot import restore, snapshot
from momentum_cli.training.train import train
from momentum_cli.training.trainer import Trainer

OPTIMIZER = {"name": "rmsprop", "lr": 7e-4, "alpha": 0.99, "groups": {"orthogonal": {"lr": 2e-4}}}


def layer_of(dynamics: Dynamics, **options: Any) -> OrthogonalRNN:
    """A layer whose A is not zero and whose b has both signs."""
    torch.manual_seed(0)
    layer = OrthogonalRNN(3, 6, dynamics=dynamics, **{"dtype": torch.float64, "basis_every": "infty", **options})
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if name.endswith("skew") or name.startswith("bias"):
                parameter.uniform_(-0.4, 0.4)
    return layer


def literal(layer: OrthogonalRNN, x: Tensor) -> Tensor:
    """One layer in one direction; the dynamics acts on W_ih x, step by step."""
    p = dict(layer.named_parameters())
    matrix = layer.orthogonal("_l0")
    b = matrix.base @ exponential(skew(matrix))
    h = x.new_zeros(x.shape[1], layer.hidden_size)
    state = layer.dynamics.init(h)
    outputs = []
    for x_t in x:
        d, state = layer.dynamics.step(x_t @ p["weight_ih_l0"].T, state)
        z = d + h @ b.T
        size = z.abs() + p["bias_hh_l0"]
        h = torch.where(size > 0, size * z.sign(), 0.0)
        outputs.append(h)
    return torch.stack(outputs)


@pytest.mark.parametrize("name", DYNAMIC)
def test_layer_is_the_equations(name: str) -> None:
    layer = layer_of(DYNAMIC[name])
    x = random(9, 4, 3)
    output, state = layer(x)
    torch.testing.assert_close(output, literal(layer, x), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(flat(state)[0][0], output[-1])


@pytest.mark.parametrize("options", [{}, {"num_layers": 2}], ids=str)
@pytest.mark.parametrize("name", DYNAMIC)
def test_chunks_are_the_whole(name: str, options: dict[str, Any]) -> None:
    layer = layer_of(DYNAMIC[name], **options)
    x = random(20, 3, 3)
    whole, end = layer(x)
    state, pieces = None, []
    for chunk in x.split([1, 1, 7, 11]):
        piece, state = layer(chunk, state)
        pieces.append(piece)
    torch.testing.assert_close(torch.cat(pieces), whole, rtol=1e-9, atol=1e-9)
    assert state is not None
    assert len(flat(end)) == len(layer.state_names)
    for actual, expected in zip(flat(state), flat(end), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", DYNAMIC)
def test_packed_sequences_are_the_sequences_one_by_one(name: str) -> None:
    layer = layer_of(DYNAMIC[name], num_layers=2, bidirectional=True)
    sequences = [random(n, 3, seed=n) for n in (4, 7, 1)]
    output, state = layer(pack_sequence(sequences, enforce_sorted=False))
    padded, lengths = pad_packed_sequence(output)
    for b, sequence in enumerate(sequences):
        alone, end = layer(sequence)
        torch.testing.assert_close(padded[: lengths[b], b], alone, rtol=1e-9, atol=1e-9)
        for actual, expected in zip(flat(state), flat(end), strict=True):
            torch.testing.assert_close(actual[:, b], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["identity", "sr", "adam"])
def test_gradcheck(name: str) -> None:
    layer = layer_of(DYNAMIC[name])

    def run(x: Tensor, *parameters: Tensor) -> Tensor:
        values = dict(zip([n for n, _ in layer.named_parameters()], parameters, strict=True))
        return torch.func.functional_call(layer, values, (x,))[0]

    assert torch.autograd.gradcheck(run, (random(3, 2, 3).requires_grad_(), *layer.parameters()))


def test_the_state_keeps_its_length_without_input() -> None:
    layer = layer_of(Identity())
    with torch.no_grad():
        layer.get_parameter("bias_hh_l0").zero_()
    start = random(1, 2, 6)
    output, _ = layer(torch.zeros(50, 2, 3, dtype=torch.float64), start)
    torch.testing.assert_close(output.norm(dim=2), start.norm(dim=2).expand(50, 2), rtol=1e-9, atol=1e-9)


def test_initialisation_and_parameter_count() -> None:
    torch.manual_seed(1)
    layer = OrthogonalRNN(50, 170)
    # W_ih, A, b: what the published parameter counts are made of.
    assert sum(p.numel() for p in layer.parameters()) == 170 * 50 + 170 * 169 // 2 + 170
    weight, bias = layer.get_parameter("weight_ih_l0").detach(), layer.get_parameter("bias_hh_l0").detach()
    assert float(weight.std()) == pytest.approx((2 / 50) ** 0.5, rel=0.05)
    assert 0.005 < float(bias.abs().max()) <= 0.01
    before = layer.orthogonal("_l0").matrix().detach().clone()
    layer.reset_parameters("paper")
    assert not torch.equal(layer.orthogonal("_l0").matrix(), before)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (
            lambda: OrthogonalRNN(3, 5, trivialization="fixed"),
            "`trivialization` must be 'dynamic' or 'static', got 'fixed'",
        ),
        (lambda: OrthogonalRNN(3, 5, basis_every=0), "`basis_every` must be .*, got 0"),
        (
            lambda: OrthogonalRNN(3, 5, orthogonal_init="haar"),
            "`orthogonal_init` must be one of cayley, henaff, got 'haar'",
        ),
        (lambda: OrthogonalRNN(3, 5).reset_parameters(forget_bias=1.0), "no forget gate"),
        (lambda: OrthogonalRNN(3, 5, bias=False), "`bias` must be left out: .*modReLU, got False"),  # type: ignore[call-arg]
        (lambda: OrthogonalRNN(3, 5, backend="native")(torch.zeros(2, 1, 3)), "'native' cannot run this.*reference"),
    ],
)
def test_mistakes_are_named(act: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        act()


def test_short_names_take_the_options_of_both() -> None:
    layer = momentum_cli.MomentumDTRIV(3, 5, momentum=0.3, basis_every="infty")
    assert isinstance(layer, OrthogonalRNN)
    assert layer.dynamics == HeavyBall(momentum=0.3)
    assert layer.orthogonal("_l0").basis_every == "infty"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_low_precision_computes_the_matrix_in_float32(dtype: torch.dtype) -> None:
    layer = layer_of(HeavyBall(0.6, 0.1), dtype=dtype, basis_every=1)
    exact = copy.deepcopy(layer).double()
    x = random(6, 2, 3)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.float32):
        output, _ = layer(x.to(dtype))
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output.double(), exact(x.to(dtype).double())[0], rtol=0.05, atol=0.1)


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"])
def test_copies_and_state_dicts_are_the_layer(copier: Any) -> None:
    layer = layer_of(HeavyBall(0.6, 0.7), basis_every=3)
    layer.after_step()
    fresh = OrthogonalRNN(3, 6, dynamics=HeavyBall(0.6, 0.7), basis_every=3, dtype=torch.float64)
    fresh.load_state_dict(layer.state_dict())
    x = random(5, 2, 3)
    for other in (copier(layer), fresh):
        torch.testing.assert_close(other(x)[0], layer(x)[0], rtol=0.0, atol=0.0)
        assert torch.equal(other.orthogonal("_l0").counters, torch.tensor([1, 0]))


def script(module: nn.Module) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(module)


@pytest.mark.parametrize("name", DYNAMIC)
def test_scripted_layer_is_the_eager_one(name: str) -> None:
    layer = layer_of(DYNAMIC[name], num_layers=2, bidirectional=True)
    scripted = script(layer)
    assert list(scripted.state_dict()) == list(layer.state_dict())
    x, lengths = random(40, 3, 3), torch.tensor([40, 1, 33])
    for ours, theirs in (
        (layer(x), scripted(x)),
        (layer.run_padded(x, None, lengths), scripted.run_padded(x, None, lengths)),
    ):
        torch.testing.assert_close(theirs[0], ours[0], rtol=1e-9, atol=1e-9)
        for actual, expected in zip(flat(theirs[1]), flat(ours[1]), strict=True):
            torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)
    for zero, expected in zip(flat(scripted.zero_state(4)), flat(layer.zero_state(4)), strict=True):
        assert torch.equal(zero, expected)
    # The parameters are shared, A among them.
    gradients = []
    for call in (layer, scripted):
        layer.zero_grad()
        call(x)[0].square().sum().backward()
        gradients.append([p.grad.clone() for p in layer.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(list(layer.parameters()))
    for eager, compiled in zip(*gradients, strict=True):
        torch.testing.assert_close(compiled, eager, rtol=1e-7, atol=1e-7)


def test_a_container_of_the_user_still_works_after_scripting() -> None:
    container = nn.Sequential(SequenceModel(layer_of(HeavyBall(0.6, 0.7)), 2).double())
    x = random(2, 5, 3)
    expected = container(x)[0]
    script(container)
    torch.testing.assert_close(container(x)[0], expected)
    container.float()
    torch.testing.assert_close(container(x.float())[0].double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_compiled_layer_is_the_eager_one() -> None:
    layer = layer_of(HeavyBall(0.6, 0.7))
    x = random(3, 2, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = torch.compile(layer, fullgraph=False, backend="aot_eager")
        torch.testing.assert_close(compiled(x)[0], layer(x)[0])


# In training.


def trainer(cell: str, **options: Any) -> Trainer:
    generator = torch.Generator().manual_seed(0)
    split = Split(torch.randn(10, 5, 2, generator=generator), torch.arange(10) % 3)
    data = Dataset("toy", split, split, split, 2, 3, "last", "cross_entropy", ("accuracy",), None)
    recipe = {
        "task": {"name": "digits"},
        "model": {"cell": cell, "hidden_size": 6},
        "cells": {cell: options},
        "optimizer": OPTIMIZER,
        "schedule": {"name": "cosine", "warmup_steps": 2},
        "train": {"epochs": 5, "batch_size": 4, "clip_grad_norm": 1.0},
    }
    return Trainer(parse_recipe(recipe), data, Fabric(accelerator="cpu", devices=1))


@pytest.mark.parametrize(
    ("cell", "options"),
    [
        ("momentum-dtriv", {"basis_every": 3}),
        ("adam-dtriv", {"basis_every": 1}),
        ("dtriv", {"basis_every": "infty", "orthogonal_init": "henaff"}),
        ("exprnn", {}),
        ("sr-coupled", {"restart_every": 2}),
    ],
)
@pytest.mark.parametrize("at", [1, 4])
def test_a_restored_trainer_goes_on_bit_for_bit(cell: str, options: dict[str, Any], at: int) -> None:
    whole, first, second = (trainer(cell, **options) for _ in range(3))
    for _ in range(8):
        whole.step()
    for _ in range(at):
        first.step()
    first.evaluate("test")
    saved = snapshot(first)
    restore(second, Checkpoint(saved.tensors, json.loads(json.dumps(saved.data))))
    for _ in range(8 - at):
        second.step()
    one, other = whole.module.state_dict(), second.module.state_dict()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def test_training_counts_steps_and_moves_the_matrix() -> None:
    one = trainer("momentum-dtriv", basis_every=3)
    layer: Any = one.module.layer
    before = layer.orthogonal("_l0").matrix().detach().clone()
    for _ in range(7):
        one.step()
    matrix = layer.orthogonal("_l0")
    assert matrix.counters.tolist() == [1, 2]
    assert not torch.equal(matrix.matrix(), before)
    # Both groups follow the schedule from their own base.
    rest, orthogonal = (group["lr"] for group in one.optimizer.param_groups)
    assert orthogonal == pytest.approx(rest * 2e-4 / 7e-4)
    assert rest < 7e-4


def test_a_step_that_is_skipped_does_not_count() -> None:
    one = trainer("dtriv", basis_every=2)
    bias = one.module.head.bias
    with torch.no_grad():
        bias[0] = float("nan")
    assert one.step().skipped
    layer: Any = one.module.layer
    assert layer.orthogonal("_l0").counters.tolist() == [0, 0]


def test_the_matrix_exponential_runs_once_a_step_and_once_for_an_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    original = torch.matrix_exp
    monkeypatch.setattr(torch, "matrix_exp", lambda a: (calls.append(len(a)), original(a))[1])
    for basis_every, a_step, an_evaluation in ((1, 1, 0), ("infty", 1, 1)):
        one = trainer("momentum-dtriv", basis_every=basis_every)
        one.recipe = one.recipe.override("train.eval_batch_size=2")
        one.step()
        calls.clear()
        one.step()
        assert len(calls) == a_step
        calls.clear()
        one.evaluate("test")  # five batches
        one.evaluate("test")
        assert len(calls) == an_evaluation


@pytest.mark.parametrize("cell", ["momentum-dtriv", "sr-coupled"])
def test_a_run_from_recipe_to_resumed_result(cell: str, tmp_path: Path) -> None:
    """The settings of the authors' permuted MNIST on the digits, cut in two."""
    optimizer = f"optimizer={json.dumps(OPTIMIZER)}"
    overrides = [f"model.cell={cell}", "model.hidden_size=12", "target=", "schedule=", optimizer]
    shipped = load_recipe("pmnist", [f"model.cell={cell}"]).cells[cell]
    recipe = load_recipe("digits", [*overrides, f"cells.{cell}={json.dumps(shipped)}"])
    whole = train(recipe.override("train={max_steps: 6, eval_every_n_steps: 3}"), out=tmp_path / "whole")
    train(recipe.override("train={max_steps: 3, eval_every_n_steps: 3}"), out=tmp_path / "cut")
    again = train(recipe.override("train={max_steps: 6, eval_every_n_steps: 3}"), resume=tmp_path / "cut")
    assert whole["test"] == again["test"]
