"""Calls that a session of the library or one call of torch serves: the numbers of the way layer by layer."""

from __future__ import annotations

import copy
import gc
import io
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import Any, ClassVar
from unittest.mock import MagicMock

import pytest
import torch
from layer_inputs import DYNAMIC, flat
from layer_inputs import random as random_in
from torch import Tensor
from torch.nn.utils import parametrizations

from momentum_cli import GRU, LSTM, RNN, Adam, HeavyBall, Identity, OrthogonalRNN
from momentum_cli.dynamics.filter import Filter
from momentum_cli.dynamics.protocol import FormDynamics
from momentum_cli.layers import quick
from momentum_cli.layers.recurrent import RecurrentLayer

LAYERS = {"lstm": LSTM, "gru": GRU, "rnn": RNN, "orthogonal": OrthogonalRNN}


def random(*shape: int, seed: int) -> Tensor:
    return random_in(*shape, seed=seed, dtype=torch.float32)


@pytest.fixture(autouse=True)
def _no_sessions() -> None:
    quick._SESSIONS.of.clear()


def by_layers(layer: RecurrentLayer, x: Tensor, state: Any = None) -> list[Tensor]:
    """Return outputs and states of the reference loop in float64."""
    slow = copy.deepcopy(layer).double()
    slow.backend = "reference"
    given = None if state is None else tuple(s.double() if s.is_floating_point() else s for s in flat(state))
    output, after = slow(x.double(), given)
    return [output, *flat(after)]


def assert_as_the_loop(layer: RecurrentLayer, x: Tensor, state: Any = None) -> Any:
    expected = by_layers(layer, x, state)
    output, after = layer(x, state)
    for got, right in zip((output, *flat(after)), expected, strict=True):
        torch.testing.assert_close(got.to(right.dtype), right.detach(), atol=2e-5, rtol=2e-4)
    return after


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("dynamics", DYNAMIC)
@pytest.mark.parametrize("kind", LAYERS)
def test_a_short_call_without_gradients(kind: str, dynamics: str, layers: int) -> None:
    torch.manual_seed(0)
    layer = LAYERS[kind](3, 5, num_layers=layers, dynamics=DYNAMIC[dynamics])
    with torch.no_grad():
        state = assert_as_the_loop(layer, random(4, 2, 3, seed=1))
        assert len(quick._SESSIONS.of) == 1
        # Other sizes, and a state from the calls before.
        state = assert_as_the_loop(layer, random(1, 2, 3, seed=2), state)
        assert_as_the_loop(layer, random(7, 2, 3, seed=3), state)
        assert_as_the_loop(layer, random(7, 3, 3, seed=4))


def test_each_call_reads_the_parameters_that_there_are() -> None:
    layer, x = LSTM(2, 3, dynamics=HeavyBall(0.5)), random(2, 1, 2, seed=0)
    with torch.no_grad():
        assert_as_the_loop(layer, x)
        layer.weight_hh_l0.data.mul_(-2.0)  # no version counts this
        assert_as_the_loop(layer, x)
        layer.bias_ih_l0 = torch.nn.Parameter(random(12, seed=3))
        assert_as_the_loop(layer, x)
        layer.dynamics = HeavyBall(0.9, 0.1)
        assert_as_the_loop(layer, x)
    parametrizations.weight_norm(layer, "weight_hh_l0")
    with torch.no_grad():
        assert_as_the_loop(layer, x)


def test_a_parameter_of_another_shape_is_refused() -> None:
    layer, x = LSTM(2, 3, dynamics=HeavyBall(0.5)), random(2, 1, 2, seed=0)
    with torch.no_grad():
        layer(x)
        layer.weight_hh_l0 = torch.nn.Parameter(random(12, 2, seed=3))
        with pytest.raises(ValueError, match=r"w_hh.*\(12, 3\).*\(12, 2\)"):
            layer(x)


def test_inside_and_outside_inference_mode() -> None:
    layer, x = LSTM(2, 3, dynamics=HeavyBall(0.5)), random(2, 1, 2, seed=0)
    with torch.inference_mode():
        state = layer(x)[1]
    with torch.no_grad():
        state = assert_as_the_loop(layer, x, state)
    output, _ = layer(x, state)
    output.sum().backward()
    assert layer.weight_hh_l0.grad is not None


def test_threads_have_sessions_of_their_own() -> None:
    layer = LSTM(3, 8, dynamics=HeavyBall(0.5)).eval()
    inputs = [random(5, 1, 3, seed=number) for number in range(4)]
    expected = [by_layers(layer, x)[0].float() for x in inputs]
    wrong: list[int] = []

    def work(number: int) -> None:
        with torch.no_grad():
            for _ in range(200):
                if not torch.allclose(layer(inputs[number])[0], expected[number], atol=1e-5):
                    wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_session_ends_with_its_layer_and_is_not_saved_with_it() -> None:
    layer, x = LSTM(2, 3), random(2, 1, 2, seed=0)
    with torch.no_grad():
        layer(x)
        torch.save(layer, buffer := io.BytesIO())
        buffer.seek(0)
        again = torch.load(buffer, weights_only=False)
        torch.testing.assert_close(again(x)[0], layer(x)[0], atol=0, rtol=0)
        assert len(quick._SESSIONS.of) == 2
    del layer, again
    gc.collect()
    assert len(quick._SESSIONS.of) == 0


def test_dropout_and_gradients_go_another_way() -> None:
    x = random(2, 1, 2, seed=0)
    layer = LSTM(2, 3, 2, dropout=0.5, dynamics=HeavyBall(0.5))
    with torch.no_grad():
        layer(x)
        assert len(quick._SESSIONS.of) == 0
        assert_as_the_loop(layer.eval(), x)
        assert len(quick._SESSIONS.of) == 1
    assert layer(x)[0].requires_grad


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("kind", ["lstm", "projected", "gru", "rnn"])
def test_plain_layers_are_one_call_of_torch(kind: str, layers: int, bidirectional: bool) -> None:
    options: dict[str, Any] = {"proj_size": 2} if kind == "projected" else {}
    options |= {"num_layers": layers, "bidirectional": bidirectional}
    built = LAYERS["lstm" if kind == "projected" else kind]
    torch.manual_seed(1)
    layer = built(3, 4, dynamics=Identity(), backend="native", **options)
    theirs = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN, "projected": torch.nn.LSTM}[kind]
    other = theirs(3, 4, **options)
    other.load_state_dict(layer.state_dict())
    x = random(5, 2, 3, seed=4)
    state = None
    for _ in range(2):
        got, right = layer(x, state), other(x, state)
        state = torch.utils._pytree.tree_map(Tensor.detach, right[1])
        for own, exact in zip((got[0], *flat(got[1])), (right[0], *flat(right[1])), strict=True):
            assert torch.equal(own, exact)
    gradients = torch.autograd.grad(layer(x, state)[0].sum(), tuple(layer.parameters()))
    expected = torch.autograd.grad(other(x, state)[0].sum(), tuple(other.parameters()))
    for own, exact in zip(gradients, expected, strict=True):
        torch.testing.assert_close(own, exact)


@dataclass
class Changing(FormDynamics):
    """A dynamics whose options can change, unlike those of the package."""

    decay: float = 0.5
    equation: ClassVar[str] = "v' = decay v + u; d = v'"

    @property
    def form(self) -> Filter:
        return Filter(1.0, self.decay)


def test_constants_of_a_dynamics_are_those_of_now() -> None:
    dynamics, x = Changing(0.5), random(4, 1, 2, seed=0)
    layer = LSTM(2, 3, dynamics=dynamics)
    with torch.no_grad():
        assert_as_the_loop(layer, x)
        dynamics.decay = 0.9
        assert_as_the_loop(layer, x)
        assert len(quick._SESSIONS.of) == 1
    adam, layer = Adam(0.5, 0.9), LSTM(2, 3, dynamics=Adam(0.5, 0.9))
    layer.dynamics = adam
    with torch.no_grad():
        assert_as_the_loop(layer, x)
        object.__setattr__(adam, "step_size", 3.0)
        assert_as_the_loop(layer, x)


def test_weights_of_another_size_than_the_layer_are_refused_and_forgotten() -> None:
    layer, x = LSTM(2, 3, dynamics=HeavyBall(0.5)), random(2, 1, 2, seed=0)
    right = layer.state_dict()
    wrong = {name: torch.nn.Parameter(p) for name, p in LSTM(2, 5).state_dict().items()}
    with torch.no_grad():
        for name, parameter in wrong.items():
            setattr(layer, name, parameter)
        with pytest.raises(ValueError, match=r"w_ih.*\(12, 2\).*\(20, 2\)"):
            layer(x)
        for name, tensor in right.items():
            setattr(layer, name, torch.nn.Parameter(tensor))
        assert_as_the_loop(layer, x)


def test_a_context_of_another_device_does_not_reach_the_session() -> None:
    layer, x = LSTM(2, 3, dynamics=HeavyBall(0.45)), random(4, 1, 2, seed=0)
    with torch.no_grad():
        expected = layer(x)[0]
        with torch.device("meta"):
            assert torch.equal(layer(x)[0], expected)
            made_inside = LSTM(2, 3, dynamics=HeavyBall(0.35), device="cpu")
            inside = made_inside(x)[0]
        assert torch.equal(made_inside(x)[0], inside)
        long = random(300, 2, 2, seed=1)
        assert made_inside(long)[0].isfinite().all()  # the scan of this decay was first made inside


def test_an_interrupted_call_leaves_the_next_one_right(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = LSTM(2, 3, 2, dynamics=HeavyBall(0.5)), random(4, 1, 2, seed=0)
    with torch.no_grad():
        assert_as_the_loop(layer, random(2, 1, 2, seed=1))
        (kept,) = quick._SESSIONS.of.values()
        second = kept.session._layers[1]
        monkeypatch.setattr(second, "set_steps", MagicMock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            layer(x)
        monkeypatch.undo()
        assert_as_the_loop(layer, x)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_layer_works_in_a_process_that_was_forked() -> None:
    program = """
import os, sys, torch
from momentum_cli import LSTM, HeavyBall
torch.set_num_threads(2)
layer, x = LSTM(2, 64, dynamics=HeavyBall(0.5)), torch.randn(4, 8, 2)
with torch.no_grad():
    stream = layer.stream(8)
    first, streamed = layer(x)[0], stream(x)
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        stream.reset()
        same = torch.equal(layer(x)[0], first) and torch.equal(stream(x), streamed)
        os._exit(0 if same else 3)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=60)
    assert done.returncode == 0


def test_wide_inputs_and_heavy_weights_go_another_way() -> None:
    for layer, x in ((LSTM(1000, 16), random(1, 1, 1000, seed=0)), (GRU(256, 256), random(1, 1, 256, seed=0))):
        with torch.no_grad():
            layer(x)
    assert len(quick._SESSIONS.of) == 0
