"""Products in bfloat16: no worse than torch's, exact where they must be, and only with a state besides h.

Axes: T time, B batch, D input, H hidden.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from kernel_cases import Case, error
from layer_inputs import flat
from torch import Tensor

from momentum_cli import GRU, LSTM, RNN, OrthogonalRNN
from momentum_cli.dynamics.adam import Adam
from momentum_cli.dynamics.heavy_ball import HeavyBall
from momentum_cli.dynamics.identity import Identity
from momentum_cli.dynamics.protocol import Dynamics
from momentum_cli.dynamics.rmsprop import RMSProp
from momentum_cli.kernels import native, reference
from momentum_cli.kernels.backend import Weights, Work
from momentum_cli.kernels.fused import library, ops
from momentum_cli.kernels.fused import run as fused
from momentum_cli.recurrence import RECURRENCES

CPU = torch.device("cpu")
HALF = torch.bfloat16
DYNAMICS: tuple[Dynamics, ...] = (Identity(), HeavyBall(0.6, 0.7), RMSProp(0.6, 0.9, 1e-3), Adam(0.6, 0.3, 0.9, 1e-3))
built = pytest.mark.skipif(library.load()[0] is None, reason="the kernel library was not built")


@pytest.fixture(params=["generic", "avx512"])
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """An instruction set that has products of bfloat16: the portable one everywhere."""
    monkeypatch.setenv("MOMENTUMRNN_ISA", request.param)
    if (reason := library.why_no_bfloat16()) is not None:
        pytest.skip(reason)
    return str(request.param)


def total(expected: list[Tensor], got: list[Tensor]) -> float:
    """Root mean square of the error of each tensor relative to its largest value, summed."""
    assert [t.shape for t in expected] == [t.shape for t in got]
    return sum(
        float((e - g).pow(2).mean().sqrt() / e.abs().max().clamp(min=1e-300))
        for e, g in zip(expected, got, strict=True)
    )


@built
@pytest.mark.parametrize("dynamics", [Identity(), HeavyBall(0.6, 0.7)], ids=lambda d: type(d).__name__)
@pytest.mark.parametrize("recurrence", ["lstm", "gru"])
def test_error_is_no_larger_than_that_of_torch_in_bfloat16(recurrence: str, dynamics: Dynamics, isa: str) -> None:
    class Torch:
        """torch's own layer, all of it in bfloat16, behind the same filter of the input."""

        @staticmethod
        def run(recurrence: Any, dynamics: Dynamics, x: Tensor, weights: Weights, state: Any, *rest: Any) -> Any:
            narrow = Weights(*(None if w is None else w.to(HALF) for w in weights))
            output, last, moved = native.run(
                recurrence, dynamics, x.to(HALF), narrow, tuple(s.to(HALF) for s in state), *rest
            )
            return output, last, moved

    for shape in ((40, 24, 1, 32), (30, 9, 12, 20), (200, 16, 3, 64)):
        case = Case(recurrence, dynamics, shape, started=False)
        exact = case.run(reference, torch.float64)
        assert total(exact, case.run(fused, torch.float32, input_dtype=HALF)) <= total(
            exact, case.run(Torch, torch.float32)
        )


@built
@pytest.mark.parametrize("cases", [8, pytest.param(60, marks=pytest.mark.slow)])
def test_random_shapes_states_and_partitions(cases: int, isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(f"{isa} {cases}")
    for seed in range(cases):
        shape = (draw.randint(1, 40), draw.randint(1, 30), draw.randint(1, 9), draw.randint(1, 70))
        options = [draw.random() < 0.7, draw.random() < 0.5, draw.random() < 0.4]
        case = Case(draw.choice(["lstm", "gru"]), draw.choice(DYNAMICS), shape, *options, seed=seed)
        monkeypatch.setattr(torch, "get_num_threads", lambda: draw.randint(1, 4))
        exact, got = case.run(reference, torch.float64), case.run(fused, torch.float32, input_dtype=HALF)
        assert total(exact, got) / len(exact) < 0.006, case  # 2^-8 is 0.004
        assert error(exact, got) < 0.15, case


@built
def test_the_instructions_compute_what_the_portable_kernels_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case("lstm", Adam(0.6, 0.3, 0.9, 1e-3), (23, 13, 5, 37), ragged=True)
    results = []
    for isa in ("generic", "avx512"):
        monkeypatch.setenv("MOMENTUMRNN_ISA", isa)
        if (reason := library.why_no_bfloat16()) is not None:
            pytest.skip(reason)
        results.append(case.run(fused, torch.float32, input_dtype=HALF))
    # Sums are taken in another order, which now and then rounds to the neighbouring bfloat16.
    assert total(*results) / len(results[0]) < 0.001


@built
@pytest.mark.parametrize("size", [6, 7])
@pytest.mark.parametrize("recurrence", ["lstm", "gru"])
def test_a_row_has_the_same_bits_alone_as_among_others(recurrence: str, size: int, isa: str) -> None:
    """Products read pairs of inputs; an odd number of them is copied first, so rows are differently far apart."""
    case = Case(recurrence, Identity(), (30, 4, size, 20))
    weights, x = Weights(*(t.float() for t in case.weights)), case.x.to(HALF)

    def run(rows: slice, parts: int, until: int = 30) -> Tensor:
        start = tuple(s[rows].float() for s in case.state)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "get_num_threads", lambda: parts)
            return fused.run(RECURRENCES[recurrence], Identity(), x[:until, rows], weights, start, None, None)[0]

    everything = run(slice(None), 1)
    for first, last, parts in ((0, 4, 4), (0, 4, 2), (0, 1, 1), (1, 3, 2)):
        assert torch.equal(run(slice(first, last), parts), everything[:, first:last]), (first, last, parts)
    assert torch.equal(run(slice(1), 1, 1), everything[:1, :1])


@built
@pytest.mark.parametrize("dynamics", DYNAMICS, ids=lambda d: type(d).__name__)
@pytest.mark.parametrize("recurrence", ["lstm", "gru"])
def test_chunks_equal_the_whole_bit_for_bit(recurrence: str, dynamics: Dynamics, isa: str) -> None:
    case = Case(recurrence, dynamics, (17, 4, 3, 9), started=False)
    weights, x = Weights(*(t.float() for t in case.weights)), case.x.to(HALF)
    start = tuple(s.float() for s in case.state)
    whole, end, _ = fused.run(RECURRENCES[recurrence], dynamics, x, weights, start, None, None)
    state, drive, pieces = start, None, []
    for piece in x.split([5, 1, 11]):
        output, state, drive = fused.run(RECURRENCES[recurrence], dynamics, piece, weights, state, drive, None)
        pieces.append(output)
    if isinstance(dynamics, HeavyBall):  # its filter is a product over blocks of time, in float32
        torch.testing.assert_close(torch.cat(pieces).float(), whole.float(), rtol=2**-7, atol=2**-8)
    else:
        assert torch.equal(torch.cat(pieces), whole)
        assert all(torch.equal(got, expected) for got, expected in zip(state, end, strict=True))


@built
def test_padding_is_not_read_and_nan_is_not_swallowed(isa: str) -> None:
    case = Case("gru", Adam(0.6, 0.3, 0.9, 1e-3), (9, 6, 3, 11), ragged=True)
    assert case.lengths is not None
    clean = case.run(fused, torch.float32, input_dtype=HALF)
    beyond = torch.arange(9).unsqueeze(1) >= case.lengths
    case.x[beyond] = float("nan")
    dirty = case.run(fused, torch.float32, input_dtype=HALF)
    assert all(torch.equal(a, b) for a, b in zip(clean, dirty, strict=True))
    case = Case("lstm", Identity(), (4, 3, 2, 5), started=False)
    case.x[1, 1, 0] = float("nan")
    output = case.run(fused, torch.float32, input_dtype=HALF)[0]
    assert torch.isnan(output[1:, 1]).all()
    assert torch.isfinite(output[:, ::2]).all()


@built
def test_op_registration(isa: str) -> None:
    case = Case("lstm", Adam(0.6, 0.3, 0.9, 1e-3), (5, 3, 2, 4))
    x, *weights = (t.float().requires_grad_() for t in (case.x, *case.weights))
    plan = [0, 1, library.ISAS[library.chosen_isa(HALF)], 1, 5]
    nothing = (None, None, None, None, None)
    arguments = (x.detach().to(HALF).requires_grad_(), *weights, *nothing, [0.6, 0.9, 0.3, 1e-3], plan, True)
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    found = torch.library.opcheck(ops.fused_forward, arguments, test_utils=tests)
    assert found == dict.fromkeys(tests, "SUCCESS")


def kept_bytes(layer: LSTM, x: Tensor) -> int:
    """Bytes that a step keeps for its backward pass, parameters left out."""
    kept: dict[int, int] = {}

    def keep(t: Tensor) -> Tensor:
        kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        layer(x)
    own = {p.untyped_storage().data_ptr() for p in layer.parameters()}
    return sum(size for pointer, size in kept.items() if pointer not in own)


@built
def test_a_step_keeps_at_most_six_tenths_of_float32(isa: str) -> None:
    layer, x = LSTM(1, 64, dynamics=HeavyBall(0.6, 0.6), backend="fused"), torch.randn(50, 32, 1)
    exact = kept_bytes(layer, x)
    assert exact > 50 * 32 * 64 * 5 * 4
    with torch.autocast("cpu", HALF):
        assert kept_bytes(layer, x) <= 0.6 * exact


@built
@pytest.mark.parametrize("layer_type", [LSTM, GRU])
def test_autocast_and_parameters_ask_for_it(layer_type: Any, isa: str) -> None:
    torch.manual_seed(0)
    layer = layer_type(3, 10, 2, bidirectional=True)
    x = torch.randn(20, 8, 3)
    with torch.autocast("cpu", HALF):
        output, state = layer(x)
    assert layer.chosen_backend == "fused"
    assert output.dtype is HALF
    assert all(s.dtype is torch.float32 for s in flat(state) if s.is_floating_point())
    output.float().sum().backward()
    assert all(p.grad is not None and p.grad.dtype is torch.float32 for p in layer.parameters())
    exact = layer(x)[0]
    assert not torch.equal(output, exact.to(HALF))  # the products are not those of float32
    torch.testing.assert_close(output.float(), exact, rtol=0.05, atol=0.02)
    narrow = layer.bfloat16()
    output, state = narrow(x.to(HALF))
    assert output.dtype is HALF
    assert all(s.dtype is HALF for s in flat(state) if s.is_floating_point())
    torch.testing.assert_close(output.float(), exact, rtol=0.05, atol=0.02)


@built
@pytest.mark.parametrize(
    ("layer", "isa"),
    [
        (RNN(3, 8), "generic"),
        (OrthogonalRNN(3, 8), "generic"),
        (LSTM(3, 8), "avx2"),
        (LSTM(3, 8, backend="native"), ""),
    ],
    ids=lambda it: str(it).split("(")[0],
)
def test_elsewhere_the_output_is_that_of_float32_rounded(layer: Any, isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if isa:
        monkeypatch.setenv("MOMENTUMRNN_ISA", isa)
        try:
            fused.status()
        except ValueError as problem:
            pytest.skip(str(problem))
    x = torch.randn(20, 25, 3)
    with torch.autocast("cpu", HALF):
        output, _ = layer(x)
    assert torch.equal(output, layer(x)[0].to(HALF))


@built
def test_what_it_does_not_serve_it_refuses_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOMENTUMRNN_ISA", "generic")
    work = Work(RECURRENCES["rnn"], Identity(), 8, CPU, HALF)
    assert "round at every step" in str(fused.supports(work))
    assert fused.supports(work._replace(recurrence=RECURRENCES["gru"])) is None
    monkeypatch.setenv("MOMENTUMRNN_ISA", "avx2")
    assert "avx2" in str(fused.supports(work._replace(recurrence=RECURRENCES["lstm"])))
