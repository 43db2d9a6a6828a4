"""The fused kernel against the reference loop in float64, against torch, and against its own promises.

Axes: T time, B batch, D input, H hidden, G gates * H.
"""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
import torch
from kernel_cases import Case, error
from torch import Tensor

from momentum_cli.dynamics.adam import Adam
from momentum_cli.dynamics.filter import Filter
from momentum_cli.dynamics.heavy_ball import HeavyBall
from momentum_cli.dynamics.identity import Identity
from momentum_cli.dynamics.nesterov import Nesterov, ScheduledRestart
from momentum_cli.dynamics.protocol import Dynamics
from momentum_cli.dynamics.rmsprop import RMSProp
from momentum_cli.kernels import choose, native, reference
from momentum_cli.kernels.backend import Weights, Work
from momentum_cli.kernels.fused import library, ops
from momentum_cli.kernels.fused import run as fused
from momentum_cli.recurrence import RECURRENCES

CPU = torch.device("cpu")
built = pytest.mark.skipif(fused.status()["library"] is None, reason="the kernel library was not built")
# eps well above rounding, so that comparisons measure the kernel and not the conditioning of u / sqrt(u² + eps)
DYNAMICS: tuple[Dynamics, ...] = (
    Identity(),
    HeavyBall(0.6, 0.7),
    Nesterov(0.5),
    ScheduledRestart(0.8, 3),
    RMSProp(0.6, 0.9, 1e-3),
    Adam(0.6, 0.3, 0.9, 1e-3),
)


@built
@pytest.mark.parametrize("dynamics", DYNAMICS, ids=lambda d: type(d).__name__)
@pytest.mark.parametrize("recurrence", RECURRENCES)
def test_float64_equals_the_reference_with_all_gradients(recurrence: str, dynamics: Dynamics) -> None:
    for shape, bias, started, ragged in (
        ((1, 1, 1, 1), True, True, False),
        ((11, 5, 3, 7), True, True, True),
        ((6, 3, 2, 5), False, False, False),
    ):
        case = Case(recurrence, dynamics, shape, bias, started, ragged)
        assert error(case.run(reference, torch.float64), case.run(fused, torch.float64)) < 1e-11


@built
@pytest.mark.parametrize("dynamics", DYNAMICS, ids=lambda d: type(d).__name__)
@pytest.mark.parametrize("recurrence", RECURRENCES)
def test_float32_is_as_exact_as_the_reference_in_float32(recurrence: str, dynamics: Dynamics) -> None:
    for shape, started, ragged in (((9, 13, 1, 33), True, False), ((12, 7, 20, 16), False, True)):
        case = Case(recurrence, dynamics, shape, True, started, ragged)
        exact = case.run(reference, torch.float64)
        assert (
            error(exact, case.run(fused, torch.float32)) < 4 * error(exact, case.run(reference, torch.float32)) + 1e-6
        )


@built
@pytest.mark.parametrize("cases", [5, pytest.param(50, marks=pytest.mark.slow)])
@pytest.mark.parametrize("isa", ["generic", "avx2", "avx512"])
def test_random_shapes_states_and_partitions(isa: str, cases: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOMENTUMRNN_ISA", isa)
    try:
        fused.status()
    except ValueError as problem:
        pytest.skip(str(problem))
    draw = random.Random(f"{isa} {cases}")
    for seed in range(cases):
        shape = (draw.randint(1, 40), draw.randint(1, 30), draw.randint(1, 9), draw.randint(1, 40))
        options = [draw.random() < 0.7, draw.random() < 0.5, draw.random() < 0.4]
        case = Case(draw.choice(list(RECURRENCES)), draw.choice(DYNAMICS), shape, *options, seed=seed)
        monkeypatch.setattr(torch, "get_num_threads", lambda: draw.randint(1, 4))
        exact, got = case.run(reference, torch.float64), case.run(fused, torch.float32)
        assert error(exact, got) < 2e-4, case


@built
def test_error_is_at_most_twice_that_of_torch() -> None:
    # Mean over many numbers, not the worst one: the worst of so many is a lottery on both sides.
    def total(case: Case, backend: Any) -> float:
        exact, got = case.run(reference, torch.float64), case.run(backend, torch.float32)
        return sum(float((e - g).pow(2).mean().sqrt() / e.abs().max()) for e, g in zip(exact, got, strict=True))

    for recurrence, shape in itertools.product(("lstm", "gru", "rnn"), ((40, 24, 1, 32), (30, 9, 12, 20))):
        case = Case(recurrence, Identity(), shape)
        assert total(case, fused) <= 2 * total(case, native)


@built
@pytest.mark.parametrize("dynamics", [HeavyBall(0.6, 1.0), Adam(0.6, 0.01, 1.0), RMSProp(0.01, 1.0)], ids=repr)
@pytest.mark.parametrize("recurrence", ["lstm", "gru", "rnn"])
def test_saturated_gates_stay_finite(recurrence: str, dynamics: Dynamics) -> None:
    case = Case(recurrence, dynamics, (20, 5, 2, 19), scale=1e4)
    for result in case.run(fused, torch.float32):
        assert torch.isfinite(result).all()


@built
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("dynamics", [Identity(), HeavyBall(0.6, 0.7), Adam()], ids=lambda d: type(d).__name__)
@pytest.mark.parametrize("recurrence", RECURRENCES)
def test_a_row_has_the_same_bits_alone_as_among_others(recurrence: str, dynamics: Dynamics, ragged: bool) -> None:
    """For few rows the products of the inputs are taken for several steps at once."""
    generator = torch.Generator().manual_seed(5)
    steps, batch, size, hidden = 30, 9, 7, 20
    x = torch.randn(steps, batch, size, generator=generator)
    gates = RECURRENCES[recurrence].gates * hidden
    shapes = ((gates, size), (gates, hidden), (gates,), (hidden if recurrence == "modrelu" else gates,))
    weights = Weights(*(torch.randn(shape, generator=generator) * 0.3 for shape in shapes))
    lengths = torch.arange(3, 3 * batch + 1, 3) if ragged else None

    def run(rows: slice, parts: int, until: int = steps) -> Tensor:
        given = x[:until, rows]
        state = RECURRENCES[recurrence].init(given[0], hidden)
        own = None if lengths is None else lengths[rows].clamp(max=until)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "get_num_threads", lambda: parts)
            return fused.run(RECURRENCES[recurrence], dynamics, given, weights, state, None, own)[0]

    everything = run(slice(None), 1)
    for first, last, parts in ((0, 1, 1), (2, 4, 1), (2, 4, 2), (4, 7, 3), (4, 8, 1), (3, 9, 2)):
        assert torch.equal(run(slice(first, last), parts), everything[:, first:last]), (first, last, parts)
    assert torch.equal(run(slice(1), 1, 1), everything[:1, :1])  # a product of its own


@built
def test_activations_are_accurate_over_their_whole_range() -> None:
    # An RNN of one unit without recurrence is tanh of its input; with relative accuracy, also next to 0.
    x = torch.cat([torch.linspace(-12, 12, 4001), torch.logspace(-30, 0, 500)]).view(-1, 1, 1)
    one, zero = torch.ones(1, 1), torch.zeros(1, 1)
    state = (torch.zeros(1, 1),)
    output, _, _ = fused.run(RECURRENCES["rnn"], Identity(), x, Weights(one, zero, None, None), state, None, None)
    torch.testing.assert_close(output.double(), torch.tanh(x.double()), rtol=3e-7, atol=0)


@built
def test_vanishing_input_without_eps_is_no_step() -> None:
    case = Case("rnn", Adam(0.5, 0.5, 1.0, 0.0), (6, 3, 2, 5), bias=False, started=False)
    case.x[:3] = 0
    exact, got = case.run(reference, torch.float64), case.run(fused, torch.float64)
    assert all(torch.isfinite(t).all() for t in got)
    assert error(exact, got) < 1e-9


@built
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("dynamics", [Adam(), RMSProp()], ids=["adam", "rmsprop"])
@pytest.mark.parametrize("recurrence", RECURRENCES)
@pytest.mark.parametrize("isa", ["generic", "avx2", "avx512"])
def test_the_root_of_a_negative_second_moment_is_not_a_number(
    isa: str, recurrence: str, dynamics: Dynamics, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOMENTUMRNN_ISA", isa)
    try:
        fused.status()
    except ValueError as problem:
        pytest.skip(str(problem))
    case = Case(recurrence, dynamics, (4, 3, 2, 19))
    assert case.drive is not None
    case.drive[-1].neg_()
    exact, got = case.run(reference, torch.float64), case.run(fused, dtype)
    assert torch.isnan(exact[0]).any()
    for one, other in zip(exact, got, strict=True):
        assert torch.equal(one.isnan(), other.isnan())


@built
def test_not_a_number_is_not_swallowed() -> None:
    for dynamics in DYNAMICS:
        case = Case("lstm", dynamics, (4, 3, 2, 5), started=False)
        case.x[1, 1, 0] = float("nan")
        output = case.run(fused, torch.float32)[0]
        assert torch.isnan(output[1:, 1]).all()
        assert torch.isfinite(output[:, ::2]).all()
        if isinstance(dynamics, Identity) or not isinstance(
            dynamics.form, Filter
        ):  # the filter of the input multiplies blocks of time
            assert torch.isfinite(output[0]).all()


@built
@pytest.mark.parametrize("dynamics", DYNAMICS, ids=lambda d: type(d).__name__)
def test_chunks_equal_the_whole(dynamics: Dynamics) -> None:
    case = Case("lstm", dynamics, (17, 4, 2, 9), started=False)
    weights, x = Weights(*(t.float() for t in case.weights)), case.x.float()
    recurrence, start = RECURRENCES["lstm"], tuple(s.float() for s in case.state)
    whole, end, moved = fused.run(recurrence, dynamics, x, weights, start, None, None)
    state, drive, pieces = start, None, []
    for piece in x.split([5, 1, 11]):
        output, state, drive = fused.run(recurrence, dynamics, piece, weights, state, drive, None)
        pieces.append(output)
    torch.testing.assert_close(torch.cat(pieces), whole, rtol=1e-5, atol=1e-6)
    for got, expected in zip((*state, *(drive or ())), (*end, *moved), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)


@built
@pytest.mark.slow
def test_gradcheck() -> None:
    for recurrence, dynamics in itertools.product(RECURRENCES, (Identity(), Adam(0.6, 0.3, 0.9, 0.1))):
        if recurrence == "rnn_relu":
            continue  # finite differences straddle the kink
        case = Case(recurrence, dynamics, (4, 2, 2, 3))
        inputs = [t.requires_grad_() for t in (case.x, *case.weights, *case.state, *(case.drive or ()))]

        def flat(x: Tensor, *rest: Tensor, case: Case = case) -> tuple[Tensor, ...]:
            states = len(case.state)
            output, state, drive = fused.run(
                RECURRENCES[case.recurrence],
                case.dynamics,
                x,
                Weights(*rest[:4]),
                rest[4 : 4 + states],
                rest[4 + states :] or None,
                None,
            )
            return (output, *state, *drive)

        assert torch.autograd.gradcheck(flat, inputs)


@built
def test_same_threads_same_bits_and_inference_equals_training() -> None:
    case = Case("lstm", Adam(0.6, 0.3, 0.9), (30, 21, 2, 17))
    first, second = case.run(fused, torch.float32), case.run(fused, torch.float32)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    weights = Weights(*(t.float() for t in case.weights))
    assert case.drive is not None
    output, _, _ = fused.run(
        RECURRENCES["lstm"],
        case.dynamics,
        case.x.float(),
        weights,
        tuple(s.float() for s in case.state),
        tuple(s.float() for s in case.drive),
        None,
    )
    assert torch.equal(output.double(), first[0])


@built
def test_threads_change_nothing_but_the_order_of_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for threads in (1, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        results.append(Case("gru", HeavyBall(0.6, 1.0), (15, 11, 2, 17)).run(fused, torch.float32))
    assert torch.equal(results[0][0], results[1][0])
    assert error(*results) < 1e-5


@built
def test_padding_is_not_read_and_not_written() -> None:
    case = Case("lstm", Adam(0.6, 0.3, 0.9, 1e-3), (9, 6, 3, 10), ragged=True)
    assert case.lengths is not None
    clean = case.run(fused, torch.float32)
    beyond = torch.arange(9).unsqueeze(1) >= case.lengths
    case.x[beyond] = float("nan")
    dirty = case.run(fused, torch.float32)
    assert all(torch.equal(a, b) for a, b in zip(clean, dirty, strict=True))
    assert (clean[0][beyond] == 0).all()


@built
def test_the_callers_treatment_of_denormals_is_put_back() -> None:
    tiny = torch.tensor([1e-40])
    Case("rnn", Identity(), (3, 2, 1, 4)).run(fused, torch.float32)
    assert (tiny * 1).item() > 0


@built
def test_second_backward_through_kept_activations_is_the_same() -> None:
    case = Case("lstm", HeavyBall(0.6, 1.0), (7, 4, 2, 9))
    weights = [t.float().requires_grad_() for t in case.weights]
    state = tuple(s.float() for s in case.state)
    output, _, _ = fused.run(RECURRENCES["lstm"], case.dynamics, case.x.float(), Weights(*weights), state, None, None)
    first = torch.autograd.grad(output.sum(), weights, retain_graph=True)
    second = torch.autograd.grad(output.sum(), weights)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@built
def test_op_registration() -> None:
    case = Case("lstm", Adam(0.6, 0.3, 0.9, 1e-3), (5, 3, 2, 4))
    x, *weights = (t.float().requires_grad_() for t in (case.x, *case.weights))
    plan = [0, 1, 0, 1, 5]
    nothing = (None, None, None, None, None)
    arguments = (x, *weights, *nothing, [0.6, 0.9, 0.3, 1e-3], plan, True)
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    found = torch.library.opcheck(ops.fused_forward, arguments, test_utils=tests)
    assert found == dict.fromkeys(tests, "SUCCESS")


def test_what_the_kernel_cannot_do_it_refuses_with_the_reason() -> None:
    lstm = RECURRENCES["lstm"]
    assert "float16" in str(fused.supports(Work(lstm, Identity(), 1, CPU, torch.float16)))
    assert "cuda" in str(fused.supports(Work(lstm, Identity(), 1, torch.device("cuda"), torch.float32)))


def test_without_the_library_there_is_a_reason_a_remedy_and_a_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    library.load.cache_clear()
    monkeypatch.setenv("MOMENTUMRNN_KERNEL_LIBRARY", "/nowhere/_cpu.so")
    try:
        status = fused.status()
        assert not status["available"]
        assert "reinstall" in status["reason"]
        assert status["cost"]
        assert fused.supports(Work(RECURRENCES["lstm"], Identity(), 1, CPU, torch.float32)) == status["reason"]
        case = Case("rnn", Identity(), (2, 1, 1, 1))
        with pytest.raises(RuntimeError, match="reinstall"):
            case.run(fused, torch.float32)
    finally:
        library.load.cache_clear()


@built
def test_an_instruction_set_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOMENTUMRNN_ISA", "neon")
    with pytest.raises(ValueError, match=r"`MOMENTUMRNN_ISA` must be one of generic.* on this machine, got 'neon'"):
        fused.status()


@built
@pytest.mark.parametrize(
    ("recurrence", "dynamics", "shape", "hidden", "training", "expected"),
    [
        ("lstm", HeavyBall(), (784, 128, 1), 128, True, "fused"),
        ("lstm", HeavyBall(), (784, 1, 1), 128, False, "fused"),
        ("lstm", Identity(), (8, 32, 8), 64, True, "fused"),
        ("lstm", Identity(), (1, 3, 8), 64, True, "native"),
        ("lstm", Identity(), (1, 4, 8), 64, True, "fused"),  # packing is almost nothing
        ("lstm", HeavyBall(), (1, 1, 8), 64, True, "fused"),
        ("lstm", Identity(), (7, 1, 8), 128, True, "native"),  # packing takes as long as the steps
        ("lstm", Identity(), (8, 1, 8), 128, True, "fused"),
        ("lstm", HeavyBall(), (20, 10, 8), 64, True, "fused"),
        ("lstm", Identity(), (784, 64, 512), 16, True, "fused"),
        ("lstm", Identity(), (784, 1, 512), 128, False, "fused"),
        ("lstm", Identity(), (784, 64, 512), 128, False, "fused"),
        ("lstm", Identity(), (12, 10, 8), 256, True, "native"),
        ("lstm", HeavyBall(), (12, 10, 8), 256, True, "fused"),  # a filter in front of torch's call costs as much
        ("lstm", HeavyBall(), (50, 10, 8), 512, True, "native"),
        ("gru", HeavyBall(), (4, 1, 8), 64, True, "fused"),  # torch runs it step by step
        ("gru", HeavyBall(), (2, 1, 8), 64, True, "native"),
        ("lstm", Adam(), (20, 10, 8), 64, True, "fused"),  # torch has nothing to run it
        ("lstm", HeavyBall(), (70, 20, 512), 512, False, "native"),
        ("lstm", HeavyBall(), (70, 20, 512), 512, True, "fused"),
        ("lstm", HeavyBall(), (70, 64, 512), 512, False, "fused"),
        ("gru", HeavyBall(), (70, 20, 512), 512, False, "fused"),
        ("lstm", HeavyBall(), (1, 8, 1), 512, True, "reference"),  # one step: packing takes longer than the products
        ("lstm", Adam(), (1, 64, 1), 256, True, "reference"),
        ("lstm", Identity(), (1, 8, 1), 512, False, "reference"),
        ("lstm", HeavyBall(), (1, 9, 1), 512, False, "native"),
        ("lstm", Adam(), (1, 1, 1), 256, False, "fused"),
        ("lstm", Identity(), (4, 1, 1), 512, True, "native"),
        ("lstm", Adam(), (1, 256, 1), 512, True, "reference"),
        ("lstm", Adam(), (1, 257, 1), 512, True, "fused"),
        ("gru", HeavyBall(), (1, 1, 1), 512, True, "native"),
    ],
)
def test_auto_follows_the_measured_crossovers(
    recurrence: str,
    dynamics: Dynamics,
    shape: tuple[int, int, int],
    hidden: int,
    training: bool,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    work = Work(RECURRENCES[recurrence], dynamics, hidden, CPU, torch.float32)
    assert choose(work, shape, training) == expected


@built
def test_auto_knows_that_one_thread_reads_the_weights_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    work = Work(RECURRENCES["lstm"], HeavyBall(), 512, CPU, torch.float32)
    assert choose(work, (70, 20, 512), training=False) == "fused"
