"""A state in another dtype than the parameters is refused, as by torch.nn; under autocast it is converted."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from layer_inputs import DYNAMIC, flat, random
from torch import nn

from momentum_cli import GRU, LSTM, RNN, OrthogonalRNN
from momentum_cli.kernels import BACKENDS
from momentum_cli.layers.recurrent import RecurrentLayer

LAYERS: dict[str, Any] = {"lstm": LSTM, "gru": GRU, "rnn": RNN, "orthogonal": OrthogonalRNN}
FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def build(kind: str, dynamics: str, backend: str, dtype: torch.dtype) -> RecurrentLayer:
    torch.manual_seed(0)
    layer: RecurrentLayer = LAYERS[kind](5, 7, dynamics=DYNAMIC[dynamics], backend="auto").to(dtype)
    if backend != "auto" and BACKENDS[backend].supports(layer.work(torch.device("cpu"), dtype)) is not None:
        pytest.skip(f"{backend} does not serve this layer")
    layer.backend = backend
    return layer


def state_of(layer: RecurrentLayer, dtype: torch.dtype) -> list[torch.Tensor]:
    zeros = [s.double() if s.is_floating_point() else s for s in layer.zero_tensors(8)]
    return [random(*z.shape, seed=i).abs().to(dtype) if z.is_floating_point() else z for i, z in enumerate(zeros)]


@pytest.mark.parametrize("own", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("backend", ["auto", "reference", "native", "fused"])
@pytest.mark.parametrize("dynamics", DYNAMIC)
@pytest.mark.parametrize("kind", LAYERS)
def test_a_tensor_of_another_dtype_is_refused_by_name(kind: str, dynamics: str, backend: str, own: torch.dtype) -> None:
    if kind == "orthogonal" and own == torch.bfloat16:
        pytest.skip("the matrix exponential has no bfloat16")
    layer = build(kind, dynamics, backend, own)
    x = random(60, 8, 5).to(own)
    right = state_of(layer, own)
    for number, name in enumerate(layer.state_names):
        if name == "k":
            continue
        for other in FLOATS:
            if other == own:
                continue
            wrong = [s.to(other) if i == number else s for i, s in enumerate(right)]
            with pytest.raises(ValueError, match=rf"state '{name}' must have the dtype .*{own}, got {other}"):
                layer(x, tuple(wrong))
            with pytest.raises(ValueError, match=f"state '{name}'"):
                layer.run_padded(x, tuple(wrong), torch.full((8,), 60))


@pytest.mark.parametrize("build_theirs", [nn.LSTM, nn.GRU, nn.RNN])
def test_torch_refuses_it_too(build_theirs: Any) -> None:
    theirs = build_theirs(5, 7)
    h = torch.zeros(1, 8, 7, dtype=torch.float64)
    with pytest.raises(RuntimeError):
        theirs(torch.zeros(60, 8, 5), (h, h) if build_theirs is nn.LSTM else h)


@pytest.mark.parametrize("other", [torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("dynamics", DYNAMIC)
@pytest.mark.parametrize("kind", LAYERS)
def test_under_autocast_it_is_converted(kind: str, dynamics: str, other: torch.dtype) -> None:
    layer = build(kind, dynamics, "auto", torch.float32)
    x, state = random(60, 8, 5, dtype=torch.float32), state_of(layer, other)
    with torch.autocast("cpu", torch.bfloat16):
        output, after = layer(x, tuple(state))
        expected, end = layer(x, tuple(s.float() if s.is_floating_point() else s for s in state))
    for actual, wanted in zip((output, *flat(after)), (expected, *flat(end)), strict=True):
        assert torch.equal(actual, wanted)
    assert {s.dtype for s in flat(after) if s.is_floating_point()} == {torch.float32}
    layer(x, after)  # what autocast hands back is taken outside it


def test_a_state_on_another_device_is_refused() -> None:
    layer = GRU(5, 7, dynamics=DYNAMIC["identity"])
    with pytest.raises(ValueError, match="state 'h' must be on cpu, as the input, got meta"):
        layer(torch.zeros(4, 8, 5), torch.zeros(1, 8, 7, device="meta"))
