"""Time of a layer in float32 and under autocast to bfloat16, against `torch.nn.LSTM` in the same precision.

Keep torch's memory, or its page faults are measured with it:

    MALLOC_MMAP_THRESHOLD_=10000000000 MALLOC_TRIM_THRESHOLD_=10000000000 python benchmarks/bfloat16.py

One thread and its CPU time, so that other programs interfere little; the best of many repeats, in alternation.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from momentum_cli import LSTM
from momentum_cli.dynamics.adam import Adam
from momentum_cli.dynamics.heavy_ball import HeavyBall
from momentum_cli.dynamics.identity import Identity

DYNAMICS = {"lstm": Identity(), "momentum": HeavyBall(0.6, 0.6), "adam": Adam(0.6, 0.6, 0.9)}
PRECISIONS = {"float32": False, "bfloat16": True}


def seconds(call: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    start = time.thread_time()
    call()
    return time.thread_time() - start


def training(layer: nn.Module, x: Tensor, cotangent: Tensor, narrow: bool) -> None:
    """Run forward and backward once."""
    with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
        output, _ = layer(x)
    output.backward(cotangent.to(output.dtype))


def inference(layer: nn.Module, x: Tensor, narrow: bool) -> None:
    """Run forward once, without gradients."""
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=narrow):
        layer(x)


def measure(shape: tuple[int, int, int, int], rounds: int) -> None:
    """Print the times of all contenders at one shape.

    Args:
        shape: T, B, D, N.
        rounds: Repeats of each, >= 1.
    """
    steps, batch, inputs, hidden = shape
    x, cotangent = torch.randn(steps, batch, inputs), torch.randn(steps, batch, hidden)
    layers: dict[str, nn.Module] = {"nn.LSTM": nn.LSTM(inputs, hidden)}
    layers |= {name: LSTM(inputs, hidden, dynamics=dynamics) for name, dynamics in DYNAMICS.items()}
    best: dict[tuple[str, str, str], float] = {}
    for _ in range(rounds):
        for (name, layer), (precision, narrow) in itertools.product(layers.items(), PRECISIONS.items()):
            calls = {
                "training": lambda layer=layer, narrow=narrow: training(layer, x, cotangent, narrow),
                "inference": lambda layer=layer, narrow=narrow: inference(layer, x, narrow),
            }
            for work, call in calls.items():
                key = (work, precision, name)
                best[key] = min(best.get(key, float("inf")), seconds(call))
    for work, precision in itertools.product(("training", "inference"), PRECISIONS):
        base = best[work, precision, "nn.LSTM"]
        times = [f"{name} {1e3 * best[work, precision, name]:.2f} ms" for name in layers]
        ratios = [f"{best[work, precision, name] / base:.2f}" for name in layers]
        print(f"{shape} {work:9} {precision:8} {', '.join(times)}; times nn.LSTM's: {', '.join(ratios)}", flush=True)


def main() -> None:
    """Measure every shape asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", default="784,64,1,128;784,64,1,256;64,128,1,64;100,64,64,128", help="T,B,D,N;…")
    parser.add_argument("--rounds", type=int, default=10, help="repeats of each contender")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for text in options.shapes.split(";"):
        steps, batch, inputs, hidden = (int(size) for size in text.split(","))
        measure((steps, batch, inputs, hidden), options.rounds)


if __name__ == "__main__":
    main()
