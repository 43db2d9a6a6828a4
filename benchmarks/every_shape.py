"""Ratios to `torch.nn.LSTM` over hundreds of shapes, with the worst ten: ``benchmarks/every_shape.py``.

One thread. torch keeps its memory, as ours does. Contenders of one shape take turns; a ratio is the quotient of their
least times over the rounds. Above 1 is faster than torch.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from momentum_cli import LSTM, Adam, HeavyBall, Identity, allocator
from momentum_cli.layers.recurrent import RecurrentLayer

STEPS, BATCHES, HIDDEN, INPUTS = (
    (1, 16, 128, 512, 2048),
    (1, 8, 64, 256),
    (16, 64, 128, 256, 512, 1024),
    (1, 16, 128, 512),
)
CELLS = {"lstm": Identity(), "momentum": HeavyBall(0.6, 0.6), "adam": Adam(0.6, 0.9, 0.6, 1e-8)}
WORKS = ("training", "inference")
Shape = tuple[int, int, int, int]


def cost(shape: Shape) -> float:
    """Return the arithmetic of a training pass in GFLOP."""
    steps, batch, hidden, inputs = shape
    return steps * batch * 8 * hidden * (hidden + inputs) * 3 / 1e9


def turn(layer: nn.Module, x: torch.Tensor, work: str) -> Callable[[], float]:
    """Return a function that makes one pass and returns its seconds."""

    def training() -> float:
        layer.zero_grad(set_to_none=True)
        start = time.perf_counter()
        output, _ = layer(x)
        output.sum().backward()
        return time.perf_counter() - start

    def inference() -> float:
        start = time.perf_counter()
        with torch.inference_mode():
            layer(x)
        return time.perf_counter() - start

    return training if work == "training" else inference


def measure(shape: Shape, work: str, seconds: float) -> dict[str, float]:
    """Return the ratio of each cell to torch.

    Args:
        shape: T, B, N, D.
        work: A name of `WORKS`.
        seconds: Rounds are made for about this long, and three at least.
    """
    steps, batch, hidden, inputs = shape
    x = torch.randn(steps, batch, inputs)
    layers: dict[str, RecurrentLayer | nn.LSTM] = {"torch": nn.LSTM(inputs, hidden)}
    layers |= {name: LSTM(inputs, hidden, dynamics=dynamics) for name, dynamics in CELLS.items()}
    turns = {name: turn(layer, x, work) for name, layer in layers.items()}
    for one in turns.values():
        one()
    best = dict.fromkeys(turns, float("inf"))
    begin, rounds = time.perf_counter(), 0
    while rounds < 3 or time.perf_counter() - begin < seconds:
        for name, one in turns.items():
            best[name] = min(best[name], one())
        rounds += 1
    return {name: best["torch"] / best[name] for name in CELLS}


def report(found: list[tuple[Shape, str, dict[str, float]]]) -> str:
    """Return the quartiles and the worst ten, for each kind of work and cell."""
    lines = [
        "| work | cell | shapes | median (quartiles) | below 0.95 | worst (T, B, N, D) |",
        "|---|---|---|---|---|---|",
    ]
    for work, cell in itertools.product(WORKS, CELLS):
        ratios = sorted((ratios[cell], shape) for shape, made, ratios in found if made == work)
        if len(ratios) < 2:
            continue
        low, median, high = statistics.quantiles([ratio for ratio, _ in ratios], n=4)
        worst = "; ".join(f"{ratio:.2f} at {shape}" for ratio, shape in ratios[:10])
        below = sum(ratio < 0.95 for ratio, _ in ratios)
        lines.append(f"| {work} | {cell} | {len(ratios)} | {median:.2f} ({low:.2f}-{high:.2f}) | {below} | {worst} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print; the results so far are in the file, and shapes that it has are not measured again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="JSON file of the ratios")
    parser.add_argument("--most", type=float, default=20.0, help="GFLOP of the largest shape")
    parser.add_argument("--seconds", type=float, default=0.3, help="of each shape and kind of work")
    parser.add_argument("--every", type=int, default=1, help="only each n-th shape")
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS, help="numbers of time steps, T")
    parser.add_argument("--hidden", type=int, nargs="+", default=HIDDEN, help="numbers of hidden units, N")
    options = parser.parse_args()
    allocator.keep_memory()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    grid = itertools.product(options.steps, BATCHES, options.hidden, INPUTS)
    shapes = [shape for shape in grid if cost(shape) <= options.most]
    done = json.loads(options.out.read_text()) if options.out.exists() else {}
    found: list[tuple[Shape, str, dict[str, float]]] = []
    for shape in shapes[:: options.every]:
        for work in WORKS:
            key = f"{work} {','.join(map(str, shape))}"
            if key not in done:
                done[key] = measure(shape, work, options.seconds)
                options.out.write_text(json.dumps(done, indent=0))
            found.append((shape, work, done[key]))
    print(report(found))


if __name__ == "__main__":
    main()
