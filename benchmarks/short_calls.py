"""Calls without gradients by one call of the library against the way layer by layer: ``benchmarks/short_calls.py``.

One thread, on shapes that `momentum_cli.layers.quick` takes and on some beyond its bounds, which are lifted here. The
two ways take turns; a ratio is the quotient of their least times. Above 1 the one call is faster.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from unittest import mock

import torch

from momentum_cli import GRU, LSTM, Adam, HeavyBall, Identity, Nesterov, ScheduledRestart, allocator
from momentum_cli.layers import quick
from momentum_cli.layers.recurrent import RecurrentLayer

LAYERS = {"lstm": LSTM, "gru": GRU}
DYNAMICS = {"identity": Identity(), "momentum": HeavyBall(0.6, 0.6), "nesterov": Nesterov(), "sr": ScheduledRestart(),
            "adam": Adam(0.6, 0.9, 0.6, 1e-8)}  # fmt: skip
STEPS, BATCHES, HIDDEN, INPUTS, DEPTHS = (
    (1, 16, 128),
    (1, 16, 256),
    (16, 64, 128, 256),
    (1, 64, 512, 1024, 4096),
    (1, 2),
)


def ratio(layer: RecurrentLayer, x: torch.Tensor, seconds: float) -> float:
    """Return how many times as fast as layer by layer one call is."""
    ways = {"one": quick.run, "layers": lambda *_: None}
    best = dict.fromkeys(ways, float("inf"))
    begin, rounds = time.perf_counter(), 0
    with torch.inference_mode():
        while rounds < 4 or time.perf_counter() - begin < seconds:
            for name, way in ways.items():
                with mock.patch.object(quick, "run", way):
                    start = time.perf_counter()
                    layer(x)
                    took = time.perf_counter() - start
                if rounds:  # the first makes the session
                    best[name] = min(best[name], took)
            rounds += 1
    return best["layers"] / best["one"]


def main() -> None:
    """Print quartiles and the worst ten, inside the bounds and just beyond them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=0.05, help="of each shape")
    options = parser.parse_args()
    allocator.keep_memory()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    is_short = quick.is_short
    found: dict[bool, list[tuple[float, str]]] = {True: [], False: []}
    grid = itertools.product(LAYERS, DYNAMICS, STEPS, BATCHES, HIDDEN, INPUTS, DEPTHS)
    for kind, dynamics, steps, batch, hidden, size, depth in grid:
        if steps * batch * max(hidden, size) > 4 * quick._NUMBERS:
            continue
        layer = LAYERS[kind](size, hidden, depth, dynamics=DYNAMICS[dynamics]).eval()
        x = torch.randn(steps, batch, size)
        inside = is_short(layer, layer.work(x.device, x.dtype), (steps, batch, size))
        with mock.patch.object(quick, "is_short", return_value=True):
            measured = ratio(layer, x, options.seconds)
        name = f"{kind} {dynamics}, T {steps} B {batch} H {hidden} D {size}, {depth} layers"
        found[inside].append((measured, name))
    for inside, title in ((True, "inside the bounds"), (False, "beyond them")):
        ratios = sorted(found[inside])
        low, median, high = statistics.quantiles([value for value, _ in ratios], n=4)
        below = sum(value < 1 for value, _ in ratios)
        print(f"{title}: {len(ratios)} shapes, median {median:.2f} ({low:.2f}-{high:.2f}), {below} below 1")
        for value, name in ratios[:10]:
            print(f"  {value:.2f} {name}")


if __name__ == "__main__":
    main()
