"""Measure the library on a CUDA card within minutes: ``benchmarks/gpu.sh run OUT`` starts this.

The items run one after another, the most important first, in a separate process. Results are written to
``OUT/gpu.json`` and ``OUT/gpu.txt`` row by row, so an interrupted run still has results. An item that fails is recorded
and the next one runs; one that exceeds its time is stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import signal
import threading
import time
import traceback
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from gpu_table import as_text


class Item(NamedTuple):
    """One thing to measure.

    Args:
        name: Shown, and accepted by ``--only``.
        function: ``MODULE.FUNCTION`` next to this file; it takes `Settings` and a limit in seconds, and yields rows.
        seconds: Time limit.
        arguments: Further arguments of the function.
    """

    name: str
    function: str
    seconds: float
    arguments: tuple[Any, ...] = ()


ITEMS = (
    Item("environment", "gpu_checks.environment", 30),
    Item("tests", "gpu_checks.tests", 90),
    Item("steps at 784,128,1,128", "gpu_steps.steps", 45, ((784, 128, 1, 128),)),
    Item("variants at 784,128,1,128", "gpu_variants.variants", 45, ((784, 128, 1, 128),)),
    Item("steps at 784,128,1,256", "gpu_steps.steps", 45, ((784, 128, 1, 256),)),
    Item("variants at 784,128,1,256", "gpu_variants.variants", 45, ((784, 128, 1, 256),)),
    Item("epoch of permuted MNIST", "gpu_training.epoch", 60),
    Item("training step", "gpu_training.training_step", 45),
    Item("profile", "gpu_profile.profile", 45),
    Item("train", "gpu_training.train_command", 60),
    Item("steps at 64,32,1,64", "gpu_steps.steps", 15, ((64, 32, 1, 64),)),
    Item("steps at 70,20,512,512", "gpu_steps.steps", 20, ((70, 20, 512, 512),)),
    Item("variants at 70,20,512,512", "gpu_variants.variants", 20, ((70, 20, 512, 512),)),
    Item("steps at 784,128,1,512", "gpu_steps.steps", 45, ((784, 128, 1, 512),)),
)
# An item with less time than this is skipped, because starting takes that long.
LEAST_SECONDS = 5.0
# How much longer than its limit an item may take before its process is killed; rows are finished in that time.
GRACE_SECONDS = 8.0


@dataclass(frozen=True)
class Settings:
    """Where and how to measure.

    Args:
        device: ``"cuda"``, or ``"cpu"`` for a rehearsal with tiny shapes.
        data: Folder with ``MNIST/raw``, or None.
        out: Folder for results.
    """

    device: str
    data: str | None
    out: str

    @property
    def rehearsal(self) -> bool:
        """True if times are meaningless."""
        return self.device == "cpu"


@dataclass
class Report:
    """What was found so far."""

    settings: dict[str, Any]
    started: str
    items: dict[str, dict[str, Any]] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Replace both files atomically."""
        document = asdict(self)
        for name, text in (("gpu.json", json.dumps(document, indent=1)), ("gpu.txt", as_text(document))):
            new = folder / f".{name}.new"
            new.write_text(text + "\n", encoding="utf-8")
            new.replace(folder / name)


def work(connection: Connection, settings: Settings) -> None:
    """Run items as they come through the connection and send back their rows; the process that may be killed."""
    os.setsid()  # what an item starts is killed with it
    threading.Thread(target=end_with_parent, daemon=True).start()
    if settings.rehearsal:
        os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is imported, which an item does
    import importlib

    while True:
        name, arguments, limit = connection.recv()
        module, function = name.split(".")
        end = time.monotonic() + limit
        try:
            for row in getattr(importlib.import_module(module), function)(settings, limit, *arguments):
                connection.send(("row", row))
                if time.monotonic() > end:
                    outcome = "out of time"
                    break
            else:
                outcome = "done"
            wait(settings.device)
            connection.send(("ended", outcome))
        except Exception as error:
            connection.send(("failed", f"{type(error).__name__}: {error}\n{traceback.format_exc()}"))
            return  # an error of the device stays with the process


def end_with_parent() -> None:
    """Kill this process and what it started as soon as its parent is gone."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.killpg(0, signal.SIGKILL)


def wait(device: str) -> None:
    """Raise what went wrong on the device: every later call would raise it too, so the process has to end."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


class Worker:
    """A process that runs items, started again after it was lost."""

    def __init__(self, settings: Settings) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=work, args=(other, settings), daemon=True)
        self.process.start()
        other.close()

    def run(self, item: Item, limit: float, on_row: Any) -> str:
        """Run an item and return how it ended: "done", "out of time" or what went wrong."""
        end = time.monotonic() + limit + GRACE_SECONDS
        self.connection.send((item.function, item.arguments, limit))
        while self.connection.poll(max(end - time.monotonic(), 0)):
            try:
                kind, what = self.connection.recv()
            except EOFError:
                self.process.join(5)
                return f"its process ended with code {self.process.exitcode}"
            if kind != "row":
                return str(what)
            on_row(what)
        return f"killed after {limit + GRACE_SECONDS:.0f} s"

    def end(self) -> None:
        """Kill the process and what it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid or 0, signal.SIGKILL)
        self.process.kill()
        self.process.join(5)


def main() -> None:
    """Run all items that fit into the time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder for gpu.json and gpu.txt")
    parser.add_argument("--seconds", type=float, default=360.0, help="ends after this long, whatever happens")
    parser.add_argument("--data", type=Path, help="folder with MNIST/raw; without it the items on MNIST are skipped")
    parser.add_argument("--only", default="", help="names of items, separated by ;")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu rehearses with tiny shapes")
    options = parser.parse_args()
    names = [item.name for item in ITEMS]
    only = [name for name in options.only.split(";") if name]
    if unknown := sorted(set(only) - set(names)):
        parser.error(f"--only must name items, got {', '.join(unknown)}; there are: {'; '.join(names)}")
    start = time.monotonic()
    options.out.mkdir(parents=True, exist_ok=True)
    data = None if options.data is None else str(options.data.resolve())
    settings = Settings(options.device, data, str(options.out.resolve()))
    report = Report(asdict(settings) | {"seconds": options.seconds}, time.strftime("%Y-%m-%d %H:%M:%S %z"))
    worker: Worker | None = None
    for item in ITEMS:
        if only and item.name not in only:
            continue
        # The grace of this item, and a second to write.
        left = options.seconds - (time.monotonic() - start) - GRACE_SECONDS - 1
        entry: dict[str, Any] = {"status": "running", "rows": []}
        report.items[item.name] = entry
        if left < LEAST_SECONDS:
            entry["status"] = "skipped: no time left"
            continue
        began = time.monotonic()
        report.write(options.out)

        def on_row(row: dict[str, Any], entry: dict[str, Any] = entry) -> None:
            entry["rows"].append(row)
            report.write(options.out)

        worker = worker or Worker(settings)
        entry["status"] = worker.run(item, min(item.seconds, left), on_row)
        entry["seconds"] = round(time.monotonic() - began, 1)
        if entry["status"] not in ("done", "out of time"):
            worker.end()
            worker = None
        report.write(options.out)
        status = entry["status"].splitlines()[0]
        print(f"{time.monotonic() - start:6.1f} s  {item.name}: {status}, {len(entry['rows'])} rows", flush=True)
    if worker is not None:
        worker.end()
    report.write(options.out)
    print(as_text(asdict(report)))


if __name__ == "__main__":
    main()
