"""Memory and time of evaluating a bidirectional momentum-dtriv whose head reads the last step, per batch.

    python benchmarks/evaluation_memory.py LAYERS HIDDEN BATCH [ROUNDS]

T is 784, D is 1. Prints the growth of the peak of this process over one batch, and then, of ROUNDS interleaved batches
with and without the outputs of all steps, the median CPU seconds of each and whether the states have the same bits.
"""

from __future__ import annotations

import resource
import sys
import time
from statistics import median

import torch

from momentum_cli import OrthogonalRNN
from momentum_cli.dynamics.heavy_ball import HeavyBall
from momentum_cli.models.sequence import SequenceModel


def peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    layers, hidden, batch = map(int, sys.argv[1:4])
    rounds = int(sys.argv[4]) if len(sys.argv) > 4 else 0
    torch.manual_seed(0)
    layer = OrthogonalRNN(1, hidden, layers, bidirectional=True, dynamics=HeavyBall(0.6, 0.9))
    model, x = SequenceModel(layer, 10).eval(), torch.randn(batch, 784, 1)
    with torch.inference_mode():
        model(x[:1, :8])
        before = peak_mib()
        model(x)
        print(f"{peak_mib() - before} MiB with {layer.chosen_backend}")
        seconds: dict[bool, list[float]] = {True: [], False: []}
        states = {}
        for _ in range(rounds):
            for every in (True, False):
                begun = time.process_time()
                states[every] = layer.run_tensors(x.transpose(0, 1), every=every)[1]
                seconds[every].append(time.process_time() - begun)
    if rounds:
        same = all(torch.equal(*pair) for pair in zip(*states.values(), strict=True))
        print(f"{median(seconds[True]):.2f} s with outputs, {median(seconds[False]):.2f} without; same bits: {same}")


if __name__ == "__main__":
    main()
