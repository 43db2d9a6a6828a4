"""The Triton kernels on a CUDA card, most important first; skipped without one: ``pytest -m gpu``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from kernel_cases import Case, error
from torch import Tensor

from momentum_cli import GRU, LSTM, RNN, Adam, HeavyBall, RMSProp, ScheduledRestart
from momentum_cli.dynamics.protocol import Dynamics
from momentum_cli.kernels import reference
from momentum_cli.kernels.triton import ops
from momentum_cli.kernels.triton import run as triton
from momentum_cli.kernels.triton.variants import SWITCH, VARIANTS

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
ADAM = Adam(momentum=0.6, beta2=0.3, step_size=0.9, eps=1e-3)
# What factors of 11, 22 and 8 bits lose over a few steps, and what float32 itself loses.
TOLERANCE = {"ieee": 2e-5, "tf32": 2e-2, "tf32x3": 5e-5, "bf16": 1e-1}


@pytest.fixture(autouse=True)
def float32_products(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No TensorFloat-32 in torch's own products; its results are compared with float64."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("dynamics", [ADAM, HeavyBall(0.6, 0.7)], ids=lambda d: type(d).__name__)
@pytest.mark.parametrize("recurrence", ops.GATES)
def test_kernels_equal_the_reference_with_all_gradients(
    recurrence: str, dynamics: Dynamics, dtype: torch.dtype
) -> None:
    tolerance = 1e-10 if dtype == torch.float64 else TOLERANCE["ieee"]
    for shape, ragged in (((7, 13, 3, 33), True), ((5, 130, 1, 128), False)):
        case = Case(recurrence, dynamics, shape, ragged=ragged)
        assert error(case.run(reference, torch.float64), case.run(triton, dtype, "cuda")) < tolerance


@pytest.mark.parametrize("recurrence", ["lstm", "modrelu", "gru"])
@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "stream"])
def test_variants_equal_the_reference_with_all_gradients(
    name: str, recurrence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SWITCH, name)
    case = Case(recurrence, ADAM, (9, 128, 1, 128), ragged=True)
    assert (
        error(case.run(reference, torch.float64), case.run(triton, torch.float32, "cuda"))
        < (TOLERANCE[VARIANTS[name].products])
    )


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 600, 2, 256)], ids=str)
def test_sizes_of_one_and_large_batches(shape: tuple[int, int, int, int]) -> None:
    case = Case("lstm", RMSProp(0.6, 0.9, 1e-3), shape)
    assert error(case.run(reference, torch.float64), case.run(triton, torch.float32, "cuda")) < TOLERANCE["ieee"]


def training_step(layer: Any, x: Tensor, cotangent: Tensor) -> list[Tensor]:
    output = layer(x)[0]
    return [output.detach(), *torch.autograd.grad(output, list(layer.parameters()), cotangent)]


@pytest.mark.filterwarnings("ignore:RNN module weights")
@pytest.mark.parametrize("dynamics", [ADAM, HeavyBall(), ScheduledRestart()], ids=lambda d: type(d).__name__)
def test_a_step_does_not_wait_for_the_device(dynamics: Dynamics) -> None:
    layer = LSTM(1, 32, dynamics=dynamics, device="cuda")
    x, cotangent = torch.randn(20, 4, 1, device="cuda"), torch.randn(20, 4, 32, device="cuda")
    expected = training_step(layer, x, cotangent)
    torch.cuda.set_sync_debug_mode("error")
    try:
        got = training_step(layer, x, cotangent)
        # A step that waited would have ended like this.
        with pytest.raises(RuntimeError, match="synchronizing"):
            got[0].sum().item()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(got, expected)


@pytest.mark.filterwarnings("ignore:RNN module weights")
@pytest.mark.parametrize("name", ["stream", "split"])
@pytest.mark.parametrize("dynamics", [ADAM, HeavyBall()], ids=lambda d: type(d).__name__)
def test_a_captured_step_gives_the_same_bits(dynamics: Dynamics, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, name)
    layer = LSTM(1, 64, dynamics=dynamics, device="cuda")
    x, cotangent = torch.randn(20, 16, 1, device="cuda"), torch.randn(20, 16, 64, device="cuda")
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            training_step(layer, x, cotangent)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = training_step(layer, x, cotangent)
    x.copy_(torch.randn(20, 16, 1, device="cuda"))
    graph.replay()
    for got, expected in zip(captured, training_step(layer, x, cotangent), strict=True):
        assert torch.equal(got, expected)


@pytest.mark.filterwarnings("ignore:RNN module weights")
@pytest.mark.parametrize("build", [LSTM, GRU, RNN])
def test_cudnn_behind_a_filter_equals_the_reference(build: Any) -> None:
    torch.manual_seed(0)
    layer = build(3, 33, num_layers=2, bidirectional=True, dynamics=HeavyBall(0.6, 0.7), device="cuda")
    x, lengths = torch.randn(40, 13, 3, device="cuda"), torch.randint(1, 41, (13,))
    results = []
    for backend in ("native", "reference"):
        layer.backend = backend
        output, _ = layer.run_padded(x, None, lengths)
        gradients = torch.autograd.grad(output.square().sum(), list(layer.parameters()))
        results.append([t.detach().double().cpu() for t in (output, *gradients)])
    assert error(results[1], results[0]) < 1e-4


def test_auto_takes_it() -> None:
    layer = LSTM(1, 8, dynamics=Adam(), device="cuda")
    layer(torch.randn(5, 2, 1, device="cuda"))
    assert layer.chosen_backend == "triton"
    doctor = pytest.importorskip("momentum_cli.inspection.doctor", exc_type=ImportError)
    assert doctor.examine()["backends"]["triton"]["cuda"]["adam"] is None


def test_a_compiled_layer_gives_the_same() -> None:
    layer = LSTM(2, 16, dynamics=ADAM, backend="triton", device="cuda")
    x = torch.randn(7, 3, 2, device="cuda")
    torch.testing.assert_close(torch.compile(layer)(x)[0], layer(x)[0])


@pytest.mark.filterwarnings("ignore:RNN module weights")
def test_step_time_and_memory() -> None:
    # The kernels are tested where packages of other parts are missing, too.
    step_time = pytest.importorskip("momentum_cli.benchmark.speed.step_time", exc_type=ImportError)
    shape = step_time.Shape(20, 4, 1, 16)
    found = step_time.measure(shape, ["momentum", "adam"], rounds=2, loop_rounds=1, device="cuda")
    assert [it.backend for it in found] == ["native", "triton"]
    for native in (False, True):
        assert (step_time.peak_bytes("adam", shape, "training", native=native, device="cuda") or 0) > 0
    assert step_time.environment("cuda")["device"]
