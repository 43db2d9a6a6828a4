"""Layers on the device ``meta``: built without memory, run for their shapes, and filled afterwards."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from layer_inputs import DYNAMIC, flat, random

from momentum_cli import GRU, LSTM, RNN, CoupledLSTM, OrthogonalRNN

LAYERS: dict[str, Any] = {"lstm": LSTM, "gru": GRU, "rnn": RNN, "orthogonal": OrthogonalRNN, "coupled": CoupledLSTM}
PAIRS = [(kind, name) for kind in LAYERS for name in (DYNAMIC if kind != "coupled" else ["identity"])]


def options(kind: str, dynamics: str) -> dict[str, Any]:
    own = {} if kind == "coupled" else {"dynamics": DYNAMIC[dynamics]}
    return {"num_layers": 2, "bidirectional": True, **own}


@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.bfloat16, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("kind", "dynamics"), PAIRS)
def test_a_layer_runs_on_meta_with_the_shapes_and_dtypes_of_the_cpu(
    kind: str, dynamics: str, dtype: torch.dtype
) -> None:
    layer = LAYERS[kind](5, 7, device="meta", dtype=dtype, **options(kind, dynamics))
    assert all(tensor.is_meta for tensor in (*layer.parameters(), *layer.buffers()))
    on_cpu = LAYERS[kind](5, 7, dtype=dtype, **options(kind, dynamics))
    x, lengths = torch.empty(3, 3, 5, device="meta", dtype=dtype), torch.tensor([3, 1, 2])
    for call in (lambda m, x: m(x), lambda m, x: m(x, m.zero_state(3)), lambda m, x: m.run_padded(x, None, lengths)):
        got, right = call(layer, x), call(on_cpu, torch.zeros(3, 3, 5, dtype=dtype))
        assert type(got[1]) is type(right[1])
        for one, other in zip(flat(got), flat(right), strict=True):
            assert one.is_meta
            assert (one.shape, one.dtype) == (other.shape, other.dtype)
    gradients = torch.autograd.grad(layer(x)[0].sum(), list(layer.parameters()))
    assert [g.shape for g in gradients] == [p.shape for p in on_cpu.parameters()]
    layer.after_step()
    with pytest.raises(ValueError, match="input_size=5"):
        layer(x[:, :, :4])


@pytest.mark.parametrize(("kind", "dynamics"), PAIRS)
def test_a_layer_from_meta_is_filled_by_a_state_dict_or_by_its_initialisation(kind: str, dynamics: str) -> None:
    torch.manual_seed(0)
    right = LAYERS[kind](5, 7, **options(kind, dynamics))
    with torch.device("meta"):
        layer = LAYERS[kind](5, 7, **options(kind, dynamics))
    layer.to_empty(device="cpu").load_state_dict(right.state_dict())
    x = random(6, 3, 5).float()
    assert torch.equal(layer(x)[0], right(x)[0])
    skipped = torch.nn.utils.skip_init(LAYERS[kind], 5, 7, **options(kind, dynamics))
    for one in (skipped, right):
        torch.manual_seed(1)
        one.reset_parameters()
    assert torch.equal(skipped(x)[0], right(x)[0])
