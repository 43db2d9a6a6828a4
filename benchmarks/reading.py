"""Speed and memory of a CSV of two million rows: against `pyarrow.csv.read_csv`, and of init, check and an epoch.

    python benchmarks/reading.py --out build/reading

Each reading is timed in CPU seconds of the process, which other programs affect little, and in wall seconds; rounds
of the two readers are interleaved, and medians are shown. The memory of a command is the largest resident size of its
process.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

from momentum_cli.data import Files
from momentum_cli.data.problems import Problems

COMMANDS = {
    "init": ["init", "large.csv", "--target", "x0", "--out", "large.yaml", "--overwrite"],
    "data check": ["data", "check", "large.yaml"],
    "train, 1 epoch": ["train", "large.yaml", "--out", "run", "--overwrite", "train.epochs=1", "task.stride=100",
                       "task.window=16", "model.hidden_size=8", "train.batch_size=256"],
}  # fmt: skip


def write(path: Path, rows: int) -> None:
    """Write a time and five random walks with four decimals, one row per second."""
    draw = np.random.default_rng(0)
    stamps = np.datetime64("2020-01-01T00:00:00") + np.arange(rows)
    columns = {"time": pa.array(np.datetime_as_string(stamps))}
    columns |= {f"x{i}": pa.array(np.round(draw.normal(size=rows).cumsum() * 0.01 + 50, 4)) for i in range(5)}
    csv.write_csv(pa.table(columns), path)


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """Return CPU and wall seconds of a call."""
    cpu, wall = time.process_time(), time.perf_counter()
    call()
    return time.process_time() - cpu, time.perf_counter() - wall


def peak(arguments: list[str], folder: Path) -> tuple[int, float]:
    """Run a command; return the largest resident size of its process in bytes, and its wall seconds."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "momentum_cli", *arguments], cwd=folder, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"momentumrnn {' '.join(arguments)} failed")
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024), time.perf_counter() - start


def main() -> None:
    """Print one line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the file and the run")
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    path = chosen.out / "large.csv"
    write(path, chosen.rows)
    print(f"{chosen.rows:,} rows, {path.stat().st_size / 1e6:.0f} MB")
    task = Files(path=str(path.resolve()), kind="forecasting", order="time", target="x0", window=16)
    readers: dict[str, Callable[[], object]] = {
        "pyarrow": lambda: csv.read_csv(path),
        "momentumrnn": lambda: task.gather(path, Problems()),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in readers}
    for _ in range(chosen.rounds):
        for name, read in readers.items():
            times[name].append(timed(read))
    medians = {name: [statistics.median(one) for one in zip(*found, strict=True)] for name, found in times.items()}
    for name, (cpu, wall) in medians.items():
        ratios = [own / base for own, base in zip((cpu, wall), medians["pyarrow"], strict=True)]
        print(f"{name}: {cpu:.2f} CPU s ({ratios[0]:.2f} of pyarrow's), {wall:.2f} s ({ratios[1]:.2f})")
    for name, arguments in COMMANDS.items():
        size, wall = peak(arguments, chosen.out)
        print(f"{name}: {size / 1e9:.2f} GB, {wall:.0f} s")


if __name__ == "__main__":
    main()
