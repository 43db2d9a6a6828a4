"""Measure layers that run as a stream: ``benchmarks/streaming.py`` prints microseconds per step at batch 1, as a table.

One step at a time and a chunk of 100 steps, against `torch.nn.LSTM` (with its memory kept, without gradients) and an
LSTM in ONNX Runtime, all interleaved on one thread; times are the best of the rounds, ratios medians over them.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from momentum_cli import GRU, LSTM, RNN, Adam, HeavyBall, Identity, Nesterov, OrthogonalRNN, RMSProp, allocator

CELLS: dict[str, Callable[[int, int], Any]] = {
    "lstm": lambda size, hidden: LSTM(size, hidden, dynamics=Identity()),
    "momentum": lambda size, hidden: LSTM(size, hidden, dynamics=HeavyBall()),
    "nesterov": lambda size, hidden: LSTM(size, hidden, dynamics=Nesterov()),
    "adam": lambda size, hidden: LSTM(size, hidden, dynamics=Adam()),
    "rmsprop": lambda size, hidden: LSTM(size, hidden, dynamics=RMSProp()),
    "gru": lambda size, hidden: GRU(size, hidden, dynamics=Identity()),
    "rnn": lambda size, hidden: RNN(size, hidden, dynamics=Identity()),
    "momentum-dtriv": lambda size, hidden: OrthogonalRNN(size, hidden, dynamics=HeavyBall()),
}
Call = Callable[[Tensor], Any]


def torch_lstm(layer: torch.nn.LSTM) -> Call:
    """Return torch's LSTM as a function that keeps its state."""
    state = [torch.zeros(1, 1, layer.hidden_size), torch.zeros(1, 1, layer.hidden_size)]

    def call(x: Tensor) -> Tensor:
        output, (state[0], state[1]) = layer(x, (state[0], state[1]))
        return output

    return call


def onnx_lstm(layer: torch.nn.LSTM) -> Call | None:
    """Return the same LSTM in ONNX Runtime on one thread, or None if that is not installed."""
    try:
        import numpy as np
        import onnxruntime
    except ImportError:
        return None
    zeros = torch.zeros(1, 1, layer.hidden_size)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            layer,
            (torch.zeros(3, 1, layer.input_size), (zeros, zeros)),
            file,
            input_names=["x", "h", "c"],
            output_names=["output", "hn", "cn"],
            dynamic_axes={"x": {0: "time"}, "output": {0: "time"}},
            dynamo=False,
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    state = [np.zeros((1, 1, layer.hidden_size), np.float32)] * 2

    def call(x: Tensor) -> Any:
        output, state[0], state[1] = session.run(None, {"x": x.numpy(), "h": state[0], "c": state[1]})
        return output

    return call


def measure(calls: dict[str, Call], x: Tensor, rounds: int, repeats: int) -> dict[str, list[float]]:
    """Return the microseconds per call of each, one value per round."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            call(x)
            start = time.perf_counter()
            for _ in range(repeats):
                call(x)
            times[name].append((time.perf_counter() - start) / repeats * 1e6)
    return times


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hidden-sizes", default="128,256,512")
    parser.add_argument("--input-size", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    allocator.keep_memory()
    torch.set_num_threads(1)
    for steps, repeats in ((1, 200), (100, 10)):
        for hidden in map(int, options.hidden_sizes.split(",")):
            torch.manual_seed(0)
            plain = torch.nn.LSTM(options.input_size, hidden)
            calls: dict[str, Call] = {"torch.nn.LSTM": torch_lstm(plain)}
            runtime = onnx_lstm(plain)
            if runtime is not None:
                calls["ONNX Runtime lstm"] = runtime
            for name, cell in CELLS.items():
                calls[f"{name} stream"] = cell(options.input_size, hidden).stream(1)
            with torch.inference_mode():
                times = measure(calls, torch.randn(steps, 1, options.input_size), options.rounds, repeats)
            print(f"\nN = {hidden}, {steps} steps a call\n")
            print("| | us | torch / this | ONNX Runtime / this |\n|---|---|---|---|")
            for name, own in times.items():
                ratios = [
                    statistics.median(a / b for a, b in zip(times[other], own, strict=True)) if other in times else None
                    for other in ("torch.nn.LSTM", "ONNX Runtime lstm")
                ]
                shown = " | ".join("-" if ratio is None else f"{ratio:.2f}" for ratio in ratios)
                print(f"| {name} | {min(own):.1f} | {shown} |")


if __name__ == "__main__":
    main()
