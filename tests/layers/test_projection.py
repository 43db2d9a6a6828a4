"""LSTM with ``proj_size`` against torch.nn.LSTM, and against the loop over time for every dynamics."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from layer_inputs import DYNAMIC, as_scripted, flat, random
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from momentum_cli import GRU, LSTM, CoupledLSTM, HeavyBall, Identity, RMSProp
from momentum_cli.kernels import BACKENDS

STEPS, BATCH, D, H, P = 9, 4, 3, 7, 5


def build(dynamics: str, backend: str, **options: Any) -> LSTM:
    torch.manual_seed(0)
    layer = LSTM(D, H, proj_size=P, dynamics=DYNAMIC[dynamics], dtype=torch.float64, **options)
    if backend != "auto" and BACKENDS[backend].supports(layer.work(torch.device("cpu"), torch.float64)) is not None:
        pytest.skip(f"{backend} does not serve this layer")
    layer.backend = backend
    return layer


def everything(layer: Any, x: Any, state: Any) -> list[Tensor]:
    """Return outputs, last state and the gradients by input, state and parameters of a random cotangent."""
    output, after = layer(x, state)
    results = [t for t in (output if isinstance(output, Tensor) else output.data, *flat(after)) if t.requires_grad]
    upstream = [random(*t.shape, seed=i) for i, t in enumerate(results)]
    leaves = [t for t in (*flat(state), *layer.parameters()) if t.requires_grad]
    return [t.detach() for t in (*results, *torch.autograd.grad(results, leaves, upstream))]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("backend", ["auto", "reference", "native"])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"num_layers": 2, "bias": False}])
def test_with_identity_it_is_torch(options: dict[str, Any], backend: str, packed: bool) -> None:
    layer = build("identity", backend, **options)
    theirs = nn.LSTM(D, H, proj_size=P, dtype=torch.float64, **options)
    theirs.load_state_dict(layer.state_dict())
    assert [name for name, _ in theirs.named_parameters()] == [name for name, _ in layer.named_parameters()]
    x: Any = random(STEPS, BATCH, D)
    if packed:
        x = pack_padded_sequence(x, torch.tensor([STEPS, 1, 4, 6]), enforce_sorted=False)
    layers = layer.num_layers * layer.num_directions
    state = (random(layers, BATCH, P, seed=1).requires_grad_(), random(layers, BATCH, H, seed=2).requires_grad_())
    for one, right in zip(everything(layer, x, state), everything(theirs, x, state), strict=True):
        torch.testing.assert_close(one, right, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("dynamics", DYNAMIC)
def test_every_dynamics_is_the_loop_over_time_and_chunks_are_the_whole(dynamics: str) -> None:
    layer, loop = (build(dynamics, b, num_layers=2, bidirectional=True) for b in ("auto", "reference"))
    x = random(STEPS, BATCH, D)
    state = layer.zero_state(BATCH)
    for one, right in zip(everything(layer, x, state), everything(loop, x, state), strict=True):
        torch.testing.assert_close(one, right, rtol=1e-8, atol=1e-10)
    forward = build(dynamics, "auto", num_layers=2)
    first, state = forward(x[:4])
    second, _ = forward(x[4:], state)
    torch.testing.assert_close(torch.cat([first, second]), forward(x)[0], rtol=1e-9, atol=1e-11)
    # By hand: a projection is one linear map of what the recurrence gives, in the output and in what is fed back.
    single = build(dynamics, "reference")
    h, d_state = x.new_zeros(BATCH, P), single.dynamics.init(x.new_zeros(BATCH, 4 * H))
    c = x.new_zeros(BATCH, H)
    for t in range(STEPS):
        d, d_state = single.dynamics.step(x[t] @ single.weight_ih_l0.T + single.bias_ih_l0, d_state)
        i, f, g, o = (d + h @ single.weight_hh_l0.T + single.bias_hh_l0).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = (o.sigmoid() * c.tanh()) @ single.weight_hr_l0.T
        torch.testing.assert_close(single(x[: t + 1])[0][-1], h, rtol=1e-9, atol=1e-11)


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize("dynamics", ["identity", "nesterov", "adam"])
def test_a_scripted_layer_is_the_layer(dynamics: str) -> None:
    layer = build(dynamics, "reference", num_layers=2, bidirectional=True)
    scripted, x = torch.jit.script(layer), random(STEPS, BATCH, D)
    output, state = layer(x)
    for lengths in (None, torch.tensor([9, 1, 4, 6])):
        result = scripted.run_padded(x, as_scripted(state), lengths)
        for one, right in zip(flat(result), flat(layer.run_padded(x, state, lengths)), strict=True):
            torch.testing.assert_close(one, right, rtol=1e-9, atol=1e-11)
    assert output.shape == (STEPS, BATCH, 2 * P)
    assert scripted.zero_state(2)[0].shape == (4, 2, P)


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")  # as torch.nn.LSTM says
def test_the_kernels_without_it_are_refused_by_name_and_left_out_by_auto() -> None:
    for backend in ("fused", "triton"):
        layer = LSTM(D, H, proj_size=P, backend=backend)
        with pytest.raises(ValueError, match=f"backend '{backend}' cannot run this.*can: reference, native"):
            layer(torch.zeros(2, 1, D))
    for dynamics, chosen in ((HeavyBall(), "native"), (RMSProp(), "reference")):
        layer = LSTM(D, H, proj_size=P, dynamics=dynamics)
        layer(torch.zeros(600, 2, D))
        assert layer.chosen_backend == chosen


@pytest.mark.parametrize("size", [-1, H, H + 1, True, 2.0])
def test_a_size_outside_its_range_is_refused(size: Any) -> None:
    with pytest.raises(ValueError, match=r"`proj_size` must be an integer in \[0, hidden_size=7\), got"):
        LSTM(D, H, proj_size=size)


def test_only_an_lstm_has_it() -> None:
    with pytest.raises(TypeError, match="proj_size"):
        GRU(D, H, proj_size=P)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="proj_size"):
        CoupledLSTM(D, H, proj_size=P)  # type: ignore[call-arg]


def test_the_papers_initialisation_has_an_orthogonal_projection() -> None:
    layer = LSTM(D, H, proj_size=P, dynamics=Identity())
    layer.reset_parameters("paper")
    torch.testing.assert_close(layer.weight_hr_l0 @ layer.weight_hr_l0.T, torch.eye(P), rtol=1e-5, atol=1e-5)
    assert "proj_size=5" in repr(layer)
