"""Forward passes of exported files compared with the eager layer and a plain nn.LSTM file, at T = 784.

    python benchmarks/export_speed.py [--repeats 20] [--threads 1]

All programs of one batch size take turns, so that a busy machine slows all of them; printed are the median, the
quartiles, and the median over the repeats of the ratio to the ONNX file of the plain LSTM in the same turn.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from export_matrix import untrained

from momentum_cli.formats.description import describe_model
from momentum_cli.formats.export import FORMATS, open_program
from momentum_cli.training.trained import load_model

STEPS, HIDDEN = 784, 128


def programs(cell: str, folder: Path, formats: tuple[str, ...]) -> dict[str, Callable[[torch.Tensor], object]]:
    """Return the eager layer and the exported files of a cell as functions of inputs (B, T, 1)."""
    options = (f"model.cell={cell}", f"model.hidden_size={HIDDEN}", "task.pixels_per_step=1")
    source = load_model(untrained(folder / f"{cell}.safetensors", *options))
    model = source.model.requires_grad_(False)
    calls: dict[str, Callable[[torch.Tensor], object]] = {f"{cell} eager": model}
    for name in formats:
        path = folder / f"{cell}{FORMATS[name].SUFFIX}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            FORMATS[name].write(model, describe_model(source, name, stateful=False), path)
        program = open_program(path)
        calls[f"{cell} {name}"] = lambda x, program=program: program.run(x)
    return calls


def main() -> None:
    """Print one table per batch size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--cells", default="lstm,momentum,nesterov,adam")
    parser.add_argument("--batches", default="1,128")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        calls: dict[str, Callable[[torch.Tensor], object]] = {}
        for cell in arguments.cells.split(","):
            calls |= programs(cell, Path(folder), ("onnx", "torchscript"))
        for batch in map(int, arguments.batches.split(",")):
            x = torch.rand(batch, STEPS, 1)
            seconds: dict[str, list[float]] = {name: [] for name in calls}
            for turn in range(arguments.repeats + 1):
                for name, call in calls.items():
                    start = time.perf_counter()
                    call(x)
                    if turn > 0:  # the first turn warms up
                        seconds[name].append(time.perf_counter() - start)
            print(f"\nbatch {batch}, T {STEPS}, H {HIDDEN}, {arguments.threads} threads, {arguments.repeats} repeats")
            print("| program | ms | quartiles | to lstm onnx |\n|---|---|---|---|")
            base = seconds["lstm onnx"]
            for name, times in seconds.items():
                low, middle, high = (value * 1e3 for value in statistics.quantiles(times, n=4))
                ratio = statistics.median(t / b for t, b in zip(times, base, strict=True))
                print(f"| {name} | {middle:.2f} | {low:.2f} - {high:.2f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
