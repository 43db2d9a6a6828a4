"""The Triton backend: what it refuses and when it is chosen; its kernels interpreted and compiled."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import torch

from momentum_cli import LSTM, Adam, HeavyBall, Identity, RMSProp, kernels
from momentum_cli.dynamics.nesterov import Nesterov
from momentum_cli.dynamics.protocol import Dynamics
from momentum_cli.inspection.doctor import examine
from momentum_cli.kernels.backend import Weights, Work
from momentum_cli.kernels.triton import ops, tiles
from momentum_cli.kernels.triton import run as triton
from momentum_cli.kernels.triton.variants import SWITCH, VARIANTS
from momentum_cli.recurrence import RECURRENCES

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
LSTM_STEP = RECURRENCES["lstm"]
with_triton = pytest.mark.skipif(triton.status()["triton"] is None, reason="triton is not installed")


# The interpreter is slow: by default what an LSTM runs, which is most of the code, and two of the variants: one whose
# programs wait for each other, and one whose matrix stays in registers.
@with_triton
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "chosen", ["lstm and not stream- and not split-t and not split-b", pytest.param("", marks=pytest.mark.slow)]
)
def test_interpreted_kernels_equal_the_reference(chosen: str) -> None:
    file = Path(__file__).parents[2] / "triton_interpreted.py"
    command = [sys.executable, "-m", "pytest", str(file), "-v", "-p", "no:cacheprovider", "-k", chosen]
    done = subprocess.run(
        command, env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("[lstm-Adam]", "[split-lstm]", "[resident-bf16-lstm]"):
        assert name in done.stdout


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


def test_an_unknown_variant_is_refused_with_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "splitt")
    with pytest.raises(ValueError, match=r"unknown variant 'splitt' of MOMENTUMRNN_TRITON; did you mean 'split'\?"):
        triton.status()


@pytest.mark.parametrize(
    ("variant", "dtype", "hidden", "reason"),
    [
        ("split-bf16", torch.float64, 8, "MOMENTUMRNN_TRITON=split-bf16 computes in float32, not in float64"),
        ("split", torch.float64, 1025, "room for 1024 hidden units, not for 1025"),
        ("split-tf32", torch.float32, 1024, None),
    ],
)
def test_variants_say_what_they_cannot_run(
    variant: str, dtype: torch.dtype, hidden: int, reason: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SWITCH, variant)
    monkeypatch.setattr(triton, "_problem", lambda: None)
    found = triton.supports(Work(LSTM_STEP, Adam(), hidden, CUDA, dtype))
    assert found is None if reason is None else reason in str(found)


def test_a_matrix_too_large_for_registers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "resident-bf16")
    must = (
        r"`MOMENTUMRNN_TRITON` must leave each program at most 128 KiB of W_hh to keep, got 512 KiB \(resident-bf16\)"
    )
    with pytest.raises(ValueError, match=must):
        tiles.tiles("lstm", torch.empty(1, 128, 1024), 256, 256, 4)


@pytest.mark.parametrize("recurrence", ops.GATES)
@pytest.mark.parametrize("variant", [name for name in VARIANTS if name.startswith("split")])
def test_programs_that_wait_for_each_other_all_fit_on_the_device(
    variant: str, recurrence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SWITCH, variant)
    sizes = itertools.product([1, 20, 128, 170, 256], [1, 20, 128, 600, 3000], [False, True])
    for hidden, batch, backward in sizes:
        gates = tiles.GATES[recurrence] * hidden
        u = torch.empty(1, batch, gates, device="meta")
        depth, width = (gates, 1) if backward else (hidden, tiles.slots(recurrence))
        try:
            (rows, parts), options = tiles.tiles(recurrence, u, hidden, depth, width)
        except ValueError:
            continue
        assert rows * options["BLOCK_B"] >= batch > (rows - 1) * options["BLOCK_B"]
        assert parts * options["BLOCK_H"] >= hidden > (parts - 1) * options["BLOCK_H"]
        assert parts == 1 or rows * parts <= 132  # of an H100


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
def test_choice_on_cuda(
    recurrence: str,
    dynamics: Dynamics,
    hidden: int,
    dtype: torch.dtype,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(triton, "_no_compiler", lambda: None)
    work = Work(RECURRENCES[recurrence], dynamics, hidden, CUDA, dtype)
    for training in (False, True):
        assert kernels.choose(work, (784, 128, 1), training) == expected


@with_triton
def test_without_a_c_compiler_there_is_a_reason_and_the_loop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    triton._no_compiler.cache_clear()
    try:
        work = Work(LSTM_STEP, Adam(), 8, CUDA, torch.float32)
        assert "install gcc or clang" in str(triton.supports(work))
        assert kernels.choose(work, (9, 9, 1), True) == "reference"
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        assert triton.status()["reason"] == triton.supports(work)
        triton._no_compiler.cache_clear()
        monkeypatch.setenv("CC", "tcc")
        assert triton.supports(work) is None
    finally:
        triton._no_compiler.cache_clear()


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


def compiled(
    kernel: Any,
    real: str,
    constants: dict[str, Any],
    options: dict[str, Any],
    arch: int,
    pointers: Mapping[str, str] = MappingProxyType({}),
) -> int:
    """Compile a kernel for a device that need not be there; return the bytes of shared memory."""
    from triton import compile as compile_kernel
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    integers, indices = ("steps", "batch", "hidden", "size", "gates"), ("order", "lengths")
    signature = {
        p.name: "constexpr"
        if p.is_constexpr or p.name in constants
        else pointers.get(p.name)
        or p.annotation_type
        or ("i32" if p.name in integers else "*i32" if p.name in indices else f"*{real}")
        for p in kernel.params
    }
    source = ASTSource(kernel, signature, constants)
    shared: int = compile_kernel(source, target=GPUTarget("cuda", arch, 32), options=options).metadata.shared
    return shared


@with_triton
@pytest.mark.parametrize(
    ("variant", "recurrence", "hidden", "batch", "dtype", "arch"),
    [
        ("stream", "lstm", 20, 2, torch.float32, 90),
        *(
            pytest.param("stream", recurrence, hidden, batch, dtype, arch, marks=pytest.mark.slow)
            for recurrence in ops.GATES
            for hidden, batch, arch in ((1, 1, 80), (256, 2000, 90))
            for dtype in (torch.float32, torch.float64)
        ),
        *(
            pytest.param(variant, recurrence, hidden, batch, torch.float32, 90, marks=pytest.mark.slow)
            for variant in VARIANTS
            for recurrence in ("lstm", "modrelu")
            for hidden, batch in ((128, 128), (256, 128), (64, 32))
            if (variant, recurrence, hidden) != ("resident-bf16", "lstm", 256)
        ),
    ],
)
def test_kernels_compile_without_a_device(
    variant: str,
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
    monkeypatch.setenv(SWITCH, variant)
    real = "fp32" if dtype == torch.float32 else "fp64"
    gates, slots = ops.GATES[recurrence], tiles.slots(recurrence)
    u = torch.empty(1, batch, gates * hidden, dtype=dtype)
    pointers = {"arrivals": "*i32"} | dict.fromkeys(("w", "w_t"), "*bf16" if "bf16" in variant else f"*{real}")
    flags = dict.fromkeys(
        ("ADAPTIVE", "HAS_BIAS", "HAS_MOMENTS", "HAS_LENGTHS", "TRAINING", "HAS_D_STATES", "HAS_D_H", "HAS_D_C"), True
    )
    common = {"RECURRENCE": recurrence, "GATES": gates, "SLOTS": slots, "INTERVAL": 32, **flags}
    for kernel, depth, width in (
        (kernels.recurrence_forward, hidden, slots),
        (kernels.recurrence_backward, hidden * gates, 1),
    ):
        _, blocks = tiles.tiles(recurrence, u, hidden, depth, width)
        options = {name: blocks.pop(name) for name in ("num_warps", "num_stages", "launch_cooperative_grid")}
        names = [p.name for p in kernel.params]
        constants = {name: value for name, value in (common | blocks).items() if name in names}
        # An argument of 1 is a constant to Triton.
        constants |= {"hidden": 1} if hidden == 1 else {}
        # Of a data-centre card, and of a consumer's.
        most = 227 if VARIANTS[variant].on_tensor_cores or (dtype, hidden) == (torch.float64, 256) else 99
        assert compiled(kernel, real, constants, options, arch, pointers) <= most * 1024
    flags = dict.fromkeys(("HAS_D_V", "HAS_D_M", "HAS_LENGTHS"), True)
    assert compiled(kernels.dynamics_backward, real, {**flags, "INTERVAL": 32, "BLOCK": 256}, {}, arch) == 0
