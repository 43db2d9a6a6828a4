"""torch.compile and torch.export: one graph without breaks for any number of steps and sequences, as in eager mode.

Axes: T time, B batch.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from layer_inputs import DYNAMIC, flat, random
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.export import Dim
from torch.func import functional_call

from momentum_cli import GRU, LSTM, RNN, Adam, HeavyBall, OrthogonalRNN
from momentum_cli.kernels.fused import library, ops
from momentum_cli.layers.recurrent import RecurrentLayer

pytestmark = [
    pytest.mark.skipif(library.load()[0] is None, reason=library.load()[2] or "built"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of torch's own modules, while they are imported
]

LAYERS: dict[str, Any] = {"lstm": LSTM, "gru": GRU, "rnn": RNN, "orthogonal": OrthogonalRNN}
GRID = [(kind, dynamics) for kind in LAYERS for dynamics in DYNAMIC]
FEW = [("lstm", "momentum"), ("gru", "adam"), ("orthogonal", "sr")]


def pairs(*fast: tuple[str, str]) -> list[Any]:
    """Return all kinds with all dynamics, slow tests but for some: to compile takes seconds."""
    return [pytest.param(*pair, marks=() if pair in fast else pytest.mark.slow) for pair in GRID]


SHAPES = [(60, 8), (31, 3), (7, 21)]  # T, B; both sides of what is worth the fused kernel in eager mode


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    torch.compiler.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's compilers about torch
        yield
    torch.compiler.reset()


def build(kind: str, dynamics: str, **options: Any) -> RecurrentLayer:
    torch.manual_seed(0)
    layer: RecurrentLayer = LAYERS[kind](5, 7, dynamics=DYNAMIC[dynamics], dtype=torch.float64, **options)
    return layer


def run(function: Any, layer: nn.Module, steps: int, batch: int, state: Any = None) -> list[Tensor]:
    """Return output, last state and all gradients for one random cotangent of each."""
    x = random(steps, batch, 5).requires_grad_()
    given = None if state is None else tuple(s.detach().requires_grad_(s.is_floating_point()) for s in flat(state))
    output, last = function(x, given)
    after = flat(last)
    results = [t for t in (output, *after) if t.is_floating_point()]
    upstream = [random(*t.shape, seed=i) for i, t in enumerate(results)]
    parameters = [parameter for _, parameter in sorted(layer.named_parameters())]  # an export may change their order
    leaves = [x, *parameters, *(s for s in given or () if s.requires_grad)]
    gradients = torch.autograd.grad(results, leaves, upstream)
    return [t.detach() for t in (output, *after, *gradients)]


def assert_same(got: list[Tensor], expected: list[Tensor]) -> None:
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("kind", "dynamics"), pairs(("gru", "adam")))
def test_one_graph_serves_all_sizes_forward_and_backward(kind: str, dynamics: str) -> None:
    layer = build(kind, dynamics)
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(layer, backend=counter, fullgraph=True, dynamic=True)
    run(compiled, layer, 9, 4)
    graphs = counter.frame_count  # two, where torch finds out that a dropout of 0.0 is constant
    for steps, batch in SHAPES:
        assert_same(run(compiled, layer, steps, batch), run(layer, layer, steps, batch))
    assert counter.frame_count == graphs


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "dynamics"), GRID)
def test_a_state_a_stack_and_both_directions(kind: str, dynamics: str) -> None:
    layer = build(kind, dynamics, num_layers=2, bidirectional=True)
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(layer, backend=counter, fullgraph=True, dynamic=True)
    # No two sizes alike, which would count as one; a filter has a channel more than the input.
    run(compiled, layer, 9, 11, layer(random(3, 11, 5, seed=4))[1])
    graphs = counter.frame_count  # two, where torch finds out that a dropout of 0.0 is constant
    for steps, batch in SHAPES:
        state = layer(random(3, batch, 5, seed=4))[1]
        assert_same(run(compiled, layer, steps, batch, state), run(layer, layer, steps, batch, state))
    assert counter.frame_count == graphs


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dynamics", ["momentum", "adam"])
def test_lengths_and_threads(dynamics: str, threads: int) -> None:
    layer = build("gru", dynamics)
    compiled = torch.compile(layer.run_padded, backend="aot_eager", fullgraph=True, dynamic=True)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        for steps, batch in SHAPES[:2]:
            lengths = torch.arange(batch) * 5 % (steps + 1)  # 0 first
            assert_same(
                run(lambda x, state: compiled(x, state, lengths), layer, steps, batch),  # noqa: B023
                run(lambda x, state: layer.run_padded(x, state, lengths), layer, steps, batch),  # noqa: B023
            )
    finally:
        torch.set_num_threads(before)
    for bad in (-1, steps + 1):
        with pytest.raises(RuntimeError, match=r"`lengths` must be in \[0, T\]"):
            compiled(random(steps, batch, 5), None, torch.full((batch,), bad))


@pytest.mark.parametrize("mode", ["no_grad", pytest.param("inference", marks=pytest.mark.slow)])
def test_without_gradients(mode: str) -> None:
    """An orthogonal matrix is looked up by its value in eager mode, which no graph can do."""
    layer = build("orthogonal", "momentum")
    x = random(9, 4, 5)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True, dynamic=True)
    with torch.no_grad() if mode == "no_grad" else torch.inference_mode():
        torch.testing.assert_close(compiled(x)[0], layer(x)[0], rtol=1e-9, atol=1e-11)


def test_parameters_may_be_inputs_of_the_graph() -> None:
    """Their sizes are then free, but the instruction set depends on the number of units."""

    def call(layer: RecurrentLayer, parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        output: Tensor = functional_call(layer, parameters, (x,))[0]
        return output

    compiled = torch.compile(call, backend="aot_eager", fullgraph=True, dynamic=True)
    x = random(9, 4, 5).float()
    for hidden in (7, 40):
        torch.manual_seed(hidden)
        layer = LSTM(5, hidden)
        parameters = {name: parameter.detach() for name, parameter in layer.named_parameters()}
        torch.testing.assert_close(compiled(layer, parameters, x), layer(x)[0])


@pytest.mark.slow
def test_one_training_step_is_that_of_eager_mode() -> None:
    torch.manual_seed(0)
    nets = [nn.ModuleList([LSTM(5, 7, dynamics=HeavyBall(0.6, 0.9)), nn.Linear(7, 2)]) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())

    def loss(net: nn.ModuleList, x: Tensor) -> Tensor:
        result: Tensor = net[1](net[0](x)[0]).square().mean()
        return result

    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True, dynamic=True)
    for net, function in zip(nets, (loss, compiled), strict=True):
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        for steps in (20, 33):
            optimizer.zero_grad()
            function(net, random(steps, 4, 5).float()).backward()  # type: ignore[operator]
            optimizer.step()
    for one, other in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "dynamics"), FEW)
def test_inductor(kind: str, dynamics: str) -> None:
    layer = build(kind, dynamics)
    compiled = torch.compile(layer, fullgraph=True, dynamic=True)
    for steps, batch in SHAPES:
        assert_same(run(compiled, layer, steps, batch), run(layer, layer, steps, batch))


class Model(nn.Module):
    def __init__(self, layer: RecurrentLayer) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        output, state = self.layer(x)
        return output, *flat(state)


@pytest.mark.filterwarnings("ignore:The given buffer is not writable")  # by torch 2.11, which reads the file
@pytest.mark.parametrize(("kind", "dynamics"), pairs(*FEW))
@pytest.mark.parametrize("strict", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_export_with_free_sizes_forward_and_backward(kind: str, dynamics: str, strict: bool) -> None:
    model = Model(build(kind, dynamics))
    sizes = {0: Dim("T", max=100_000), 1: Dim("B", max=10_000)}
    program = torch.export.export(model, (random(60, 8, 5),), dynamic_shapes=(sizes,), strict=strict)
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    state = model.state_dict()
    loaded.load_state_dict(
        {name: state[name] for name in loaded.state_dict()}
    )  # without buffers that it has no use for
    for steps, batch in SHAPES:
        results = [
            run(lambda x, _: ((r := m(x))[0], r[1:]), m, steps, batch)  # noqa: B023
            for m in (loaded, model)
        ]
        assert_same(*results)


def test_an_export_uses_the_instructions_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph names the instruction set of the machine that made it; where that is missing, a lesser one serves."""
    if library.chosen_isa() == "generic":
        pytest.skip("this machine has but one instruction set")
    torch.manual_seed(0)
    model = Model(LSTM(5, 7, dynamics=Adam(0.6, 0.2, 0.9, 1e-6)))
    shape = ({0: Dim.AUTO, 1: Dim.AUTO},)
    program = torch.export.export(model, (random(9, 4, 5).float(),), dynamic_shapes=shape).module()
    x, upstream = random(31, 3, 5).float(), random(31, 3, 7, seed=1).float()
    expected = torch.autograd.grad(model(x)[0], list(model.parameters()), upstream)
    monkeypatch.setenv("MOMENTUMRNN_ISA", "generic")
    monkeypatch.setattr(library.load()[0], "mrnn_has_isa", lambda isa: isa.value == 0)
    ops._prepare.cache_clear()
    try:
        parameters = dict(program.named_parameters())
        leaves = [parameters[name] for name, _ in model.named_parameters()]
        got = torch.autograd.grad(program(x)[0], leaves, upstream)
    finally:
        ops._prepare.cache_clear()
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_a_trace_is_refused_and_may_contain_a_script() -> None:
    layer, x = LSTM(5, 7, dynamics=HeavyBall()), random(9, 4, 5).float()
    with pytest.raises(RuntimeError, match=r"must be made by torch\.jit\.script"):
        torch.jit.trace(layer, (x,))
    traced = torch.jit.trace(Model(torch.jit.script(layer)), (x,))
    for size in (x, random(30, 3, 5).float()):
        torch.testing.assert_close(traced(size)[0], layer(size)[0])
