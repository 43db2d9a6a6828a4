"""TorchScript, torch.compile, copies and pickles of layers and models against the eager layer in float64."""

from __future__ import annotations

import copy
import dataclasses
import io
import pickle
import sys
import warnings
from typing import Any, ClassVar

import pytest
import torch
from layer_inputs import as_scripted, flat
from sign_momentum import SignMomentum
from torch import Tensor, nn

from momentum_cli import (
    GRU,
    LSTM,
    RNN,
    Adam,
    CoupledLSTM,
    CustomRNN,
    HeavyBall,
    Identity,
    Nesterov,
    OrthogonalRNN,
    Recurrence,
    RecurrentState,
    RMSProp,
    ScheduledRestart,
)
from momentum_cli.dynamics import Filter, FormDynamics
from momentum_cli.models.sequence import SequenceModel

DYNAMICS = [
    Identity(),
    HeavyBall(0.6, 0.7),
    Nesterov(0.5),
    ScheduledRestart(0.5, 5),
    RMSProp(0.9, 1.2, 1e-6),
    Adam(0.6, 0.9, 1.2, 1e-6),
]
LAYERS = [LSTM, GRU, RNN]
# More than two blocks of the scripted filter, and not a multiple of one.
STEPS = 70


def script(module: nn.Module) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(module)


def largest_difference(one: Any, two: Any) -> float:
    """Compare (output, state) pairs; also their structure."""
    (a, state_a), (b, state_b) = one, two
    state_a, state_b = flat(state_a), flat(state_b)
    assert len(state_a) == len(state_b)
    for left, right in zip((a, *state_a), (b, *state_b), strict=True):
        assert left.shape == right.shape
        assert left.dtype == right.dtype
    return max(float((x - y).detach().abs().max()) for x, y in zip((a, *state_a), (b, *state_b), strict=True))


@pytest.mark.parametrize("dynamics", DYNAMICS, ids=lambda d: type(d).__name__)
@pytest.mark.parametrize("kind", LAYERS, ids=lambda c: c.__name__)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_layers": 2, "bidirectional": True, "bias": False},
        pytest.param({"num_layers": 2}, marks=pytest.mark.slow),
    ],
    ids=["one", "two-bidirectional-no-bias", "two"],
)
def test_scripted_layer_equals_the_eager_one(kind: Any, dynamics: Any, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    layer = kind(3, 5, dynamics=dynamics, backend="reference", dtype=torch.float64, **options)
    scripted = script(layer)
    assert list(scripted.state_dict()) == list(layer.state_dict())
    assert type(layer).__name__ == kind.__name__
    x = torch.randn(STEPS, 4, 3, dtype=torch.float64)
    whole, state = layer(x)
    assert largest_difference(scripted(x), (whole, state)) < 1e-12
    # Continuing from a state, the eager one's or its own.
    assert largest_difference(scripted(x[:9], as_scripted(state)), layer(x[:9], state)) < 1e-12
    lengths = torch.tensor([STEPS, 3, 1, 40])
    assert largest_difference(scripted.run_padded(x, None, lengths), layer.run_padded(x, None, lengths)) < 1e-12
    for zero, expected in zip(flat(scripted.zero_state(4)), flat(layer.zero_state(4)), strict=True):
        assert torch.equal(zero, expected)
        assert zero.dtype == expected.dtype


@pytest.mark.parametrize("dynamics", [HeavyBall(), ScheduledRestart(1.0, 4), Adam(eps=1e-6)])
def test_scripted_gradients_equal_the_eager_ones(dynamics: Any) -> None:
    torch.manual_seed(1)
    layer = LSTM(3, 4, dynamics=dynamics, backend="reference", dtype=torch.float64)
    scripted = script(layer)
    x = torch.randn(6, 2, 3, dtype=torch.float64)
    cotangent = torch.randn(6, 2, 4, dtype=torch.float64)
    gradients = []
    for call in (layer, scripted):
        layer.zero_grad()
        (call(x)[0] * cotangent).sum().backward()
        # The parameters are the same tensors.
        gradients.append([p.grad.clone() for p in layer.parameters() if p.grad is not None])
    assert len(gradients[0]) == 4
    for eager, compiled in zip(*gradients, strict=True):
        torch.testing.assert_close(eager, compiled, rtol=1e-11, atol=1e-11)


def test_batch_first_and_unbatched_input() -> None:
    torch.manual_seed(2)
    layer = GRU(3, 4, batch_first=True, dynamics=Nesterov(), dtype=torch.float64)
    scripted = script(layer)
    x = torch.randn(2, 7, 3, dtype=torch.float64)
    assert largest_difference(scripted(x), layer(x)) < 1e-12
    one, state = scripted(x[0])
    assert largest_difference((one, state), layer(x[0])) < 1e-12
    assert largest_difference(scripted(x[0], state), layer(x[0], flat(state))) < 1e-12


@pytest.mark.parametrize("output", ["last", "every"])
def test_scripted_model_leaves_the_eager_one_alone(output: Any) -> None:
    torch.manual_seed(3)
    model = SequenceModel(LSTM(3, 5, 2, bidirectional=True, dtype=torch.float64), 4, output).double().eval()
    children = dict(model.named_modules())
    scripted = script(model)
    assert dict(model.named_modules()) == children
    assert list(scripted.state_dict()) == list(model.state_dict())
    x, lengths = torch.randn(3, 8, 3, dtype=torch.float64), torch.tensor([8, 2, 5])
    assert largest_difference(scripted(x), model(x)) < 1e-12
    assert largest_difference(scripted(x, lengths), model(x, lengths)) < 1e-12


def test_a_container_of_the_user_still_works_after_scripting() -> None:
    """torch.jit.script replaces children of a container that it compiles; the replacement must be as good."""

    class First(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = LSTM(3, 4, 2, dropout=0.5, dynamics=HeavyBall(), dtype=torch.float64)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x)[0]

    torch.manual_seed(4)
    container = nn.Sequential(nn.Linear(3, 3, dtype=torch.float64), First())
    container.eval()
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    expected, names = container(x), list(container.state_dict())
    packed = nn.utils.rnn.pack_sequence([x[:, 0], x[:3, 1]])
    layer: Any = container[1].layer
    expected_packed = layer(packed)[0].data
    scripted = script(container)
    assert list(scripted.state_dict()) == names == list(container.state_dict())
    after: Any = container[1].layer
    for same in (scripted, container):
        torch.testing.assert_close(same(x), expected)
    # A tuple state, a packed sequence and the layer's own attributes are the eager layer's.
    assert isinstance(after(x)[1], RecurrentState)
    torch.testing.assert_close(after(packed)[0].data, expected_packed)
    assert after.state_names == layer.state_names
    # Training reaches it: dropout acts, and stops acting.
    container.train()
    assert not torch.equal(container(x), expected)
    container.eval()
    torch.testing.assert_close(container(x), expected)
    # So does a change of the parameters, and a copy has the original class.
    container.load_state_dict({name: torch.zeros_like(p) for name, p in container.state_dict().items()})
    assert not container(x).any()
    assert type(copy.deepcopy(after)) is LSTM
    assert type(pickle.loads(pickle.dumps(after))) is LSTM
    torch.testing.assert_close(script(container)(x), container(x))


def test_saved_script_loads_without_the_package() -> None:
    torch.manual_seed(5)
    layer = LSTM(3, 4, dynamics=Adam(), dtype=torch.float64)
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    expected = layer(x)[0]
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(layer), file)
        file.seek(0)
        hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if name.startswith("momentum_cli")}
        try:
            loaded = torch.jit.load(file)
            assert not any(name.startswith("momentum_cli") for name in sys.modules)
        finally:
            sys.modules.update(hidden)
    torch.testing.assert_close(loaded(x)[0], expected)
    # Nothing stays behind: not a tensor of the file is kept outside its parameters.
    assert next(loaded.parameters()).dtype == torch.float64
    torch.testing.assert_close(loaded.float()(x.float())[0], expected.float(), rtol=1e-5, atol=1e-5)


def test_wrong_input_is_named_in_script() -> None:
    scripted = script(LSTM(3, 4))
    with pytest.raises(torch.jit.Error, match="3 channels"):
        scripted(torch.zeros(2, 2, 4))
    with pytest.raises(torch.jit.Error, match="must have 3 tensors, got 2"):
        scripted(torch.zeros(2, 2, 3), (torch.zeros(1, 2, 4), torch.zeros(1, 2, 4), []))
    with pytest.raises(RuntimeError, match="LSTMState"):
        scripted(torch.zeros(2, 2, 3), (torch.zeros(1, 2, 4), torch.zeros(1, 2, 4)))


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True, "bias": False}])
def test_other_states_are_scripted_too(options: dict[str, Any]) -> None:
    """The step number and the pre-activation of the coupled cell, and the matrix of the orthogonal one."""
    torch.manual_seed(9)
    coupled = CoupledLSTM(3, 5, step_size=0.9, restart_every=7, dtype=torch.float64, **options)
    options = {name: value for name, value in options.items() if name != "bias"}
    orthogonal = OrthogonalRNN(3, 5, dynamics=Nesterov(0.5), dtype=torch.float64, **options)
    x, lengths = torch.randn(STEPS, 4, 3, dtype=torch.float64), torch.tensor([STEPS, 3, 1, 40])
    for layer in (coupled, orthogonal):
        scripted = script(layer)
        whole, state = layer(x)
        assert largest_difference(scripted(x), (whole, state)) < 1e-10
        assert largest_difference(scripted(x[:9], as_scripted(state)), layer(x[:9], state)) < 1e-10
        assert largest_difference(scripted.run_padded(x, None, lengths), layer.run_padded(x, None, lengths)) < 1e-10


@dataclasses.dataclass(frozen=True)
class Fading(FormDynamics):
    """A decay that is not a ratio of polynomials, with a jump."""

    tau: float = 9.0
    equation: ClassVar[str] = "v' = exp(-k/tau) v + u, 0 for every 13th k; d = v'"

    @property
    def form(self) -> Filter:
        return Filter(decay=lambda k: torch.where(k % 13 == 0, 0.0, torch.exp(-k / self.tau)))


def mgu_step(d: Tensor, state: tuple[Tensor, ...], weight: Tensor, bias: Tensor | None) -> tuple[Tensor, ...]:
    gates = d + nn.functional.linear(state[0], weight, bias)
    f, n = gates.sigmoid().chunk(2, 1)
    return (torch.lerp(state[0], n, f),)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dynamics", [Fading(), Adam(eps=1e-6)], ids=lambda d: type(d).__name__)
def test_a_filter_and_a_recurrence_of_the_user_are_scripted(dynamics: Any, bias: bool) -> None:
    torch.manual_seed(10)
    recurrence = Recurrence("mgu", 2, ("h",), mgu_step, "")
    layer = CustomRNN(recurrence, 3, 5, 2, dynamics=dynamics, bias=bias, dtype=torch.float64)
    scripted = script(layer)
    x, lengths = torch.randn(STEPS, 4, 3, dtype=torch.float64), torch.tensor([STEPS, 3, 1, 40])
    whole, state = layer(x)
    assert largest_difference(scripted(x), (whole, state)) < 1e-12
    assert largest_difference(scripted(x[:9], as_scripted(state)), layer(x[:9], state)) < 1e-12
    assert largest_difference(scripted.run_padded(x, None, lengths), layer.run_padded(x, None, lengths)) < 1e-12


def test_what_cannot_be_scripted_is_named() -> None:
    with pytest.raises(TypeError, match="TorchScript has no form for SignMomentum, which has only a step"):
        script(LSTM(3, 4, dynamics=SignMomentum()))

    def branching(d: Tensor, state: tuple[Tensor, ...], weight: Tensor, bias: Tensor | None) -> tuple[Tensor, ...]:
        return (torch.tanh(d if d.sum() > 0 else -d),)

    def fixed(d: Tensor, state: tuple[Tensor, ...], weight: Tensor, bias: Tensor | None) -> tuple[Tensor, ...]:
        return (torch.tanh(d) * float(len(d)),)

    for step in (branching, fixed):
        with pytest.raises(TypeError, match="cannot trace the step of the recurrence 'mine'"):
            script(CustomRNN(Recurrence("mine", 1, ("h",), step, ""), 3, 4))


@pytest.mark.parametrize("dynamics", [HeavyBall(), Adam(eps=1e-6)], ids=lambda d: type(d).__name__)
@pytest.mark.parametrize("backend", ["reference", "auto"])
def test_compiled_layer_equals_the_eager_one(dynamics: Any, backend: str) -> None:
    torch.manual_seed(6)
    layer = LSTM(3, 4, dynamics=dynamics, backend=backend)
    x = torch.randn(2, 2, 3, requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = torch.compile(layer, fullgraph=False, backend="aot_eager")
        outputs = compiled(x)[0], layer(x)[0]
        gradients = [torch.autograd.grad(output.square().sum(), x)[0] for output in outputs]
    torch.testing.assert_close(*outputs)
    torch.testing.assert_close(*gradients)


@pytest.mark.slow
@pytest.mark.parametrize("dynamics", [HeavyBall(), Adam(eps=1e-6)], ids=lambda d: type(d).__name__)
def test_layer_through_inductor(dynamics: Any) -> None:
    torch.manual_seed(7)
    layer = LSTM(3, 4, dynamics=dynamics)
    x = torch.randn(4, 2, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.testing.assert_close(torch.compile(layer, fullgraph=False)(x)[0], layer(x)[0])
    torch._dynamo.reset()


@pytest.mark.parametrize("dynamics", DYNAMICS, ids=lambda d: type(d).__name__)
@pytest.mark.parametrize("copier", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"])
def test_copies_are_equal_and_independent(dynamics: Any, copier: Any) -> None:
    torch.manual_seed(8)
    model = SequenceModel(RNN(3, 4, nonlinearity="relu", dynamics=dynamics), 2).eval()
    other = copier(model)
    x = torch.randn(2, 5, 3)
    before = model(x)[0]
    torch.testing.assert_close(other(x)[0], before, rtol=0, atol=0)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    torch.testing.assert_close(model(x)[0], before, rtol=0, atol=0)
    torch.testing.assert_close(script(other)(x)[0], other(x)[0])
