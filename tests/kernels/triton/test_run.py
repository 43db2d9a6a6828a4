"""The Triton backend: what it refuses and when it is chosen; its kernels interpreted, compiled and, with a GPU, run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from momentum_cli import GRU, LSTM, RNN, Adam, HeavyBall, Identity, RMSProp, kernels
from momentum_cli.benchmark.speed import step_time
from momentum_cli.dynamics.nesterov import Nesterov
from momentum_cli.dynamics.protocol import Dynamics
from momentum_cli.inspection.doctor import examine
from momentum_cli.kernels.backend import Weights, Work
from momentum_cli.kernels.triton import ops
from momentum_cli.kernels.triton import run as triton
from momentum_cli.recurrence import RECURRENCES

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
LSTM_STEP = RECURRENCES["lstm"]
with_triton = pytest.mark.skipif(triton.status()["triton"] is None, reason="triton is not installed")
on_gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


# The interpreter is slow: by default what an LSTM runs, which is most of the code.
@with_triton
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("chosen", ["lstm", pytest.param("", marks=pytest.mark.slow)])
def test_interpreted_kernels_equal_the_reference(chosen: str) -> None:
    file = Path(__file__).parents[2] / "triton_interpreted.py"
    command = [sys.executable, "-m", "pytest", str(file), "-q", "-p", "no:cacheprovider", "-k", chosen]
    done = subprocess.run(
        command, env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_recurrence_is_served_with_its_gates() -> None:
    assert {name: it.gates for name, it in RECURRENCES.items()} == ops.GATES


@pytest.mark.parametrize(
    ("device", "dtype", "hidden", "reason"),
    [
        (CPU, torch.float32, 8, "run on CUDA devices, not on cpu"),
        (CUDA, torch.bfloat16, 8, "float32 or float64, not in bfloat16"),
        (CUDA, torch.float32, 257, "room for 256 hidden units, not for 257"),
    ],
)
def test_refusals_say_why(device: torch.device, dtype: torch.dtype, hidden: int, reason: str) -> None:
    assert reason in str(triton.supports(Work(LSTM_STEP, Adam(), hidden, device, dtype)))


def test_a_dynamics_of_a_user_is_refused() -> None:
    class Other:
        """A dynamics that has only a step."""

        form = None

    work = Work(LSTM_STEP, Other(), 8, CUDA, torch.float32)  # type: ignore[arg-type]
    assert "Other" in str(triton.supports(work))


def test_a_layer_on_the_cpu_names_the_backends_that_can() -> None:
    with pytest.raises(ValueError, match=r"'triton' cannot run this: .*not on cpu; these can: reference"):
        LSTM(2, 3, dynamics=Adam(), backend="triton")(torch.zeros(2, 1, 2))
    state = (torch.zeros(1, 3), torch.zeros(1, 3))
    weights = Weights(torch.zeros(12, 2), torch.zeros(12, 3), None, None)
    with pytest.raises(RuntimeError, match="not on cpu"):
        triton.run(LSTM_STEP, Adam(), torch.zeros(2, 1, 2), weights, state, None, None)


@with_triton
@pytest.mark.parametrize(
    ("recurrence", "dynamics", "hidden", "dtype", "expected"),
    [
        ("lstm", Identity(), 128, torch.float32, "native"),
        ("gru", HeavyBall(), 128, torch.float32, "native"),
        ("lstm", Nesterov(), 1024, torch.float32, "native"),
        ("lstm", Adam(), 128, torch.float32, "triton"),
        ("rnn", RMSProp(), 256, torch.float64, "triton"),
        ("modrelu", HeavyBall(), 170, torch.float32, "triton"),
        ("lstm", Adam(), 257, torch.float32, "reference"),
        ("lstm", Adam(), 128, torch.bfloat16, "reference"),
    ],
)
def test_choice_on_cuda(recurrence: str, dynamics: Dynamics, hidden: int, dtype: torch.dtype, expected: str) -> None:
    work = Work(RECURRENCES[recurrence], dynamics, hidden, CUDA, dtype)
    for training in (False, True):
        assert kernels.choose(work, (784, 128, 1), training) == expected


def test_on_the_cpu_it_is_never_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton, "_interpreting", lambda: True)
    monkeypatch.setattr(kernels.fused, "supports", lambda *_: "not built")
    assert kernels.choose(Work(LSTM_STEP, Adam(), 128, CPU, torch.float32), (784, 128, 1), True) == "reference"


def test_with_triton_there_is_a_reason_and_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name in ("momentum_cli.kernels.triton.kernels", "momentum_cli.kernels.triton.cells"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "triton", None)
    triton._load.cache_clear()
    try:
        work = Work(LSTM_STEP, Adam(), 8, CUDA, torch.float32)
        assert "pip install triton" in str(triton.supports(work))
        assert kernels.choose(work, (9, 9, 1), True) == "reference"
    finally:
        triton._load.cache_clear()


def test_triton_is_not_imported_where_it_is_not_used() -> None:
    code = (
        "import sys, torch; from momentum_cli import LSTM, Adam; from momentum_cli.inspection.doctor import examine;"
        # (torch itself imports it at the first call of any custom op)
        "LSTM(2, 3, dynamics=Adam(), backend='reference')(torch.zeros(2, 1, 2)); examine();"
        "print('triton' in sys.modules)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert torch.cuda.is_available() or done.stdout.strip() == "False"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_doctor_says_what_is_missing() -> None:
    report = examine()["backends"]["triton"]
    assert report["status"]["reason"] == "no CUDA device"
    assert "Python loop" in report["status"]["cost"]
    assert "CUDA" in report["cpu"]["adam"]


def compiled(kernel: Any, real: str, constants: dict[str, Any], options: dict[str, Any], arch: int) -> int:
    """Compile a kernel for a device that need not be there; return the bytes of shared memory."""
    from triton import compile as compile_kernel
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    integers, indices = ("steps", "batch", "hidden", "size", "gates"), ("order", "lengths")
    signature = {
        p.name: "constexpr"
        if p.is_constexpr or p.name in constants
        else p.annotation_type or ("i32" if p.name in integers else "*i32" if p.name in indices else f"*{real}")
        for p in kernel.params
    }
    source = ASTSource(kernel, signature, constants)
    shared: int = compile_kernel(source, target=GPUTarget("cuda", arch, 32), options=options).metadata.shared
    return shared


@with_triton
@pytest.mark.parametrize(
    ("recurrence", "hidden", "batch", "dtype", "arch"),
    [
        ("lstm", 20, 2, torch.float32, 90),
        *(
            pytest.param(recurrence, hidden, batch, dtype, arch, marks=pytest.mark.slow)
            for recurrence in ops.GATES
            for hidden, batch, arch in ((1, 1, 80), (256, 2000, 90))
            for dtype in (torch.float32, torch.float64)
        ),
    ],
)
def test_kernels_compile_without_a_device(
    recurrence: str,
    hidden: int,
    batch: int,
    dtype: torch.dtype,
    arch: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The interpreter lets pass what the compiler refuses, such as a loop that changes the type of a variable."""
    from momentum_cli.kernels.triton import kernels

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    real = "fp32" if dtype == torch.float32 else "fp64"
    gates, slots = ops.GATES[recurrence], ops._slots(recurrence)
    u = torch.empty(1, batch, gates * hidden, dtype=dtype)
    width = ops._power_of_two(hidden)
    flags = dict.fromkeys(
        ("ADAPTIVE", "HAS_BIAS", "HAS_MOMENTS", "HAS_LENGTHS", "TRAINING", "HAS_D_STATES", "HAS_D_H", "HAS_D_C"), True
    )
    common = {"RECURRENCE": recurrence, "GATES": gates, "SLOTS": slots, "INTERVAL": 32, **flags}
    for kernel, depth, columns in (
        (kernels.recurrence_forward, hidden, width * slots),
        (kernels.recurrence_backward, hidden * gates, width),
    ):
        blocks = ops._blocks(recurrence, u, hidden, depth, columns)
        options = {name: blocks.pop(name) for name in ("num_warps", "num_stages")}
        names = [p.name for p in kernel.params]
        constants = {name: value for name, value in (common | blocks).items() if name in names}
        # What a consumer's card has; an H100 has 227 KB. An argument of 1 is a constant to Triton.
        assert compiled(kernel, real, constants | ({"hidden": 1} if hidden == 1 else {}), options, arch) <= 99 * 1024
    flags = dict.fromkeys(("HAS_D_V", "HAS_D_M", "HAS_LENGTHS"), True)
    assert compiled(kernels.dynamics_backward, real, {**flags, "INTERVAL": 32, "BLOCK": 256}, {}, arch) == 0


class TestOnAGpu:
    """Only with a CUDA device: ``pytest -m gpu``."""

    pytestmark = on_gpu

    @pytest.mark.parametrize("dynamics", [Identity(), HeavyBall(), RMSProp(eps=1e-3), Adam(eps=1e-3)], ids=repr)
    @pytest.mark.parametrize("build", [LSTM, GRU, RNN])
    @pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
    def test_layer_equals_the_reference(
        self, build: Any, dynamics: Dynamics, dtype: torch.dtype, tolerance: float
    ) -> None:
        for steps, batch, inputs, hidden in ((1, 1, 1, 1), (70, 13, 3, 33), (40, 130, 1, 128), (9, 600, 2, 256)):
            torch.manual_seed(0)
            layer = build(inputs, hidden, dynamics=dynamics, backend="triton", device="cuda", dtype=dtype)
            x = torch.randn(steps, batch, inputs, device="cuda", dtype=dtype)
            lengths = torch.randint(1, steps + 1, (batch,))
            for limits in (None, lengths):
                results: list[list[Tensor]] = []
                for backend in ("triton", "reference"):
                    layer.backend = backend
                    output, state = layer.run_padded(x, None, limits)
                    loss = output.square().sum() + sum(s.sum() for s in state if s.is_floating_point())
                    gradients = torch.autograd.grad(loss, list(layer.parameters()))
                    results.append([output, *(s for s in state if s.is_floating_point()), *gradients])
                for got, expected in zip(*results, strict=True):
                    assert (got - expected).abs().max() <= tolerance * expected.abs().max().clamp(min=1e-3)

    def test_auto_takes_it(self) -> None:
        layer = LSTM(1, 8, dynamics=Adam(), device="cuda")
        layer(torch.randn(5, 2, 1, device="cuda"))
        assert layer.chosen_backend == "triton"
        assert examine()["backends"]["triton"]["cuda"]["adam"] is None

    def test_compiled_layer_gives_the_same(self) -> None:
        layer = LSTM(2, 16, dynamics=Adam(eps=1e-3), backend="triton", device="cuda")
        x = torch.randn(7, 3, 2, device="cuda")
        torch.testing.assert_close(torch.compile(layer)(x)[0], layer(x)[0])

    def test_step_time_and_memory(self) -> None:
        shape = step_time.Shape(20, 4, 1, 16)
        found = step_time.measure(shape, ["momentum", "adam"], rounds=2, loop_rounds=1, device="cuda")
        assert [it.backend for it in found] == ["native", "triton"]
        for native in (False, True):
            assert (step_time.peak_bytes("adam", shape, "training", native=native, device="cuda") or 0) > 0
        assert step_time.environment("cuda")["device"]
