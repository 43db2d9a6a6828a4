"""The authors' SRLSTM against a loop in float64 that follows the equations."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from layer_inputs import flat, random
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

from momentum_cli import LSTM, CoupledLSTM, Identity


def layer_of(**options: Any) -> CoupledLSTM:
    torch.manual_seed(0)
    return CoupledLSTM(3, 5, **{"step_size": 0.9, "restart_every": 4, "dtype": torch.float64, **options})


def literal(layer: CoupledLSTM, x: Tensor, step_size: float, restart_every: int) -> Tensor:
    p = dict(layer.named_parameters())
    h = c = x.new_zeros(x.shape[1], 5)
    before = x.new_zeros(x.shape[1], 20)
    outputs, k = [], 0
    for x_t in x:
        k += 1
        u = x_t @ p["weight_ih_l0"].T + p["bias_ih_l0"]
        now = (h @ p["weight_hh_l0"].T + p["bias_hh_l0"]) - step_size * u
        gates = now + (k - 1.0) / (k + 2.0) * (now - before)
        i, f, g, o = gates[:, :5], gates[:, 5:10], gates[:, 10:15], gates[:, 15:]
        c = c * f.sigmoid() + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        before = now
        outputs.append(h)
        if k == restart_every:
            k = 0
    return torch.stack(outputs)


@pytest.mark.parametrize(("step_size", "restart_every"), [(0.9, 40), (1.0, 2), (0.1, 7)])
def test_layer_is_the_equations(step_size: float, restart_every: int) -> None:
    layer = layer_of(step_size=step_size, restart_every=restart_every)
    x = random(50, 4, 3)
    output, _ = layer(x)
    torch.testing.assert_close(output, literal(layer, x, step_size, restart_every), rtol=1e-11, atol=1e-11)
    assert layer.chosen_backend == "reference"


def test_without_momentum_it_is_the_lstm_of_the_negated_input() -> None:
    layer = layer_of(step_size=0.7, restart_every=1)
    plain = LSTM(3, 5, dynamics=Identity(), dtype=torch.float64)
    values = {name: value * (-0.7 if "_ih" in name else 1.0) for name, value in layer.state_dict().items()}
    plain.load_state_dict(values)
    x = random(12, 2, 3)
    torch.testing.assert_close(layer(x)[0], plain(x)[0])
    assert not torch.allclose(layer_of(step_size=0.7, restart_every=2)(x)[0], plain(x)[0])


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bias": False}], ids=str)
def test_chunks_are_the_whole(options: dict[str, Any]) -> None:
    layer = layer_of(**options)
    x = random(21, 3, 3)
    whole, end = layer(x)
    state, pieces = None, []
    for chunk in x.split([1, 1, 8, 11]):
        piece, state = layer(chunk, state)
        pieces.append(piece)
    torch.testing.assert_close(torch.cat(pieces), whole, rtol=1e-12, atol=1e-12)
    assert state is not None
    assert layer.state_names == ("h", "c", "p", "k")
    for actual, expected, zero in zip(flat(state), flat(end), layer.zero_tensors(3), strict=True):
        assert actual.shape == zero.shape
        assert actual.dtype == zero.dtype
        torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)
    assert (state.k == 21).all()


def test_packed_sequences_are_the_sequences_one_by_one() -> None:
    layer = layer_of(num_layers=2, bidirectional=True)
    sequences = [random(n, 3, seed=n) for n in (4, 9, 1)]
    output, state = layer(pack_sequence(sequences, enforce_sorted=False))
    padded, lengths = pad_packed_sequence(output)
    for b, sequence in enumerate(sequences):
        alone, end = layer(sequence)
        torch.testing.assert_close(padded[: lengths[b], b], alone)
        for actual, expected in zip(flat(state), flat(end), strict=True):
            torch.testing.assert_close(actual[:, b], expected)


def test_copies_initialisation_and_refusals() -> None:
    layer = layer_of()
    x = random(4, 2, 3)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        torch.testing.assert_close(other(x)[0], layer(x)[0], rtol=0.0, atol=0.0)
    layer.reset_parameters("paper")
    assert layer.get_parameter("bias_hh_l0")[5:10].tolist() == [1.0] * 5
    half, _ = copy.deepcopy(layer).bfloat16()(x.bfloat16())
    torch.testing.assert_close(half.double(), layer(x)[0], rtol=0.1, atol=0.1)
    for options, message in (
        ({"step_size": 0.0}, "`step_size` must be a finite number > 0, got 0.0"),
        ({"restart_every": 0}, "`restart_every` must be an integer >= 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            layer_of(**options)
    for backend in ("native", "fused"):
        with pytest.raises(ValueError, match=f"'{backend}' cannot run this.*reference"):
            layer_of(backend=backend)(x)
