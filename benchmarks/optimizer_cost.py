"""The cost of a step of each optimizer, as a ratio to torch's own multi-tensor SGD and Adam in the same run.

    python benchmarks/optimizer_cost.py [--device cuda] [--threads 1] [--shapes rnn] [--repeats 30]

A model of 150 tensors and 10 million parameters; gradients do not change, because the time of a step does not depend on
their values. Steps of all optimizers alternate, so that other work of the machine affects all of them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from momentum_cli.machine import cpu_name
from momentum_cli.optim import OPTIMIZERS
from momentum_cli.optim.optimizer import MultiTensorOptimizer

TENSORS = 150
PARAMETERS = 10_000_000
LIMITS = {"ahb-sgd": ("sgd", 1.5), "ahb-adam": ("adam", 1.3)}


def shapes(kind: str) -> list[tuple[int, ...]]:
    """Return the shapes of the model.

    Args:
        kind: ``equal`` tensors, or ``rnn``: as many weight matrices as bias vectors, as layers of LSTMs have.
    """
    if kind == "equal":
        return [(PARAMETERS // TENSORS,)] * TENSORS
    pairs = TENSORS // 2
    hidden = 512
    return [(hidden, PARAMETERS // pairs // hidden - 1), (hidden,)] * pairs


def model(kind: str, device: torch.device) -> list[Tensor]:
    """Return parameters with gradients."""
    generator = torch.Generator().manual_seed(0)
    params = []
    for shape in shapes(kind):
        param = torch.randn(shape, generator=generator).to(device).requires_grad_()
        param.grad = torch.randn(shape, generator=generator).to(device)
        params.append(param)
    return params


def state_bytes(optimizer: torch.optim.Optimizer) -> int:
    """Return the bytes of tensors in an optimizer's state."""
    return sum(
        value.numel() * value.element_size()
        for state in optimizer.state.values()
        for value in state.values()
        if isinstance(value, Tensor)
    )


def measure(steps: dict[str, Callable[[], object]], device: torch.device, repeats: int) -> dict[str, list[float]]:
    """Return milliseconds of each step, warmed up and interleaved.

    On a CPU with one thread it is processor time, which waiting for another process does not lengthen; otherwise wall
    time, with the device synchronised.
    """
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(-3, repeats):
        for name, step in steps.items():
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            start = clock()
            step()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if repeat >= 0:
                times[name].append((clock() - start) * 1e3)
    return times


def main() -> None:
    """Measure, print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--shapes", choices=("rnn", "equal"), default="rnn")
    parser.add_argument("--repeats", type=int, default=30)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)

    optimizers = {}
    for name in ("sgd", "adam", *OPTIMIZERS):
        cls = OPTIMIZERS[name]
        if name not in ("sgd", "adam") and not issubclass(cls, MultiTensorOptimizer):
            continue
        extra = {"momentum": 0.9} if name == "sgd" else {}
        optimizers[name] = cls(model(options.shapes, device), lr=1e-4, foreach=True, **extra)  # type: ignore[call-arg]
    times = measure({name: each.step for name, each in optimizers.items()}, device, options.repeats)
    medians = {name: statistics.median(of_name) for name, of_name in times.items()}

    elements = sum(param.numel() for param in model(options.shapes, torch.device("cpu")))
    rows = []
    for name, of_name in times.items():
        quartiles = statistics.quantiles(of_name, n=4)
        row = {
            "optimizer": name,
            "milliseconds": round(medians[name], 3),
            "iqr": round(quartiles[2] - quartiles[0], 3),
            "over_sgd": round(medians[name] / medians["sgd"], 2),
            "over_adam": round(medians[name] / medians["adam"], 2),
            "state_tensors_a_parameter": round(state_bytes(optimizers[name]) / 4 / elements, 3),
        }
        rows.append(row)
        print(
            f"{name:14}{row['milliseconds']:10.2f} ms  IQR {row['iqr']:7.2f}  x sgd {row['over_sgd']:5.2f}  "
            f"x adam {row['over_adam']:5.2f}  state {row['state_tensors_a_parameter']:5.2f} x parameters"
        )
    for name, (base, limit) in LIMITS.items():
        ratio = medians[name] / medians[base]
        print(f"{name} / torch {base}: {ratio:.2f} (limit {limit}): {'met' if ratio <= limit else 'MISSED'}")
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()
    print(
        json.dumps(
            {
                "torch": torch.__version__,
                "device": where,
                "threads": options.threads,
                "shapes": options.shapes,
                "repeats": options.repeats,
                "rows": rows,
            }
        )
    )


if __name__ == "__main__":
    main()
