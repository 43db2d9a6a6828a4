"""`momentum_cli.layers.stream` and its C++ session: pieces of a sequence give what the layer gives for the whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from layer_inputs import DYNAMIC, flat, random
from sign_momentum import SignMomentum
from torch import Tensor

from momentum_cli import GRU, LSTM, RNN, HeavyBall, Identity, Nesterov, OrthogonalRNN
from momentum_cli.dynamics import Filter, FormDynamics
from momentum_cli.kernels.fused import session
from momentum_cli.kernels.fused.library import load
from momentum_cli.layers.coupled import CoupledLSTM
from momentum_cli.layers.recurrent import RecurrentLayer
from momentum_cli.layers.stack import RecurrentStack
from momentum_cli.layers.stream import Stream

LAYERS: dict[str, Any] = {"lstm": LSTM, "gru": GRU, "rnn": RNN, "orthogonal": OrthogonalRNN}
KERNEL = pytest.mark.skipif(load()[0] is None, reason=f"no kernel: {load()[2]}")
PIECES = [1, 1, 3, 1, 14]


def whole(layer: RecurrentLayer | RecurrentStack, x: Tensor) -> tuple[Tensor, Any]:
    with torch.no_grad():
        return layer(x)


def pieces(stream: Stream, x: Tensor) -> Tensor:
    return torch.cat([stream(piece) for piece in x.split(PIECES)])


def assert_same(state: Any, other: Any) -> None:
    assert type(state) is type(other)
    for left, right in zip(flat(state), flat(other), strict=True):
        assert torch.equal(left, right)


@dataclass(frozen=True)
class Scaled(FormDynamics):
    """A filter without memory."""

    equation: ClassVar[str] = "d = u / 2"

    @property
    def form(self) -> Filter:
        return Filter(0.5)


@KERNEL
@pytest.mark.parametrize("bias", [True, False])
def test_a_session_amplifies_without_memory(bias: bool) -> None:
    torch.manual_seed(0)
    layer = LSTM(3, 4, 2, bias=bias, dynamics=Scaled(), backend="fused")
    x = random(20, 2, 3).float()
    stream = layer.stream(2)
    output, state = whole(layer, x)
    assert torch.equal(pieces(stream, x), output)
    assert_same(stream.state, state)
    halved = LSTM(3, 4, 2, bias=bias, dynamics=Identity())
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            factor = 0.5 if "_ih_" in name else 1.0
            halved.get_parameter(name).copy_(factor * parameter)
    torch.testing.assert_close(whole(halved, x)[0], output)


@KERNEL
@pytest.mark.parametrize("sizes", [(1, 4, 1, 1), (2, 37, 2, 3), (5, 64, 3, 13)], ids=str)
@pytest.mark.parametrize("dynamics", DYNAMIC)
@pytest.mark.parametrize("kind", LAYERS)
def test_a_kernel_session_equals_the_layer_to_the_bit(
    kind: str, dynamics: str, sizes: tuple[int, int, int, int]
) -> None:
    size, hidden, layers, batch = sizes
    torch.manual_seed(0)
    layer = LAYERS[kind](size, hidden, layers, dynamics=DYNAMIC[dynamics], backend="fused")
    x = random(20, batch, size).float()
    stream = layer.stream(batch)
    assert stream.backend == "fused"
    output, state = whole(layer, x)
    assert torch.equal(pieces(stream, x), output)
    assert_same(stream.state, state)
    stream.reset()
    assert_same(stream.state, layer.zero_state(batch))
    assert torch.equal(torch.stack([stream.step(step) for step in x]), output)


@KERNEL
@pytest.mark.parametrize("dynamics", DYNAMIC)
def test_float64_equals_the_reference(dynamics: str) -> None:
    layer = LSTM(3, 9, 2, dynamics=DYNAMIC[dynamics], bias=False).double()
    x = random(20, 2, 3)
    output = pieces(layer.stream(2), x)
    layer.backend = "reference"
    torch.testing.assert_close(output, whole(layer, x)[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "layer",
    [
        CoupledLSTM(3, 5, 2),
        LSTM(3, 5, 2, dynamics=HeavyBall(), backend="reference"),
        GRU(3, 5, dynamics=Identity(), backend="native"),
        LSTM(3, 5, dynamics=SignMomentum()),
        LSTM(3, 5, 2, dynamics=HeavyBall(), dtype=torch.bfloat16),
    ],
    ids=["coupled", "reference", "native", "step-only", "bfloat16"],
)
def test_what_the_kernel_does_not_serve_runs_the_layer(layer: RecurrentLayer) -> None:
    x = random(20, 2, 3).to(layer.tensor("weight_ih_l0").dtype)
    stream = layer.stream(2)
    assert stream.backend == "layer"
    output, state = pieces(stream, x), None
    with torch.no_grad():
        for piece, got in zip(x.split(PIECES), output.split(PIECES), strict=True):
            right, state = layer(piece, state)
            assert torch.equal(got, right)
    assert_same(stream.state, state)
    stream.reset()
    assert torch.equal(stream.step(x[0]), output[0])


def test_a_state_from_the_layer_continues_and_can_be_taken_back() -> None:
    layer = LSTM(3, 5, 2, dynamics=Nesterov())
    x = random(20, 2, 3).float()
    output, _ = whole(layer, x)
    middle = whole(layer, x[:9])[1]
    stream = layer.stream(2)
    stream.state = middle
    torch.testing.assert_close(stream(x[9:]), output[9:])
    # The stream has changed a copy.
    assert_same(middle, whole(layer, x[:9])[1])
    kept = stream.state
    stream(x)
    stream.state = kept
    assert_same(stream.state, kept)
    with pytest.raises(ValueError, match="have the shape"):
        stream.state = tuple(tensor[:, :1] for tensor in flat(kept))
    with pytest.raises(ValueError, match="got 1 tensor;"):
        stream.state = kept[0]


def test_shapes_follow_the_layer() -> None:
    x = random(4, 2, 3).float()
    layer = GRU(3, 5, batch_first=True)
    output = whole(layer, x.transpose(0, 1))[0]
    torch.testing.assert_close(layer.stream(2)(x.transpose(0, 1)), output)
    single = layer.stream()
    torch.testing.assert_close(single(x[:3, 0]), output[0, :3])
    torch.testing.assert_close(single.step(x[3, 0]), output[0, 3])
    assert [tuple(tensor.shape) for tensor in flat(single.state)] == [(1, 5), (1, 4)]


@KERNEL
def test_long_inputs_are_cut_and_decays_are_made_as_the_steps_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_STEPS", 8)
    monkeypatch.setattr(session, "_AHEAD", 10)
    layer = LSTM(2, 5, 2, dynamics=Nesterov(), backend="fused")
    x = random(61, 2, 2).float()
    stream = layer.stream(2)
    output = torch.cat([stream(piece) for piece in x.split([3, 30, 1, 1, 26])])
    assert torch.equal(output, whole(layer, x)[0])


@KERNEL
def test_parameters_are_copied_and_training_mode_does_not_matter() -> None:
    layer = LSTM(3, 5, 2, dropout=0.5, dynamics=HeavyBall())
    stack = RecurrentStack([LSTM(3, 6), LSTM(6, 5)], dropout=0.5, weight_dropout=0.5)
    x = random(7, 2, 3).float()
    for one in (layer, stack):
        one.eval()
        output = whole(one, x)[0]
        one.train()
        stream = one.stream(2)
        assert one.training
        with torch.no_grad():
            for parameter in one.parameters():
                parameter.add_(1.0)
        torch.testing.assert_close(stream(x), output)
    assert [tuple(tensor.shape) for tensor in stream.state][:2] == [(1, 2, 6), (1, 2, 6)]
    stream.state = stream.state
    assert not stream(x).requires_grad


def test_wrong_inputs_are_refused() -> None:
    layer = LSTM(3, 5)
    stream = layer.stream(2)
    for wrong, must in (
        (torch.zeros(4, 2, 4), "channels|shape"),
        (torch.zeros(4, 3, 3), "shape"),
        (torch.zeros(0, 2, 3), "step|shape"),
        (torch.zeros(4, 2, 3, dtype=torch.float64), "float32"),
        (torch.zeros(4, 3), "have 3"),
    ):
        with pytest.raises(ValueError, match=must):
            stream(wrong)
    with pytest.raises(ValueError, match="have 2"):
        stream.step(torch.zeros(1, 2, 3))
    with pytest.raises(ValueError, match="bidirectional"):
        LSTM(3, 5, bidirectional=True).stream()
    for size in (0, 1.5, True):
        with pytest.raises(ValueError, match="batch_size"):
            layer.stream(size)  # type: ignore[arg-type]
    # Transposed memory is read in its order.
    x = random(2, 4, 3).float().transpose(0, 1)
    assert torch.equal(layer.stream(2)(x), layer.stream(2)(x.contiguous()))
