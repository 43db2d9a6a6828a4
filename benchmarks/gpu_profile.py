"""Profiles in `gpu.py`: where the time of a step goes, and what limits the slowest of our kernels."""

from __future__ import annotations

import csv
import importlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from gpu_steps import CELLS, TINY, Shape, step_of, tensors

KERNELS = ("recurrence_forward", "recurrence_backward", "dynamics_backward")
# Of Nsight Compute: duration, registers, occupancy, bytes of L1, L2 and memory, use of tensor cores and FMA pipes.
METRICS = (
    "gpu__time_duration.sum",
    "launch__registers_per_thread",
    "launch__grid_size",
    "sm__warps_active.avg.pct_of_peak_sustained_active",
    "l1tex__t_bytes.sum",
    "lts__t_bytes.sum",
    "dram__bytes.sum",
    "sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_active",
    "sm__pipe_fma_cycles_active.avg.pct_of_peak_sustained_active",
    "smsp__inst_executed_op_local_ld.sum",
    "sm__throughput.avg.pct_of_peak_sustained_elapsed",
)


def training_step_of(device: str, tiny: bool) -> Any:
    """Return a training step of adam at N = 128 on the Triton kernels."""
    shape = TINY if tiny else Shape(784, 128, 1, 128)
    torch.manual_seed(0)
    layer = CELLS["adam"](shape.inputs, shape.hidden, backend="triton", device=device)
    return step_of(layer, *tensors(shape, device), "training")


def profile(settings: Any, limit: float) -> Iterator[dict[str, Any]]:
    """Rank the kernels of a training step of adam, then ask the compiler and Nsight Compute about ours."""
    end = time.monotonic() + limit
    step = training_step_of(settings.device, settings.rehearsal)
    step()
    yield from by_time(step, settings.device)
    yield from compiled()
    yield from counters(settings, end)


def by_time(step: Any, device: str) -> Iterator[dict[str, Any]]:
    """Rank what runs on the device in one step, by torch's profiler."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
        torch.cuda.synchronize()
    with torch.profiler.profile(activities=activities) as profiler:
        step()
        if device == "cuda":
            torch.cuda.synchronize()
    attribute = "self_device_time_total" if device == "cuda" else "self_cpu_time_total"
    events = sorted(profiler.key_averages(), key=lambda event: -float(getattr(event, attribute)))
    total = sum(float(getattr(event, attribute)) for event in events)
    for event in events[:8]:
        spent = float(getattr(event, attribute))
        yield {
            "source": "profiler",
            "kernel": event.key[:60],
            "ms": spent / 1e3,
            "share": spent / total if total else None,
        }


def compiled() -> Iterator[dict[str, Any]]:
    """Report registers, spills and shared memory of each compiled kernel, if Triton records them."""
    module = importlib.import_module("momentum_cli.kernels.triton.kernels")
    for name in KERNELS:
        caches = getattr(getattr(module, name), "device_caches", {})
        for cache in caches.values():
            for kernel in cache[0].values():
                yield {
                    "source": "compiler",
                    "kernel": name,
                    "registers a thread": kernel.n_regs,
                    "spills": kernel.n_spills,
                    "shared KiB": kernel.metadata.shared / 1024,
                    "warps": kernel.metadata.num_warps,
                }


def counters(settings: Any, end: float) -> Iterator[dict[str, Any]]:
    """Read the chip's counters for each kernel with Nsight Compute, if it is installed and permitted."""
    ncu = shutil.which("ncu")
    if ncu is None or settings.rehearsal:
        yield {"source": "ncu", "kernel": "skipped: no ncu on this machine" if ncu is None else "skipped: a rehearsal"}
        return
    for name in reversed(KERNELS[:2]):  # the slowest first
        command = [ncu, "--clock-control", "none", "--csv", "--metrics", ",".join(METRICS)]
        command += ["--kernel-name", name, "--launch-count", "1", sys.executable, __file__]
        try:
            left = end - time.monotonic()
            done = subprocess.run(command, capture_output=True, text=True, timeout=max(left, 1.0), check=False)
        except subprocess.TimeoutExpired:
            yield {"source": "ncu", "kernel": f"{name}: no result in the time left"}
            return
        values = parse(done.stdout)
        yield {"source": "ncu", "kernel": name, **(values or {"problem": (done.stdout + done.stderr)[-300:]})}


def parse(text: str) -> dict[str, str]:
    """Return metric -> value with its unit, from Nsight Compute's table."""
    lines = [line for line in text.splitlines() if line.startswith('"')]
    return {row["Metric Name"]: f"{row['Metric Value']} {row['Metric Unit']}".strip() for row in csv.DictReader(lines)}


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    training_step_of("cuda", tiny=False)()
    torch.cuda.synchronize()
