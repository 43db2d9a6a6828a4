"""`SequenceModel`: recomputing activations changes the memory of training and nothing else."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import torch
from layer_inputs import DYNAMIC, random
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from momentum_cli import GRU, LSTM, OrthogonalRNN
from momentum_cli.dynamics.adam import Adam
from momentum_cli.dynamics.heavy_ball import HeavyBall
from momentum_cli.dynamics.protocol import Dynamics
from momentum_cli.layers.coupled import CoupledLSTM
from momentum_cli.models.sequence import SequenceModel

LAYERS: dict[str, Any] = {"lstm": LSTM, "gru": GRU, "orthogonal": OrthogonalRNN}


def gradients(model: SequenceModel, lengths: Tensor | None, recompute: int | None) -> list[Tensor]:
    """Return outputs, state, and the gradients of a loss of both in the parameters and the first state."""
    model.recompute = recompute
    start = tuple(t.requires_grad_() if t.is_floating_point() else t for t in model.zero_state(3))
    outputs, state = model(random(3, 17, 4), lengths, start)
    loss = (outputs * random(*outputs.shape, seed=1)).sum() + sum(s.double().square().sum() for s in state)
    wanted = [*model.parameters(), *(t for t in start if t.is_floating_point())]
    return [outputs, *state, *torch.autograd.grad(loss, wanted)]


@pytest.mark.parametrize("recompute", [1, 5, 40, pytest.param(17, marks=pytest.mark.slow)])
@pytest.mark.parametrize("lengths", [None, torch.tensor([17, 4, 9])], ids=["whole", "padded"])
@pytest.mark.parametrize("dynamics", DYNAMIC)
@pytest.mark.parametrize(("kind", "output"), [("lstm", "last"), ("gru", "every"), ("orthogonal", "last")])
def test_gradients_are_those_without(
    kind: str, output: Literal["last", "every"], dynamics: str, lengths: Tensor | None, recompute: int
) -> None:
    torch.manual_seed(0)
    layer = LAYERS[kind](4, 6, 2, dynamics=DYNAMIC[dynamics])
    model = SequenceModel(layer, 2, output).double().train()
    right, got = gradients(model, lengths, None), gradients(model, lengths, recompute)
    for left, other in zip(got, right, strict=True):
        torch.testing.assert_close(left, other, rtol=1e-10, atol=1e-12)


def test_each_piece_runs_twice_in_training_and_once_in_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    model = SequenceModel(CoupledLSTM(4, 6), 2, recompute=5)
    steps: list[int] = []
    run = model.layer.run_tensors

    def counted(x: Tensor, *rest: Any, **options: Any) -> Any:
        steps.append(len(x))
        return run(x, *rest, **options)

    monkeypatch.setattr(model.layer, "run_tensors", counted)
    x = random(3, 17, 4).float()
    model(x)[0].sum().backward()
    # Backward begins with the last piece.
    assert steps == [5, 5, 5, 2, 2, 5, 5, 5]
    steps.clear()
    with torch.no_grad():
        model(x)
    model.eval()
    model(x)
    assert steps == [17, 17]


def test_what_cannot_be_recomputed_is_refused() -> None:
    with pytest.raises(ValueError, match="`recompute` must be >= 1"):
        SequenceModel(LSTM(4, 6), 2, recompute=0)
    model = SequenceModel(LSTM(4, 6, bidirectional=True), 2, recompute=5)
    with pytest.raises(ValueError, match="bidirectional"):
        model(torch.zeros(1, 9, 4))
    assert model.eval()(torch.zeros(1, 9, 4))[0].shape == (1, 2)


@pytest.mark.parametrize("lengths", [None, torch.tensor([17, 4, 9]), torch.tensor([17, 0, 9])], ids=str)
@pytest.mark.parametrize("options", [{}, {"bidirectional": True}, {"bidirectional": True, "num_layers": 2}], ids=str)
@pytest.mark.parametrize(("kind", "dynamics"), [("lstm", Adam()), ("orthogonal", HeavyBall())], ids=str)
def test_without_outputs_the_state_has_the_same_bits(
    kind: str, dynamics: Dynamics, options: dict[str, Any], lengths: Tensor | None
) -> None:
    torch.manual_seed(0)
    layer = LAYERS[kind](4, 6, dynamics=dynamics, **options).double()
    x = random(17, 3, 4)
    for backend in ("auto", "reference"):
        layer.backend = backend
        results = []
        for every in (True, False):
            output, state = layer.run_tensors(x, None, lengths, every=every)
            gradients = torch.autograd.grad(state[0].square().sum(), list(layer.parameters()))
            with torch.no_grad():
                results.append([*state, *gradients, *layer.run_tensors(x, None, lengths, every=every)[1]])
        assert output.shape == (0, 3, 6 * layer.num_directions)
        for expected, got in zip(*results, strict=True):
            assert torch.equal(expected, got)


class Sizes(TorchDispatchMode):
    """Notes the largest tensor, in elements, that an operation gives."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.largest = max([self.largest, *(t.numel() for t in tree_leaves(result) if isinstance(t, Tensor))])
        return result


@pytest.mark.parametrize("output", ["last", "every"])
@torch.no_grad()
def test_outputs_of_both_directions_are_put_together_only_if_they_are_read(output: Literal["last", "every"]) -> None:
    model = SequenceModel(OrthogonalRNN(1, 32, bidirectional=True, dynamics=HeavyBall()), 2, output).eval()
    with Sizes() as sizes:
        model(torch.randn(3, 50, 1))
    assert sizes.largest == 50 * 3 * 32 * (2 if output == "every" else 1)
