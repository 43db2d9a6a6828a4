"""Time of one training step or inference pass of a layer, as a ratio to torch's own layer in the same interleaved run.

A round times every contender once, in an order that rotates from round to round, and ratios are taken within a round,
because other work of the machine then slows both sides. The median and the interquartile range over rounds are
reported.

In a process that keeps its memory, as commands of this package do (`momentum_cli.allocator`), torch's layer is timed
both there and in its own process with the default allocator. In bfloat16 all run under autocast.

Axes: T time, B batch, D input, N hidden.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import nn

from momentum_cli import allocator
from momentum_cli.benchmark.results.statistics import quartiles
from momentum_cli.benchmark.speed.apart import Apart, serve
from momentum_cli.cells.catalogue import LAYERS, build_cell_layer, cell_objects
from momentum_cli.cells.find import parse_cell
from momentum_cli.kernels.fused import run as fused
from momentum_cli.kernels.triton import run as triton
from momentum_cli.layers.recurrent import RecurrentLayer
from momentum_cli.machine import cpu_name, forget_peak, peak_resident_bytes, resident_bytes

Pass = Literal["forward", "training"]
Precision = Literal["fp32", "bf16"]
_MODULE = "momentum_cli.benchmark.speed.step_time"  # also if it is run as a program
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


class Shape(NamedTuple):
    """Sizes of one measurement: T steps, B sequences, D input channels, N hidden units."""

    steps: int
    batch: int
    inputs: int
    hidden: int


# Pixel MNIST at two sizes, with small batches and one sequence; short sequences; language modelling; long and narrow.
GRID = (
    Shape(784, 128, 1, 128),
    Shape(784, 128, 1, 256),
    Shape(784, 32, 1, 128),
    Shape(784, 1, 1, 128),
    Shape(64, 128, 1, 64),
    Shape(28, 128, 28, 128),
    Shape(70, 20, 512, 512),
    Shape(512, 64, 64, 128),
)
CELLS = ("lstm", "momentum", "adam", "rmsprop", "sr", "gru", "momentum-gru", "momentum-dtriv")
# Torch's layer with as many gates: the same matrix products.
TORCH_LAYERS: dict[int, Callable[..., nn.RNNBase]] = {4: nn.LSTM, 3: nn.GRU, 1: nn.RNN}


@dataclass(frozen=True)
class StepTime:
    """Measurements of one cell, shape and pass. Times in seconds; ratios above 1 mean that the cell is faster.

    ``torch_ratio`` is the time of torch's layer (`build_torch`) in the same process and precision over that of the
    cell, with its lower and upper quartile; ``untouched_ratio`` the same for torch with the default allocator, None if
    this process uses it too; ``loop_ratio`` that of the plain PyTorch loop of the same cell, None if it was not timed.
    """

    cell: str
    shape: Shape
    work: Pass
    precision: Precision
    backend: str
    seconds: float
    seconds_quartiles: tuple[float, float]
    torch_seconds: float
    torch_ratio: float
    torch_ratio_quartiles: tuple[float, float]
    untouched_seconds: float | None
    untouched_ratio: float | None
    untouched_ratio_quartiles: tuple[float, float] | None
    loop_ratio: float | None
    gflops: float  # of the matrix products, per second
    rounds: int
    peak_bytes: int | None = None
    torch_peak_bytes: int | None = None


def build(cell: str, shape: Shape, backend: str = "auto", device: str = "cpu") -> RecurrentLayer:
    """Return the layer of a cell with its default options."""
    wanted = parse_cell(cell)
    objects = cell_objects(wanted, {})
    return build_cell_layer(wanted, objects, shape.inputs, shape.hidden, backend=backend, device=device)


def gates(cell: str) -> int:
    """Return the number of gates of a cell's recurrence."""
    return LAYERS[parse_cell(cell).layer].recurrence.gates


def build_torch(cell: str, shape: Shape, device: str = "cpu") -> nn.RNNBase:
    """Return torch's layer with as many gates as a cell: LSTM for 4, GRU for 3, RNN for 1.

    Raises:
        KeyError: torch has no such layer.
    """
    return TORCH_LAYERS[gates(cell)](shape.inputs, shape.hidden, device=device)


def step(layer: nn.Module, x: torch.Tensor, cotangent: torch.Tensor, work: Pass, precision: Precision = "fp32") -> None:
    """Run the layer once, in bf16 under autocast; for training also compute the gradients of its parameters."""
    with torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bf16"):
        if work == "forward":
            with torch.inference_mode():
                layer(x)
            return
        output, _ = layer(x)
    torch.autograd.grad(output, list(layer.parameters()), cotangent.to(output.dtype))


def measure(
    shape: Shape,
    cells: Sequence[str] = CELLS,
    work: Pass = "training",
    *,
    rounds: int = 20,
    loop_rounds: int = 3,
    backend: str = "auto",
    device: str = "cpu",
    precision: Precision = "fp32",
    clock: str = "wall",
) -> list[StepTime]:
    """Time cells on one shape against torch's layers and, in the first rounds, the plain loop.

    Args:
        shape: Sizes, each >= 1.
        cells: Names of cells with 1, 3 or 4 gates.
        work: ``"forward"`` in inference mode, or ``"training"``: forward and backward.
        rounds: Measurements of each contender, >= 1.
        loop_rounds: Measurements of the plain loop, which is slow; 0 omits it.
        backend: Backend of the cells.
        device: ``"cpu"``, or ``"cuda"``, synchronised before and after each step.
        precision: ``"fp32"``, or ``"bf16"`` under autocast, of all contenders.
        clock: Key of `CLOCKS`; ``"cpu"`` is processor time, for one thread.

    Returns:
        One `StepTime` per cell.

    Raises:
        KeyError: torch has no layer to compare a cell with.
    """
    torch.manual_seed(0)
    x, cotangent = _tensors(shape, device)
    layers: dict[str, nn.Module] = {cell: build(cell, shape, backend, device) for cell in cells}
    rivals = {cell: f"torch with {gates(cell)} gates" for cell in cells}
    layers |= {rivals[cell]: build_torch(cell, shape, device) for cell in cells}
    loops: dict[str, nn.Module] = {f"loop {cell}": build(cell, shape, "reference", device) for cell in cells}
    # torch with the default allocator is measured in another process, if this one has changed its allocator.
    untouched = {f"untouched {rivals[cell]}": cell for cell in cells if device == "cpu" and allocator.kept()}
    seconds: dict[str, list[float]] = {name: [] for name in (*layers, *untouched, *loops)}
    for layer in layers.values():  # warm up: code, allocator, threads; Triton compiles here
        step(layer, x, cotangent, work, precision)
    _wait(device)
    with ExitStack() as held:
        apart = {
            name: held.enter_context(_untouched_torch(cell, shape, work, precision, clock))
            for name, cell in untouched.items()
        }
        for number in range(rounds):
            names = [*layers, *apart, *(loops if number < loop_rounds else ())]
            first = number % len(names)
            for name in names[first:] + names[:first]:
                if name in apart:
                    seconds[name].append(apart[name].turn())
                else:
                    layer = layers.get(name) or loops[name]
                    seconds[name].append(_timed(layer, x, cotangent, work, precision, clock))
    results = []
    for cell in cells:
        own, rival, loop = seconds[cell], seconds[rivals[cell]], seconds[f"loop {cell}"]
        ratios = [theirs / ours for theirs, ours in zip(rival, own, strict=True)]
        plain = seconds.get(f"untouched {rivals[cell]}")
        plain_ratios = plain and [theirs / ours for theirs, ours in zip(plain, own, strict=True)]
        layer = layers[cell]
        assert isinstance(layer, RecurrentLayer)
        middle = median(own)
        results.append(
            StepTime(
                cell=cell,
                shape=shape,
                work=work,
                precision=precision,
                backend=layer.chosen_backend or layer.backend,
                seconds=middle,
                seconds_quartiles=quartiles(own)[::2],
                torch_seconds=median(rival),
                torch_ratio=median(ratios),
                torch_ratio_quartiles=quartiles(ratios)[::2],
                untouched_seconds=median(plain) if plain else None,
                untouched_ratio=median(plain_ratios) if plain_ratios else None,
                untouched_ratio_quartiles=quartiles(plain_ratios)[::2] if plain_ratios else None,
                loop_ratio=median([t / o for t, o in zip(loop, own, strict=False)]) if loop else None,
                gflops=floating_point_operations(cell, shape, work) / middle / 1e9,
                rounds=rounds,
            )
        )
    return results


def _timed(
    layer: nn.Module, x: torch.Tensor, cotangent: torch.Tensor, work: Pass, precision: Precision, clock: str
) -> float:
    """Return the seconds of one step."""
    now = CLOCKS[clock]
    start = now()
    step(layer, x, cotangent, work, precision)
    _wait(str(x.device))
    return now() - start


def _untouched_torch(
    cell: str, shape: Shape, work: Pass, precision: Precision, clock: str
) -> AbstractContextManager[Apart]:
    """Start a process with torch's layer for a cell, as many threads as here, and the default allocator."""
    arguments = ["-m", _MODULE, "turns", cell, work, precision, clock, *map(str, shape)]
    kept = {name: None for name in os.environ if name.startswith("MALLOC_")}
    return Apart(arguments, {**kept, "OMP_NUM_THREADS": str(torch.get_num_threads()), allocator.SETTING: "0"})


def _serve_torch(cell: str, work: Pass, precision: Precision, clock: str, shape: Shape) -> None:
    torch.manual_seed(0)
    x, cotangent = _tensors(shape, "cpu")
    layer = build_torch(cell, shape)
    for _ in range(2):  # glibc adapts its threshold for mapping blocks to the blocks freed before
        step(layer, x, cotangent, work, precision)
    serve(lambda: _timed(layer, x, cotangent, work, precision, clock))


def _tensors(shape: Shape, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return an input and the gradient of an output."""
    x = torch.randn(shape.steps, shape.batch, shape.inputs, device=device)
    return x, torch.randn(shape.steps, shape.batch, shape.hidden, device=device)


def _wait(device: str) -> None:
    """Wait for the work of a CUDA device; on the CPU do nothing."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def floating_point_operations(cell: str, shape: Shape, work: Pass) -> float:
    """Return the operations of the matrix products: ``2 T B G (N + D)`` forward, and twice that backward.

    The input needs no gradient, so the backward pass omits ``2 T B G D`` of them.
    """
    steps, batch, inputs, hidden = shape
    columns = gates(cell) * hidden
    forward = 2.0 * steps * batch * columns * (hidden + inputs)
    return forward if work == "forward" else 3.0 * forward - 2.0 * steps * batch * columns * inputs


def machine_gflops(seconds: float = 1.0, device: str = "cpu") -> float:
    """Return the highest rate of torch's float32 matrix product on the threads in use, an upper bound for layers."""
    size = 8192 if torch.device(device).type == "cuda" else 1024
    a, b = torch.randn(size, size, device=device), torch.randn(size, size, device=device)
    torch.mm(a, b)
    _wait(device)
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        torch.mm(a, b)
        _wait(device)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best / 1e9


def peak_bytes(
    cell: str, shape: Shape, work: Pass, *, native: bool = False, backend: str = "auto", device: str = "cpu"
) -> int | None:
    """Return the growth of the peak memory in one step, or None if the system does not report it.

    On the CPU that of a new process, which Linux reports; on CUDA that of the tensors that torch allocates.

    Args:
        cell: As in `measure`.
        shape: Sizes.
        work: As in `measure`.
        native: Measure torch's layer instead of the cell.
        backend: Backend of the cell.
        device: As in `measure`.
    """
    side = "torch" if native else backend
    if torch.device(device).type == "cuda":
        return _cuda_peak(cell, work, side, shape, device)
    command = [sys.executable, "-m", _MODULE, "peak", cell, work, side]
    done = subprocess.run([*command, *map(str, shape)], check=True, capture_output=True, text=True)
    return int(done.stdout) or None


def _cuda_peak(cell: str, work: Pass, which: str, shape: Shape, device: str) -> int:
    layer = build_torch(cell, shape, device) if which == "torch" else build(cell, shape, which, device)
    x, cotangent = _tensors(shape, device)
    step(layer, x, cotangent, work)  # libraries allocate workspaces once that do not belong to the step
    _wait(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    step(layer, x, cotangent, work)
    _wait(device)
    return torch.cuda.max_memory_allocated(device) - before


def _report_peak(cell: str, work: Pass, which: str, shape: Shape) -> int:
    layer = build_torch(cell, shape) if which == "torch" else build(cell, shape, which)
    x, cotangent = _tensors(shape, "cpu")
    step(layer, x[:1, :1], cotangent[:1, :1], work)  # code and threads do not belong to the step
    before = resident_bytes() if forget_peak() else None
    if before is None:
        return 0
    step(layer, x, cotangent, work)
    return (peak_resident_bytes() or 0) - before


def environment(device: str = "cpu") -> dict[str, Any]:
    """Return the facts that a number depends on: processor, instruction set, threads, versions, the CUDA device."""
    cuda: dict[str, Any] = {}
    if torch.device(device).type == "cuda":
        cuda = {
            "device": torch.cuda.get_device_name(device),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
            # torch's own layer uses TensorFloat-32 for products; our kernels use float32.
            "cudnn_tf32": torch.backends.cudnn.allow_tf32,
            "triton": triton.status()["triton"],
        }
    return {
        **cuda,
        "processor": cpu_name(),
        "isa": fused.status()["isa"],
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def as_json(results: Sequence[StepTime]) -> list[dict[str, Any]]:
    """Return the results as plain dicts, with the shape by name."""
    return [asdict(result) | {"shape": result.shape._asdict()} for result in results]


if __name__ == "__main__":
    what, name, work, *rest = sys.argv[1:]
    chosen: Pass = "forward" if work == "forward" else "training"
    sizes = Shape(*map(int, rest[-4:]))
    if what == "peak":
        sys.stdout.write(str(_report_peak(name, chosen, rest[0], sizes)))
    else:
        _serve_torch(name, chosen, "bf16" if rest[0] == "bf16" else "fp32", rest[1], sizes)
