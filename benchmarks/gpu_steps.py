"""Step times of `gpu.py`: cells against torch's own layers on cuDNN, in the same interleaved run.

Axes: T time, B batch, D input, N hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import torch
from gpu_clock import Contender, clock, interleave, middle, problem_of, quartiles, ratios
from torch import nn

from momentum_cli import GRU, LSTM, Adam, HeavyBall, Identity, OrthogonalRNN, RMSProp, ScheduledRestart

Pass = Literal["forward", "training"]


class Shape(NamedTuple):
    """Sizes of a step."""

    steps: int
    batch: int
    inputs: int
    hidden: int


# What a rehearsal runs instead of any shape.
TINY = Shape(3, 2, 1, 4)
TORCH: dict[int, Any] = {4: nn.LSTM, 3: nn.GRU, 1: nn.RNN}
# The options of the authors' runs on permuted MNIST.
CELLS: dict[str, Callable[..., Any]] = {
    "lstm": lambda *sizes, **options: LSTM(*sizes, dynamics=Identity(), **options),
    "gru": lambda *sizes, **options: GRU(*sizes, dynamics=Identity(), **options),
    "momentum": lambda *sizes, **options: LSTM(*sizes, dynamics=HeavyBall(0.6, 1.0), **options),
    "sr": lambda *sizes, **options: LSTM(*sizes, dynamics=ScheduledRestart(0.9, 40), **options),
    "adam": lambda *sizes, **options: LSTM(*sizes, dynamics=Adam(0.6, 0.01, 1.0), **options),
    "rmsprop": lambda *sizes, **options: LSTM(*sizes, dynamics=RMSProp(0.01, 1.0), **options),
    "momentum-dtriv": lambda *sizes, **options: OrthogonalRNN(*sizes, dynamics=HeavyBall(0.6, 0.9), **options),
}


def tensors(shape: Shape, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return an input (T, B, D) and the gradient of an output (T, B, N)."""
    return (
        torch.randn(shape.steps, shape.batch, shape.inputs, device=device),
        torch.randn(shape.steps, shape.batch, shape.hidden, device=device),
    )


def step_of(layer: nn.Module, x: torch.Tensor, cotangent: torch.Tensor, work: Pass) -> Callable[[], None]:
    """Return the step of a layer: forward in inference mode, or forward with the gradients of its parameters."""
    parameters = list(layer.parameters())

    def forward() -> None:
        with torch.inference_mode():
            layer(x)

    def training() -> None:
        torch.autograd.grad(layer(x)[0], parameters, cotangent)

    return forward if work == "forward" else training


def steps(settings: Any, limit: float, sizes: tuple[int, int, int, int]) -> Iterator[dict[str, Any]]:
    """Time every cell in training and forward, with torch's products in float32 and in TensorFloat-32.

    Ratios are our time over that of torch's layer with as many gates, so below 1 is faster. TensorFloat-32 is what
    torch's layers and matrix products use; our kernels have their own switch, see `gpu_variants`.
    """
    shape = TINY if settings.rehearsal else Shape(*sizes)
    on = clock(settings.device)
    combinations: list[tuple[Pass, bool]] = [
        ("training", False), ("training", True), ("forward", False), ("forward", True)
    ]  # fmt: skip
    for work, tf32 in combinations:
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
        torch.manual_seed(0)
        x, cotangent = tensors(shape, settings.device)
        layers: dict[str, nn.Module] = {
            f"torch {gates}": build(shape.inputs, shape.hidden, device=settings.device)
            for gates, build in TORCH.items()
        }
        layers |= {name: build(shape.inputs, shape.hidden, device=settings.device) for name, build in CELLS.items()}
        closures = {name: step_of(layer, x, cotangent, work) for name, layer in layers.items()}
        contenders: dict[str, Contender] = {}
        problems: dict[str, str] = {}
        for name, step in closures.items():
            try:
                contenders[name] = Contender(on, step)
            except Exception as error:  # a cell that fails must not cost the others
                problems[name] = problem_of(error)
                on.wait()
        interleave(contenders, 2 if settings.rehearsal else 25, limit / len(combinations) / 2)
        for name, layer in layers.items():
            own = isinstance(layer, nn.RNNBase)
            about = {
                "T,B,D,N": ",".join(map(str, shape)),
                "work": work,
                "tf32": tf32,
                "cell": type(layer).__name__ + " of torch" if own else name,
            }
            if name in problems:
                yield about | {"problem": problems[name]}
                continue
            ours, theirs = contenders[name], contenders.get(name if own else f"torch {layer.recurrence.gates}")
            of_device, of_wall = (
                (ratios(ours.device, theirs.device), ratios(ours.wall, theirs.wall)) if theirs else ([], [])
            )
            yield about | {
                "backend": "cuDNN" if own else layer.chosen_backend,
                "device ms": middle(ours.device),
                "x torch": middle(of_device),
                "quartiles": quartiles(of_device),
                "wall ms": middle(ours.wall),
                "wall x torch": middle(of_wall),
                "host ms": middle(ours.host),
                "peak MiB": (peak := on.peak_bytes(closures[name])) and peak / 2**20,
                "rounds": len(ours.wall),
                "no graph": ours.no_graph,
            }
