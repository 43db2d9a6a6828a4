"""Seconds and memory to read many short sequences, in four forms of file, and the seconds of one epoch on them
and CPU seconds and memory of their prediction from each form.

    python benchmarks/reading_sequences.py --out build/reading

Each form is read by a process of its own: its CPU seconds, which other programs affect little, and the growth of its
largest resident size, also as a multiple of the file. Linux only.
"""

from __future__ import annotations

import argparse
import functools
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

from momentum_cli.data import Files

STEPS, FEATURES = 5, 2
LONG: dict[str, Any] = {"sequence": "id", "order": "t", "features": ["a", "b"]}
FORMS: dict[str, dict[str, Any]] = {"long.csv": LONG, "long.parquet": LONG, "wide.csv": {}, "arrays.npz": {}}


def write(folder: Path, count: int) -> None:
    """Write the same sequences as a CSV and a Parquet file of steps, a CSV with one sequence in a row, and arrays."""
    draw = np.random.default_rng(0)
    values = np.round(draw.normal(size=(count, STEPS, FEATURES)), 4)
    classes = draw.integers(0, 2, count)
    words = np.array(["no", "yes"])[classes]
    np.savez(folder / "arrays.npz", x=values.astype(np.float32), y=classes)
    steps = pa.table(
        {
            "id": np.repeat(np.arange(count), STEPS),
            "t": np.tile(np.arange(STEPS), count),
            "a": values[:, :, 0].reshape(-1),
            "b": values[:, :, 1].reshape(-1),
            "y": np.repeat(words, STEPS),
        }
    )
    csv.write_csv(steps, folder / "long.csv")
    parquet.write_table(steps, folder / "long.parquet")
    flat = values.reshape(count, -1)
    columns = {f"s{place}": flat[:, place] for place in range(flat.shape[1])}
    csv.write_csv(pa.table({**columns, "y": words}), folder / "wide.csv")


def read(path: Path) -> None:
    """Read a file as a training does, and print CPU seconds and the growth of memory in bytes."""
    small, task = (
        Files(path=str(one.resolve()), kind="classification", target="y", **FORMS[path.name])
        for one in (path.parent / "small" / path.name, path)
    )
    small.load(None)  # it loads torch and pyarrow, which take half a gigabyte
    before, start = peak(), time.process_time()
    task.load(None)
    print(json.dumps([time.process_time() - start, peak() - before]))


def peak() -> int:
    """Return the largest resident size of this process in bytes; that of getrusage begins with its parent's."""
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found[1]) * 1024


def trained(folder: Path, name: str, *, epoch: bool) -> float:
    """Train an LSTM with 64 units, batch 256, on a form of file for an epoch, or a moment, and return its seconds."""
    path = name if epoch else f"small/{name}"
    task = json.dumps({"name": "files", "path": path, "kind": "classification", "target": "y", **FORMS[name]})
    length = "epochs: 1" if epoch else "max_steps: 2"
    (folder / "short.yaml").write_text(
        f"task: {task}\nmodel: {{cell: lstm, hidden_size: 64}}\noptimizer: {{name: adam, lr: 0.003}}\n"
        f"train: {{{length}, batch_size: 256}}\n",
        encoding="utf-8",
    )
    words = ["train", "short.yaml", "--out", f"run-{name}", "--overwrite", "--no-progress"]
    subprocess.run([sys.executable, "-m", "momentum_cli", *words], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    result = json.loads((folder / f"run-{name}" / "result.json").read_text(encoding="utf-8"))
    return float(result["train_seconds"])


def predict(path: Path, out: Path) -> None:
    """Predict a file by the model of its form, and print CPU seconds, the largest memory, and the seconds of stages.

    CPU seconds: of all with the start, of all without it, of the model and of writing.
    """
    from momentum_cli.inference.predict import parquet, writers
    from momentum_cli.inference.predict.predict import predict as run
    from momentum_cli.models.sequence import SequenceModel

    stages = dict.fromkeys(("model", "writing"), 0.0)
    for owner, name, stage in (
        (SequenceModel, "forward", "model"),
        (writers.CsvWriter, "write", "writing"),
        (writers.JsonlWriter, "write", "writing"),
        (parquet.ParquetWriter, "write", "writing"),
        (parquet.ParquetWriter, "close", "writing"),
    ):
        setattr(owner, name, timed(getattr(owner, name), stages, stage))
    model = path.parent / f"run-{path.name}"
    run(model, [str(path.parent / "small" / path.name)], out=out)  # it loads torch and pyarrow
    stages.update(dict.fromkeys(stages, 0.0))
    start = time.process_time()
    run(model, [str(path)], out=out)
    now = time.process_time()
    print(json.dumps([now, peak(), now - start, *stages.values()]))


def timed(function: Callable[..., Any], stages: dict[str, float], stage: str) -> Callable[..., Any]:
    """Return the function, which adds its CPU seconds to those of a stage."""

    @functools.wraps(function)
    def measured(*args: Any, **options: Any) -> Any:
        start = time.process_time()
        try:
            return function(*args, **options)
        finally:
            stages[stage] += time.process_time() - start

    return measured


def child(folder: Path, *words: str) -> list[float]:
    """Return what this program prints in a process of its own."""
    command = [sys.executable, __file__, "--out", str(folder), *words]
    found: list[float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def main() -> None:
    """Print one line for each form, the epoch, and each form of the predictions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the files and the run")
    parser.add_argument("--sequences", type=int, default=1_000_000)
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS), help="forms that are predicted")
    parser.add_argument("--only-predict", action="store_true", help="neither read nor train an epoch")
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--predict", nargs=2, type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.read is not None:
        read(chosen.read)
        return
    if chosen.predict is not None:
        predict(*chosen.predict)
        return
    (chosen.out / "small").mkdir(parents=True, exist_ok=True)
    write(chosen.out, chosen.sequences)
    write(chosen.out / "small", 1000)
    for name in () if chosen.only_predict else FORMS:
        path = chosen.out / name
        seconds, growth = child(chosen.out, "--read", str(path))
        size = path.stat().st_size
        memory = f"{growth / 1e6:.0f} MB, {growth / size:.1f} times the file"
        print(f"{name}: {size / 1e6:.0f} MB, {seconds:.1f} CPU s, {memory}", flush=True)
    if not chosen.only_predict:
        print(f"one epoch: {trained(chosen.out, 'arrays.npz', epoch=True):.1f} s", flush=True)
    for name in chosen.forms:
        trained(chosen.out, name, epoch=False)
        for end in ("csv", "jsonl", "parquet"):
            answers = str(chosen.out / f"out.{end}")
            seconds, memory, own, model, writing = child(chosen.out, "--predict", str(chosen.out / name), answers)
            stages = f"without the start {own:.2f}: model {model:.2f}, writing {writing:.2f}"
            print(f"predict {name} to {end}: {seconds:.1f} CPU s ({stages}), {memory / 1e6:.0f} MB", flush=True)


if __name__ == "__main__":
    main()
