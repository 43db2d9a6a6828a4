"""Variants of the Triton kernels in `gpu.py`: their times and errors, against torch's own layer on cuDNN."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import torch
from gpu_clock import Contender, clock, interleave, middle, problem_of, quartiles, ratios
from gpu_steps import CELLS, TINY, TORCH, Shape, step_of, tensors

from momentum_cli.kernels.triton.variants import SWITCH, VARIANTS


def variants(settings: Any, limit: float, sizes: tuple[int, int, int, int]) -> Iterator[dict[str, Any]]:
    """Time every variant on adam, momentum and momentum-dtriv, forward and training, in one interleaved run for each.

    The error is that of outputs and gradients in float32 against the same layer in float64, relative to the largest
    value of each tensor; of torch's layer too.
    """
    shape = TINY if settings.rehearsal else Shape(*sizes)
    on = clock(settings.device)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    x, cotangent = tensors(shape, settings.device)
    cells = ("adam", "momentum", "momentum-dtriv")
    try:
        for cell in cells:
            try:
                yield from of_cell(settings, on, cell, shape, x, cotangent, limit / len(cells) / 5)
            except Exception as error:  # a cell that fails must not cost the others
                yield {"T,B,D,N": ",".join(map(str, shape)), "cell": cell, "problem": problem_of(error)}
                on.wait()
    finally:
        os.environ.pop(SWITCH, None)


def of_cell(
    settings: Any, on: Any, cell: str, shape: Shape, x: torch.Tensor, cotangent: torch.Tensor, seconds: float
) -> Iterator[dict[str, Any]]:
    """Time the variants of one cell."""
    torch.manual_seed(0)
    layer = CELLS[cell](shape.inputs, shape.hidden, backend="triton", device=settings.device)
    torch_layer = TORCH[layer.recurrence.gates](shape.inputs, shape.hidden, device=settings.device)
    exact = results_in_float64(layer, x, cotangent)
    contenders: dict[str, dict[str, Contender]] = {"forward": {}, "training": {}}
    errors: dict[str, float] = {}
    problems: dict[str, str] = {}
    for name in ("torch", *VARIANTS):
        if settings.rehearsal and name in VARIANTS and (VARIANTS[name].split or VARIANTS[name].products == "bf16"):
            problems[name] = "skipped: Triton's interpreter neither lets programs wait nor multiplies bfloat16"
            continue
        os.environ[SWITCH] = name if name in VARIANTS else ""
        one = torch_layer if name == "torch" else layer
        try:
            if one is layer:
                errors[name] = error(exact, results(layer, x, cotangent))
            for work in ("training", "forward"):
                step = switched(step_of(one, x, cotangent, work), os.environ[SWITCH])
                contenders[work][name] = Contender(on, step)
        except Exception as refusal:  # Triton's own errors have no common base
            problems[name] = problem_of(refusal)
            on.wait()
    for work, by_name in contenders.items():
        interleave(by_name, 2 if settings.rehearsal else 20, seconds)
        for name in ("torch", *VARIANTS):
            ours, theirs = by_name.get(name), by_name.get("torch")
            ratio = ratios(ours.device, theirs.device) if ours and theirs else []
            yield {
                "T,B,D,N": ",".join(map(str, shape)),
                "cell": cell,
                "work": work,
                "variant": name,
                "device ms": middle(ours.device) if ours else None,
                "x torch": middle(ratio),
                "quartiles": quartiles(ratio),
                "wall ms": middle(ours.wall) if ours else None,
                "error": errors.get(name),
                "problem": problems.get(name, "") or (ours.no_graph if ours else ""),
            }


def switched(step: Any, name: str) -> Any:
    """Return a step with a variant in use."""

    def run() -> None:
        os.environ[SWITCH] = name
        step()

    return run


def results(layer: Any, x: torch.Tensor, cotangent: torch.Tensor) -> list[torch.Tensor]:
    """Return the output and the gradients of the parameters."""
    output = layer(x)[0]
    return [output.detach(), *torch.autograd.grad(output, list(layer.parameters()), cotangent)]


def results_in_float64(layer: Any, x: torch.Tensor, cotangent: torch.Tensor) -> list[torch.Tensor]:
    """Return the same for the layer in float64: on the default variant, or on the loop if the layer is too large."""
    os.environ[SWITCH] = "stream"
    dtype, backend = torch.float32, layer.backend
    if layer.hidden_size > 256:
        layer.backend = "reference"
    found = results(layer.double(), x.double(), cotangent.double())
    layer.to(dtype)
    layer.backend = backend
    return found


def error(exact: list[torch.Tensor], found: list[torch.Tensor]) -> float:
    """Return the largest error, each tensor relative to its own largest value."""
    return max(
        float((e - f.double()).abs().max() / e.abs().max().clamp(min=1e-300)) for e, f in zip(exact, found, strict=True)
    )
