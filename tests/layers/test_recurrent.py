"""Layers: backend x dynamics x recurrence against the reference and against torch.nn, states, packing, errors."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from layer_inputs import DYNAMIC, flat, random
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence, pad_packed_sequence

import momentum_cli
from momentum_cli import GRU, LSTM, RNN, Adam, HeavyBall, Identity, Nesterov, RMSProp, ScheduledRestart
from momentum_cli.dynamics import DYNAMICS
from momentum_cli.dynamics.protocol import Dynamics
from momentum_cli.kernels import BACKENDS
from momentum_cli.layers.recurrent import RecurrentLayer

LAYERS: dict[str, type[RecurrentLayer]] = {"lstm": LSTM, "gru": GRU, "rnn": RNN}
SHAPES: list[dict[str, Any]] = [{}, {"num_layers": 2, "bidirectional": True}, {"bias": False}]


def pair(recurrence: str, dynamics: Dynamics, backend: str, **options: Any) -> tuple[RecurrentLayer, RecurrentLayer]:
    """The same layer on a backend and on the reference."""
    build = LAYERS[recurrence]
    torch.manual_seed(0)
    one = build(3, 7, dynamics=dynamics, backend=backend, **{"dtype": torch.float64, **options})
    other = copy.deepcopy(one)
    other.backend = "reference"
    return one, other


def supported(layer: RecurrentLayer) -> None:
    work = layer.work(torch.device("cpu"), layer.get_parameter("weight_hh_l0").dtype)
    reason = BACKENDS[layer.backend].supports(work)
    if reason is not None:
        with pytest.raises(ValueError, match=f"backend '{layer.backend}' cannot run this.*reference"):
            layer(random(2, 1, 3))
        pytest.skip(f"{layer.backend}: {reason}")


def test_every_dynamics_is_tested() -> None:
    assert set(DYNAMIC) == set(DYNAMICS)


def literal_cell(layer: RecurrentLayer, dynamics: Dynamics, x: Tensor) -> tuple[Tensor, Tensor]:
    """A momentum cell as the paper writes it, with the momentum in gate space; one layer, one direction, zero start."""
    p = dict(layer.named_parameters())
    h = c = x.new_zeros(x.shape[1], layer.hidden_size)
    u = x @ p["weight_ih_l0"].T + p["bias_ih_l0"]
    v = m = torch.zeros_like(u[0])
    outputs = []
    for t in range(len(x)):
        k = t + 1
        match dynamics:
            case Identity():
                d = u[t]
            case HeavyBall(momentum=mu, step_size=s):
                d = v = mu * v + s * u[t]
            case Nesterov(step_size=s):
                d = v = (k - 1) / (k + 2) * v + s * u[t]
            case ScheduledRestart(step_size=s, restart_every=every):
                j = t % every + 1
                d = v = (j - 1) / (j + 2) * v + s * u[t]
            case RMSProp(beta2=beta, step_size=s, eps=eps):
                m = beta * m + (1 - beta) * u[t] ** 2
                d = s * u[t] / torch.sqrt(m + eps)
            case Adam(momentum=mu, beta2=beta, step_size=s, eps=eps):
                v = mu * v + s * u[t]
                m = beta * m + (1 - beta) * u[t] ** 2
                d = v / torch.sqrt(m + eps)
        r = h @ p["weight_hh_l0"].T + p["bias_hh_l0"]
        if layer.recurrence.name == "lstm":
            i, f, g, o = (d + r).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        elif layer.recurrence.name == "gru":
            (dr, dz, dn), (rr, rz, rn) = d.chunk(3, 1), r.chunk(3, 1)
            z = (dz + rz).sigmoid()
            n = (dn + (dr + rr).sigmoid() * rn).tanh()
            h = (1 - z) * n + z * h
        else:
            h = (d + r).tanh()
        outputs.append(h)
    return torch.stack(outputs), h


@pytest.mark.parametrize("name", DYNAMIC)
@pytest.mark.parametrize("recurrence", LAYERS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_layer_is_the_cell_of_the_paper(recurrence: str, name: str, backend: str) -> None:
    layer, _ = pair(recurrence, DYNAMIC[name], backend)
    supported(layer)
    x = random(71, 3, 3)
    expected, last = literal_cell(layer, DYNAMIC[name], x)
    output, state = layer(x)
    torch.testing.assert_close(output, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(flat(state)[0][0], last, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("options", SHAPES, ids=str)
@pytest.mark.parametrize("name", DYNAMIC)
@pytest.mark.parametrize("recurrence", LAYERS)
@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "reference"])
@pytest.mark.parametrize("steps", [1, 5])
def test_backend_is_the_reference_with_all_gradients(
    backend: str, recurrence: str, name: str, options: dict[str, Any], steps: int
) -> None:
    one, other = pair(recurrence, DYNAMIC[name], backend, **options)
    supported(one)
    batch = 5
    results = []
    for layer in (one, other):
        x = random(steps, batch, 3).requires_grad_()
        state = tuple(
            s if s.dtype == torch.int64 else (s + 0.3 * random(*s.shape, seed=9).abs()).requires_grad_()
            for s in layer.zero_tensors(batch)
        )
        output, after = layer(x, state)
        values = [output, *(s for s in flat(after) if s.is_floating_point())]
        sum((v * random(*v.shape, seed=7)).sum() for v in values).backward()
        gradients = [x.grad, *(s.grad for s in state if s.is_floating_point())]
        gradients += [p.grad for p in layer.parameters()]
        results.append([*output.detach().unsqueeze(0), *flat(after), *gradients])
    for actual, expected in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", DYNAMIC)
@pytest.mark.parametrize("recurrence", LAYERS)
def test_gradcheck(recurrence: str, name: str) -> None:
    torch.manual_seed(0)
    layer = LAYERS[recurrence](2, 3, dynamics=DYNAMIC[name], dtype=torch.float64)

    def run(x: Tensor, *parameters: Tensor) -> Tensor:
        values = dict(zip([n for n, _ in layer.named_parameters()], parameters, strict=True))
        return torch.func.functional_call(layer, values, (x,))[0]

    x = random(3, 2, 2).requires_grad_()
    assert torch.autograd.gradcheck(run, (x, *layer.parameters()))


@pytest.mark.parametrize("options", [{}, {"num_layers": 2}, {"bias": False}], ids=str)
@pytest.mark.parametrize("name", DYNAMIC)
@pytest.mark.parametrize("recurrence", LAYERS)
@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_chunks_are_the_whole(recurrence: str, name: str, backend: str, options: dict[str, Any]) -> None:
    layer, _ = pair(recurrence, DYNAMIC[name], backend, **options)
    x = random(40, 3, 3)
    whole, end = layer(x)
    state, pieces = None, []
    for chunk in x.split([1, 1, 13, 25]):
        piece, state = layer(chunk, state)
        pieces.append(piece)
    torch.testing.assert_close(torch.cat(pieces), whole, rtol=1e-9, atol=1e-10)
    assert state is not None
    assert len(flat(state)) == len(layer.state_names)
    for actual, expected in zip(flat(state), flat(end), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("options", SHAPES, ids=str)
@pytest.mark.parametrize(("ours", "theirs"), [(LSTM, nn.LSTM), (GRU, nn.GRU), (RNN, nn.RNN)])
@pytest.mark.parametrize("dynamics", [Identity(), HeavyBall(0.0, 1.0), ScheduledRestart(1.0, 1)], ids=repr)
def test_no_momentum_is_torch_with_the_same_state_dict(
    ours: Any, theirs: Any, dynamics: Dynamics, options: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    plain = theirs(3, 7, dtype=torch.float64, **options)
    layer = ours(3, 7, dtype=torch.float64, dynamics=dynamics, **options)
    layer.load_state_dict(plain.state_dict())
    x = random(9, 4, 3)
    expected, end = plain(x)
    output, state = layer(x)
    torch.testing.assert_close(output, expected)
    for actual, wanted in zip(flat(state), flat(end), strict=False):
        torch.testing.assert_close(actual, wanted)


def test_relu_network_is_torch() -> None:
    plain = nn.RNN(3, 7, nonlinearity="relu", dtype=torch.float64)
    layer = RNN(3, 7, nonlinearity="relu", dynamics=Identity(), dtype=torch.float64)
    layer.load_state_dict(plain.state_dict())
    x = random(9, 4, 3)
    torch.testing.assert_close(layer(x)[0], plain(x)[0])


@pytest.mark.parametrize("name", DYNAMIC)
@pytest.mark.parametrize("recurrence", LAYERS)
def test_rmsprop_is_adam_without_momentum_and_mu_changes_the_result(recurrence: str, name: str) -> None:
    build = LAYERS[recurrence]
    torch.manual_seed(0)
    layer = build(3, 5, dynamics=DYNAMIC[name], dtype=torch.float64)
    rms = build(3, 5, dynamics=RMSProp(0.3, 0.8), dtype=torch.float64)
    adam = build(3, 5, dynamics=Adam(0.0, 0.3, 0.8), dtype=torch.float64)
    for other in (rms, adam):
        other.load_state_dict(layer.state_dict())
    x = random(12, 2, 3)
    torch.testing.assert_close(rms(x)[0], adam(x)[0])
    if name not in ("rmsprop",):
        assert not torch.allclose(rms(x)[0], layer(x)[0])


@pytest.mark.parametrize("name", DYNAMIC)
@pytest.mark.parametrize("recurrence", LAYERS)
@pytest.mark.parametrize("backend", ["auto", "native", "reference", "fused"])
@pytest.mark.parametrize("enforce_sorted", [True, False])
def test_packed_sequences_are_the_sequences_one_by_one(
    recurrence: str, name: str, backend: str, enforce_sorted: bool
) -> None:
    layer, _ = pair(recurrence, DYNAMIC[name], backend, num_layers=2, bidirectional=True)
    if backend != "auto":
        supported(layer)
    sequences = [random(n, 3, seed=n) for n in ((9, 7, 4, 1) if enforce_sorted else (4, 9, 1, 7))]
    output, state = layer(pack_sequence(sequences, enforce_sorted=enforce_sorted))
    assert isinstance(output, PackedSequence)
    padded, lengths = pad_packed_sequence(output)
    for b, sequence in enumerate(sequences):
        alone, end = layer(sequence)
        torch.testing.assert_close(padded[: lengths[b], b], alone, rtol=1e-9, atol=1e-10)
        for actual, expected in zip(flat(state), flat(end), strict=True):
            torch.testing.assert_close(actual[:, b], expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("poison", [1e6, float("nan"), float("inf")])
@pytest.mark.parametrize("name", DYNAMIC)
def test_padding_cannot_reach_the_result(name: str, poison: float) -> None:
    layer = LSTM(3, 5, bidirectional=True, dynamics=DYNAMIC[name], dtype=torch.float64)
    lengths = torch.tensor([6, 2])
    clean, poisoned = random(6, 2, 3), random(6, 2, 3)
    poisoned[2:, 1] = poison
    expected, end = layer.run_padded(clean, None, lengths)
    output, state = layer.run_padded(poisoned, None, lengths)
    for actual, wanted in zip((output, *flat(state)), (expected, *flat(end)), strict=True):
        torch.testing.assert_close(actual, wanted, rtol=0.0, atol=0.0)


def test_batch_first_and_unbatched() -> None:
    layer = LSTM(3, 5, dynamics=Nesterov(1.0), dtype=torch.float64)
    first = LSTM(3, 5, dynamics=Nesterov(1.0), dtype=torch.float64, batch_first=True)
    first.load_state_dict(layer.state_dict())
    x = random(6, 4, 3)
    output, state = layer(x)
    other, other_state = first(x.transpose(0, 1))
    torch.testing.assert_close(other.transpose(0, 1), output)
    torch.testing.assert_close(flat(other_state), flat(state))
    alone, alone_state = layer(x[:, 1])
    torch.testing.assert_close(alone, output[:, 1])
    torch.testing.assert_close(flat(alone_state), tuple(s[:, 1] for s in flat(state)))
    again, _ = layer(x[:, 1], layer.zero_state())
    torch.testing.assert_close(again, alone)


def test_a_bare_tensor_is_a_state_where_torch_takes_one() -> None:
    layer, plain = GRU(3, 5, dynamics=Identity()), nn.GRU(3, 5)
    layer.load_state_dict(plain.state_dict())
    x, h = random(4, 2, 3, dtype=torch.float32), random(1, 2, 5, dtype=torch.float32)
    torch.testing.assert_close(layer(x, h)[0], plain(x, h)[0])


@pytest.mark.parametrize("name", DYNAMIC)
def test_saturating_input_stays_finite(name: str) -> None:
    layer = LSTM(3, 5, dynamics=DYNAMIC[name])
    x = (1e4 * random(20, 2, 3, dtype=torch.float32)).requires_grad_()
    output, _ = layer(x)
    output.sum().backward()
    assert x.grad is not None
    for value in (output, x.grad, *(p.grad for p in layer.parameters() if p.grad is not None)):
        assert torch.isfinite(value).all()


@pytest.mark.parametrize("name", DYNAMIC)
def test_bfloat16_and_autocast(name: str) -> None:
    torch.manual_seed(0)
    layer = LSTM(3, 8, dynamics=DYNAMIC[name])
    x = random(30, 4, 3, dtype=torch.float32)
    exact, _ = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        mixed, state = layer(x)
    assert flat(state)[0].dtype is torch.float32
    torch.testing.assert_close(mixed.float(), exact, rtol=0.05, atol=0.05)
    half, _ = copy.deepcopy(layer).bfloat16()(x.bfloat16())
    assert half.dtype is torch.bfloat16
    torch.testing.assert_close(half.float(), exact, rtol=0.1, atol=0.1)


def test_dropout_acts_between_layers_while_training_only() -> None:
    torch.manual_seed(0)
    layer = LSTM(3, 64, 2, dropout=0.5)
    x = random(5, 2, 3, dtype=torch.float32)
    torch.manual_seed(1)
    one = layer(x)[0]
    torch.manual_seed(2)
    assert not torch.equal(one, layer(x)[0])
    layer.eval()
    torch.testing.assert_close(layer(x)[0], layer(x)[0], rtol=0.0, atol=0.0)
    # Dropout everywhere between the layers leaves the second layer with its biases alone.
    deaf = LSTM(3, 4, 2, dropout=1.0)
    torch.testing.assert_close(deaf(x)[0], deaf(2 * x)[0])


@pytest.mark.parametrize("name", DYNAMIC)
def test_copies_are_the_layer(name: str) -> None:
    layer = LSTM(3, 5, dynamics=DYNAMIC[name])
    x = random(4, 2, 3, dtype=torch.float32)
    expected = layer(x)[0]
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        torch.testing.assert_close(other(x)[0], expected, rtol=0.0, atol=0.0)
    fresh = LSTM(3, 5, dynamics=DYNAMIC[name])
    fresh.load_state_dict(layer.state_dict())
    torch.testing.assert_close(fresh(x)[0], expected, rtol=0.0, atol=0.0)


def test_the_papers_initialisation() -> None:
    layer = LSTM(6, 4, 2)
    layer.reset_parameters("paper")
    for k in range(2):
        weight = layer.get_parameter(f"weight_ih_l{k}")
        torch.testing.assert_close(weight.T @ weight, torch.eye(weight.shape[1]), rtol=1e-5, atol=1e-5)
        hidden = layer.get_parameter(f"weight_hh_l{k}")
        torch.testing.assert_close(hidden[:4], torch.eye(4))
        assert not hidden[4:].any()
        for name in ("bias_ih", "bias_hh"):
            bias = layer.get_parameter(f"{name}_l{k}")
            torch.testing.assert_close(bias, torch.tensor([0.0] * 4 + [1.0] * 4 + [0.0] * 8))
    layer.reset_parameters("paper", forget_bias=-4.0)
    assert (layer.get_parameter("bias_hh_l1")[4:8] == -4.0).all()
    layer.reset_parameters("torch", forget_bias=2.0)
    assert (layer.get_parameter("bias_ih_l0")[4:8] == 2.0).all()
    assert layer.get_parameter("weight_hh_l0").abs().max() <= 0.5


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: LSTM(0, 5), "`input_size` must be an integer >= 1, got 0"),
        (lambda: LSTM(3, 5, dropout=1.5, num_layers=2), r"`dropout` must be in \[0, 1\], got 1.5"),
        (lambda: LSTM(3, 5, dropout=0.5), "`dropout` must be 0 with num_layers=1.*, got 0.5"),
        (
            lambda: LSTM(3, 5, backend="cudnn"),
            "`backend` must be one of auto, reference, native, fused, .*, got 'cudnn'",
        ),
        (lambda: RNN(3, 5, nonlinearity="sin"), "`nonlinearity` must be 'tanh' or 'relu', got 'sin'"),
        (lambda: LSTM(3, 5, dynamics=HeavyBall), "`dynamics` must be an object .*, got the class HeavyBall"),  # type: ignore[arg-type]
        (lambda: LSTM(3, 5, dynamics="adam"), "`dynamics` must be an object .*, got 'adam'"),  # type: ignore[arg-type]
        (lambda: LSTM(3, 5)(torch.zeros(2, 1, 4)), "`input` must have input_size=3 channels, got 4"),
        (lambda: LSTM(3, 5)(torch.zeros(3)), r"`input` must have 2 \(T, D\) or 3 dimensions, got 1"),
        (lambda: LSTM(3, 5)(torch.zeros(0, 1, 3)), "length 0"),
        (
            lambda: LSTM(3, 5)(torch.zeros(2, 1, 3), (torch.zeros(1, 1, 5),)),
            r"`state` must have 3 tensors \(h, c, velocity_l0\), got 1 tensor; pass on the state",
        ),
        (
            lambda: LSTM(3, 5, dynamics=Identity())(torch.zeros(2, 1, 3), (torch.zeros(1, 2, 5), torch.zeros(1, 1, 5))),
            r"state 'h' must have the shape \(1, 1, 5\), got \(1, 2, 5\)",
        ),
        (lambda: LSTM(3, 5).reset_parameters("xavier"), "`init` must be 'torch' or 'paper', got 'xavier'"),
        (lambda: GRU(3, 5).reset_parameters("torch", 1.0), "`forget_bias` must be None.*, got 1.0"),
        (lambda: LSTM(3, 5, dynamics=Adam(), backend="native")(torch.zeros(2, 1, 3)), "Adam is not linear"),
        (
            lambda: LSTM(3, 5).run_padded(torch.zeros(2, 1, 3), None, torch.tensor([3])),
            r"`lengths` must be in \[0, 2\], got 3 to 3",
        ),
    ],
)
def test_mistakes_are_named(act: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        act()


def test_a_layer_shows_what_differs_from_the_defaults() -> None:
    assert repr(LSTM(3, 5, num_layers=2)) == "LSTM(3, 5, num_layers=2, dynamics=HeavyBall(momentum=0.6, step_size=1.0))"
    assert repr(RNN(3, 5, nonlinearity="relu", dynamics=Identity())).endswith(
        "dynamics=Identity(), nonlinearity='relu')"
    )
    assert "nonlinearity" not in repr(RNN(3, 5))


def test_short_names_build_the_layers() -> None:
    layer = momentum_cli.AdamGRU(3, 5, momentum=0.5, beta2=0.7, batch_first=True)
    assert isinstance(layer, GRU)
    assert layer.dynamics == Adam(momentum=0.5, beta2=0.7)
    assert layer.batch_first
    for name in momentum_cli.__all__:
        assert getattr(momentum_cli, name) is not None


def test_packing_keeps_the_order_of_the_caller() -> None:
    layer = LSTM(3, 5)
    x = random(5, 3, 3, dtype=torch.float32)
    packed = pack_padded_sequence(x, torch.tensor([5, 3, 2]))
    output, _ = layer(packed)
    assert output.sorted_indices is None
    torch.testing.assert_close(output.batch_sizes, packed.batch_sizes)
