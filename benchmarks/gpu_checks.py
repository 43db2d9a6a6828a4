"""The first items of `gpu.py`: what the machine is, and whether the kernels compute the right thing on it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import re
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[1]
# Most important first.
TEST_FILES = ("tests/kernels/triton/test_card.py", "tests/training/test_card.py")
_OUTCOME = re.compile(
    r"^(?:\[gw\d+\] \[ *\d+%\] )?(?:(PASSED|FAILED|ERROR|SKIPPED) (\S+)|(\S+::\S+) (PASSED|FAILED|ERROR|SKIPPED))"
)


def environment(settings: Any, limit: float) -> Iterator[dict[str, Any]]:
    """Describe the machine and measure its two ceilings: bytes copied and products of matrices a second."""
    found: dict[str, Any] = {"python": platform.python_version(), "torch": torch.__version__}
    for package in ("triton", "numpy", "pydantic", "lightning-fabric", "torchvision", "torchaudio", "soundfile"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    found["processor"] = platform.processor() or platform.machine()
    found["threads"] = torch.get_num_threads()
    if not settings.rehearsal:
        if not torch.cuda.is_available():
            raise RuntimeError("torch finds no CUDA device; --device cpu rehearses without one")
        facts = torch.cuda.get_device_properties(0)
        found |= {
            "device": facts.name,
            "capability": f"{facts.major}.{facts.minor}",
            "multiprocessors": facts.multi_processor_count,
            "memory GiB": facts.total_memory / 2**30,
            "L2 MiB": getattr(facts, "L2_cache_size", 0) / 2**20,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    found |= ceilings(settings)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        from momentum_cli import LSTM

        LSTM(1, 8, device=settings.device)(torch.zeros(3, 2, 1, device=settings.device))
    found["warnings"] = "; ".join(sorted({str(w.message).splitlines()[0] for w in caught})) or "none"
    yield found


def ceilings(settings: Any) -> dict[str, float]:
    """Return the rates of a large copy, and of large products in float32, TensorFloat-32 and bfloat16."""
    from gpu_clock import clock

    on = clock(settings.device)
    size, length = (64, 2**10) if settings.rehearsal else (8192, 2**30)
    source = torch.randn(length, device=settings.device)
    target = torch.empty_like(source)
    rates = {"copy GB/s": 8 * length / min(on.seconds(lambda: target.copy_(source)) for _ in range(5)) / 1e9}
    for name, dtype, tf32 in (
        ("float32 TFLOP/s", torch.float32, False),
        ("tf32 TFLOP/s", torch.float32, True),
        ("bf16 TFLOP/s", torch.bfloat16, False),
    ):
        torch.backends.cuda.matmul.allow_tf32 = tf32
        a, b = (torch.randn(size, size, device=settings.device, dtype=dtype) for _ in range(2))
        best = min(on.seconds(lambda a=a, b=b: a @ b) for _ in range(5))  # type: ignore[misc]
        rates[name] = 2 * size**3 / best / 1e12
    torch.backends.cuda.matmul.allow_tf32 = False
    return rates


def tests(settings: Any, limit: float) -> Iterator[dict[str, Any]]:
    """Run the tests that need a card, several at a time since most of their time is compiling; one row for each."""
    files = [file for file in TEST_FILES if (ROOT / file).is_file()]
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "--tb=line", "-m", "gpu", *files]
    if not settings.rehearsal and importlib.util.find_spec("xdist"):
        command += ["-n", "8"]
    command += ["--continue-on-collection-errors"]  # of a file whose packages are missing
    # Options of the project need plugins that may be missing, and other versions of torch warn of other things.
    command += ["-o", "addopts=--import-mode=importlib --strict-markers", "-o", "filterwarnings=default"]
    if importlib.util.find_spec("pytest_timeout"):
        command += ["--timeout=60", "--timeout-method=thread"]
    end = time.monotonic() + limit
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line.rstrip())
        if found := _OUTCOME.match(line):
            outcome, test, other_test, other_outcome = found.groups()
            yield {"outcome": outcome or other_outcome, "test": test or other_test}
        if time.monotonic() > end:
            process.kill()
            break
    process.wait()
    (Path(settings.out) / "tests.txt").write_text("\n".join(lines[-2000:]) + "\n", encoding="utf-8")
    yield {"outcome": f"exit code {process.returncode}", "test": lines[-1] if lines else ""}
