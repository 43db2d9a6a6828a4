"""A real Dask scheduler and workers, which are processes on the loopback device."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# A recipe whose data are a file in the current folder, which a worker in another folder lacks.
RECIPE: dict[str, Any] = {
    "task": {"name": "files", "path": "d.csv", "kind": "classification", "target": "label"},
    "model": {"hidden_size": 4},
    "optimizer": {"name": "sgd", "lr": 0.1},
    "train": {"max_steps": 2},
}


def folder_with_data(folder: Path) -> Path:
    """Make a folder with the file of `RECIPE`."""
    folder.mkdir()
    rows = (f"{n},{n % 7},{'xy'[n // 30 % 2]}\n" for n in range(600))
    (folder / "d.csv").write_text("t,a,label\n" + "".join(rows))
    return folder


class Cluster:
    """A scheduler and workers in processes of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._start("scheduler", "dask", "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        self.address = self._found("scheduler", "Scheduler at: *(tcp://[0-9.:]+)")

    def worker(self, name: str, cwd: Path | None = None) -> None:
        options = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--name", name]
        directory = ["--local-directory", str(self.folder / f"{name}.dir")]
        self._start(name, "dask", "worker", self.address, *options, *directory, cwd=cwd)
        self._found(name, "Starting established connection to *(tcp://[0-9.:]+)")

    def kill(self, name: str) -> None:
        self.processes[name].send_signal(signal.SIGKILL)
        self.processes[name].wait()

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(encoding="utf-8")

    def close(self) -> None:
        for process in reversed(self.processes.values()):
            process.kill()
            process.wait()

    def _start(self, name: str, *command: str, cwd: Path | None = None) -> None:
        variables = {**os.environ, "OMP_NUM_THREADS": "1"}
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", *command],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=variables,
                cwd=cwd or self.folder,
            )

    def _found(self, name: str, pattern: str) -> str:
        end = time.monotonic() + 120
        while not (found := re.search(pattern, self.log(name))):
            assert self.processes[name].poll() is None, self.log(name)
            assert time.monotonic() < end, self.log(name)
            time.sleep(0.1)
        return found[1]


@contextlib.contextmanager
def started(folder: Path) -> Iterator[Cluster]:
    """Start a scheduler without workers, and end it and its workers after the block."""
    made = Cluster(folder)
    try:
        yield made
    finally:
        made.close()
