"""The Triton kernels against the reference loop, run by Triton's interpreter on the CPU; `test_triton` starts this.

Triton decides where a kernel is defined whether it compiles or interprets it, so this runs in a process of its own that
has TRITON_INTERPRET=1 from the start: ``TRITON_INTERPRET=1 python -m pytest tests/triton_interpreted.py``. The
interpreter takes milliseconds an operation, so everything is tiny, and tiles are made smaller still, that there are
several of them.

Axes: T time, B batch, D input, H hidden, G gates * H.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest
import torch
from kernel_cases import Case, error
from layer_inputs import flat
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence
from triton_turns import programs_take_turns

from momentum_cli import LSTM
from momentum_cli.dynamics.adam import Adam
from momentum_cli.dynamics.heavy_ball import HeavyBall
from momentum_cli.dynamics.identity import Identity
from momentum_cli.dynamics.protocol import Dynamics
from momentum_cli.dynamics.rmsprop import RMSProp
from momentum_cli.kernels import reference
from momentum_cli.kernels.backend import Weights
from momentum_cli.kernels.triton import ops, tiles
from momentum_cli.kernels.triton import run as triton
from momentum_cli.kernels.triton.variants import SWITCH, VARIANTS
from momentum_cli.recurrence import RECURRENCES

if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("needs TRITON_INTERPRET=1 from the start of the process", allow_module_level=True)

# By Triton 3.6, which comes with torch 2.11; numpy 2.4 refuses the conversion.
pytestmark = pytest.mark.filterwarnings("ignore:Conversion of an array with ndim > 0 to a scalar")

DYNAMICS: tuple[Dynamics, ...] = (Identity(), HeavyBall(0.6, 0.7), RMSProp(0.6, 0.9, 1e-3), Adam(0.6, 0.3, 0.9, 1e-3))


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops, "_INTERVAL", 2)
    monkeypatch.setattr(tiles, "_TILE_BYTES", 1)  # the product is summed up in pieces of the smallest depth
    monkeypatch.setattr(ops, "_ELEMENTWISE_BLOCK", 32)


@pytest.mark.parametrize("dynamics", DYNAMICS, ids=lambda d: type(d).__name__)
@pytest.mark.parametrize("recurrence", ops.GATES)
def test_float64_equals_the_reference_with_all_gradients(recurrence: str, dynamics: Dynamics) -> None:
    for shape, bias, started, ragged in (((3, 5, 2, 9), True, True, True), ((2, 2, 1, 5), False, False, False)):
        case = Case(recurrence, dynamics, shape, bias, started, ragged)
        assert error(case.run(reference, torch.float64), case.run(triton, torch.float64)) < 1e-12


@pytest.mark.parametrize("recurrence", ops.GATES)
def test_float32_is_as_exact_as_the_reference_in_float32(recurrence: str) -> None:
    for dynamics in (HeavyBall(0.6, 0.7), Adam(0.6, 0.3, 0.9, 1e-3)):
        case = Case(recurrence, dynamics, (3, 3, 2, 6), ragged=True)
        exact, other = case.run(reference, torch.float64), case.run(reference, torch.float32)
        assert error(exact, case.run(triton, torch.float32)) < 4 * error(exact, other) + 1e-6


@pytest.mark.parametrize("recurrence", ["lstm", "gru", "modrelu"])
@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "stream"])
def test_every_variant_equals_the_reference_with_all_gradients(
    name: str, recurrence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SWITCH, name)
    variant = VARIANTS[name]
    dtype = torch.float32 if variant.on_tensor_cores else torch.float64
    # Two tiles of rows, and with `split` two or three programs for each, of which the last has units to spare.
    case = Case(recurrence, Adam(0.6, 0.3, 0.9, 1e-3), (3, 18 if variant.on_tensor_cores else 5, 2, 33), ragged=True)
    exact = case.run(reference, torch.float64)
    u = torch.empty(3, case.shape[1], ops.GATES[recurrence] * 33, dtype=dtype)
    grid, options = tiles.tiles(recurrence, u, 33, 33, tiles.slots(recurrence))
    assert grid[0] == 2
    assert (grid[1] > 1) == options["launch_cooperative_grid"] == variant.split
    with programs_take_turns():
        got = case.run(triton, dtype)
    # The interpreter multiplies float32 exactly whatever it is asked for, and rounds factors to bfloat16.
    tolerance = 1e-12 if dtype == torch.float64 else 0.1 if variant.products == "bf16" else 1e-4
    assert error(exact, got) < tolerance
    if variant.products == "bf16":
        assert error(exact, got) > 1e-4


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 9, 2, 16), (4, 1, 1, 3)], ids=str)
def test_sizes_of_one_and_whole_tiles(shape: tuple[int, int, int, int]) -> None:
    case = Case("lstm", Adam(0.6, 0.3, 0.9, 1e-3), shape)
    assert error(case.run(reference, torch.float64), case.run(triton, torch.float64)) < 1e-12


@pytest.mark.parametrize("dynamics", [HeavyBall(0.6, 0.7), Adam(0.6, 0.3, 0.9, 1e-3)], ids=lambda d: type(d).__name__)
def test_chunks_equal_the_whole(dynamics: Dynamics) -> None:
    case = Case("lstm", dynamics, (5, 2, 2, 4), started=False)
    recurrence, weights = RECURRENCES["lstm"], Weights(*case.weights)
    whole, end, moved = triton.run(recurrence, dynamics, case.x, weights, tuple(case.state), None, None)
    state, drive, pieces = tuple(case.state), None, []
    for piece in case.x.split([3, 1, 1]):
        output, state, drive = triton.run(recurrence, dynamics, piece, weights, state, drive, None)
        pieces.append(output)
    torch.testing.assert_close(torch.cat(pieces), whole, rtol=1e-13, atol=1e-13)
    for got, expected in zip((*state, *(drive or ())), (*end, *moved), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-13, atol=1e-13)


def test_gradients_are_those_of_finite_differences() -> None:
    case = Case("gru", Adam(0.6, 0.3, 0.9, 0.1), (3, 1, 1, 2))
    inputs = [t.requires_grad_() for t in (case.x, *case.weights, *case.state, *(case.drive or ()))]

    def flat(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        weights, state, drive = Weights(*rest[:4]), rest[4:5], rest[5:]
        output, after, moments = triton.run(RECURRENCES["gru"], case.dynamics, x, weights, state, drive, None)
        return (output, *after, *moments)

    assert torch.autograd.gradcheck(flat, inputs, fast_mode=True)


def test_a_gradient_that_is_not_there_is_zero() -> None:
    # Only the last h is used, then only the outputs: each leaves out what the other needs.
    case = Case("lstm", Adam(0.6, 0.3, 0.9, 1e-3), (3, 2, 2, 3))
    found: dict[Any, list[tuple[Tensor, ...]]] = {reference: [], triton: []}
    for backend, gradients in found.items():
        weights = [t.clone().requires_grad_() for t in case.weights]
        output, state, _ = backend.run(
            RECURRENCES["lstm"], case.dynamics, case.x, Weights(*weights), tuple(case.state), tuple(case.drive), None
        )
        for result in (state[0], output):
            gradients.append(torch.autograd.grad(result.square().sum(), weights, retain_graph=True))
    for expected, got in zip(found[reference], found[triton], strict=True):
        for e, g in zip(expected, got, strict=True):
            torch.testing.assert_close(g, e, rtol=1e-12, atol=1e-13)


def test_same_bits_in_inference_and_in_a_second_backward_pass() -> None:
    case = Case("gru", Adam(0.6, 0.3, 0.9, 1e-3), (4, 3, 2, 5))
    arguments = (RECURRENCES["gru"], case.dynamics, case.x)
    state, drive = tuple(case.state), tuple(case.drive or ())
    weights = [t.clone().requires_grad_() for t in case.weights]
    output, _, _ = triton.run(*arguments, Weights(*weights), state, drive, None)
    first = torch.autograd.grad(output.sum(), weights, retain_graph=True)
    second = torch.autograd.grad(output.sum(), weights)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    with torch.inference_mode():
        again, _, _ = triton.run(*arguments, Weights(*case.weights), state, drive, None)
    assert torch.equal(again, output)


def test_a_second_derivative_is_refused_with_what_helps() -> None:
    x = torch.randn(2, 1, 1, requires_grad=True)
    output, _ = LSTM(1, 2, dynamics=Adam(), backend="triton")(x)
    (gradient,) = torch.autograd.grad(output.sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match=r"Triton kernels have first derivatives only.*backend='reference'"):
        gradient.sum().backward()


def test_nothing_in_the_padding_reaches_a_result() -> None:
    case = Case("lstm", Adam(0.6, 0.3, 0.9, 1e-3), (4, 5, 2, 3), ragged=True)
    assert case.lengths is not None
    beyond = torch.arange(4).unsqueeze(1) >= case.lengths
    assert beyond.any()
    results = []
    for padding in (1.0, float("nan")):
        u = torch.randn(4, 5, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        u[beyond] = padding
        u.requires_grad_()
        w_t, (h0, c0), moments = case.weights[1].t().clone().requires_grad_(), case.state, case.drive or ()
        outputs = ops.forward(
            u, w_t, None, h0, c0, *moments, case.lengths, "lstm", [0.6, 0.3, 0.9, 1e-3], training=True
        )
        after = (outputs[0], *outputs[3:7])
        gradients = torch.autograd.grad(sum(t.sum() for t in after), (u, w_t))
        results.append((*after, *gradients))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert (results[0][0][1:][beyond] == 0).all()
    assert (results[0][5][beyond] == 0).all()


def test_vanishing_input_without_eps_is_no_step() -> None:
    case = Case("rnn", Adam(0.5, 0.5, 1.0, 0.0), (5, 2, 2, 3), bias=False, started=False)
    case.x[:3] = 0
    got = case.run(triton, torch.float64)
    assert all(torch.isfinite(t).all() for t in got)
    assert error(case.run(reference, torch.float64), got) < 1e-12


@pytest.mark.parametrize("recurrence", ["lstm", "gru", "rnn"])
def test_saturated_gates_stay_finite(recurrence: str) -> None:
    for dynamics in (Identity(), Adam(0.6, 0.01, 1.0)):
        case = Case(recurrence, dynamics, (3, 2, 2, 3), scale=1e4)
        assert all(torch.isfinite(result).all() for result in case.run(triton, torch.float32))


def test_not_a_number_is_not_swallowed() -> None:
    for recurrence in ops.GATES:
        case = Case(recurrence, Adam(0.6, 0.3, 0.9, 1e-3), (3, 2, 1, 3), started=False)
        case.x[1, 1, 0] = float("nan")
        output = case.run(triton, torch.float64)[0]
        assert torch.isnan(output[1:, 1]).all()
        assert torch.isfinite(output[0]).all()
        assert torch.isfinite(output[:, 0]).all()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 4e-7), (torch.float64, 4e-16)])
def test_tanh_is_accurate_over_its_whole_range(dtype: torch.dtype, tolerance: float) -> None:
    # An RNN whose weights are the arguments of tanh and whose input picks one for each row; also next to 0 and to 1/2.
    values = torch.cat([torch.linspace(-12, 12, 3000), torch.linspace(-0.51, 0.51, 596), torch.logspace(-30, 0, 500)])
    values = values.to(dtype).view(256, 16)
    weights = Weights(values, torch.zeros(256, 256, dtype=dtype), None, None)
    state = (torch.zeros(16, 256, dtype=dtype),)
    x = torch.eye(16, dtype=dtype).unsqueeze(0)
    output, _, _ = triton.run(RECURRENCES["rnn"], Identity(), x, weights, state, None, None)
    exact = torch.tanh(values.t().double())
    assert ((output[0].double() - exact).abs() <= tolerance * exact.abs()).all()


def test_modrelu_without_bias_is_linear() -> None:
    case = Case("modrelu", Identity(), (3, 2, 2, 3), bias=False, started=False)
    case.x[0] = 0  # where modReLU with a bias of 0 would have no gradient
    assert error(case.run(reference, torch.float64), case.run(triton, torch.float64)) < 1e-12


def test_a_layer_with_directions_and_packed_sequences() -> None:
    torch.manual_seed(0)
    layer = LSTM(2, 3, num_layers=2, bidirectional=True, dynamics=Adam(), backend="triton", dtype=torch.float64)
    packed = pack_sequence([torch.randn(n, 2, dtype=torch.float64) for n in (2, 4, 1)], enforce_sorted=False)
    results = []
    for backend in ("triton", "reference"):
        layer.backend = backend
        output, state = layer(packed)
        loss = output.data.square().sum() + sum(s.sum() for s in flat(state))
        results.append([output.data, *flat(state), *torch.autograd.grad(loss, list(layer.parameters()))])
    got, expected = ([t.detach() for t in result] for result in results)
    assert error(expected, got) < 1e-10


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_ops_are_registered_as_torch_compile_needs_them() -> None:
    case = replace(Case("lstm", Adam(0.6, 0.3, 0.9, 1e-3), (3, 2, 12, 3)), bias=False)
    u, w_t = case.x.clone().requires_grad_(), case.weights[1].t().clone().requires_grad_()
    h0, c0 = case.state
    arguments = (u, w_t, None, h0, c0, None, None, torch.tensor([3, 1]), "lstm", [0.6, 0.3, 0.9, 1e-3], True)
    tests = ("test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic")
    torch.library.opcheck(ops.forward, arguments, test_utils=tests)


def test_a_compiled_layer_gives_the_same() -> None:
    torch.manual_seed(0)
    layer = LSTM(2, 3, dynamics=Adam(), backend="triton")
    x = torch.randn(3, 2, 2)
    results = []
    for run in (layer, torch.compile(layer, backend="aot_eager", fullgraph=True)):
        output, state = run(x)
        gradients = torch.autograd.grad(output.sum() + state[2].sum(), list(layer.parameters()))
        results.append((output, *state, *gradients))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)
