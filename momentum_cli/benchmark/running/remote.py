"""The worker's part of a benchmark on a cluster: one run in a temporary folder, sent back as bytes."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from momentum_cli import __version__
from momentum_cli.benchmark.plan.plan import RunSpec
from momentum_cli.benchmark.running.contender import Contender
from momentum_cli.benchmark.running.folder import machine
from momentum_cli.benchmark.running.outcome import stillborn
from momentum_cli.data import Dataset
from momentum_cli.errors import MomentumError
from momentum_cli.progress import NO_PROGRESS, RunState
from momentum_cli.recipe.building import load_data
from momentum_cli.runs.files import write_json
from momentum_cli.temporary import temporary_folder
from momentum_cli.training.launch import determinism, launch, memory_bytes
from momentum_cli.training.trained import describe

WORKER = "worker.json"
"""The file of a run folder with the machine that made the run."""
# A sample of the sequences is enough to tell other data from these, and quick for large ones.
_SAMPLED = 64
_SHOW_EVERY_SECONDS = 1.0
# torch's generators and its number of threads are those of the process, and a worker may have several threads.
_ONE = threading.Lock()
_loaded: tuple[Any, Dataset] | None = None


@dataclass(frozen=True)
class Order:
    """A run that a worker is to train.

    Args:
        run: The run, with its whole recipe.
        fingerprint: Fingerprint of the data on the machine that asks; see `fingerprint`.
        accelerator: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        data_dir: Folder of the data sets there, which is used where it exists.
        version: Versions of momentumrnn and torch.
    """

    run: RunSpec
    fingerprint: str
    accelerator: str
    data_dir: Path | None
    version: str


@dataclass(frozen=True)
class Delivery:
    """The answer of a worker.

    Args:
        worker: Its address and host.
        folder: The run folder as a tar archive; None if the worker cannot train the run.
        refusal: The reason why it cannot; "" if it did.
    """

    worker: str
    folder: bytes | None
    refusal: str = ""


def versions() -> str:
    """Return the versions that have to be the same everywhere for equal results."""
    return f"momentumrnn {__version__}, torch {torch.__version__}"


def fingerprint(dataset: Dataset) -> str:
    """Return a digest of a data set: its description, sizes, and a sample of the sequences of each split."""
    digest = hashlib.sha256(json.dumps(describe(dataset), sort_keys=True, default=str).encode())
    for name in ("train", "validation", "test"):
        split = getattr(dataset, name)
        if split is None:
            continue
        digest.update(f"{name} {len(split)} {split.longest}".encode())
        index = torch.linspace(0, len(split) - 1, min(len(split), _SAMPLED)).long()
        batch = split.batch(index)
        for tensor in (batch.inputs, batch.targets, batch.lengths):
            if tensor is not None:
                digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def make(order: Order, name: str, show: Callable[[dict[str, Any]], None], stopped: Callable[[], bool]) -> Delivery:
    """Train a run.

    Args:
        order: The run to train.
        name: Name of this worker, for messages.
        show: Receives the state of the run as a mapping, about once per second.
        stopped: Called between turns; True ends the run without a result.

    Returns:
        The run folder, even if an error ended the run; or a refusal.
    """
    if order.version != versions():
        return Delivery(name, None, f"has {versions()}, not {order.version}")
    with _ONE:
        try:
            dataset = _data(order)
        except MomentumError as error:
            return Delivery(name, None, f"lacks the data of {order.run.comparison}: {error}")
        if fingerprint(dataset) != order.fingerprint:
            return Delivery(name, None, f"has other data of {order.run.comparison} than this machine")
        with temporary_folder() as parent:
            folder = parent / order.run.id
            if not _train(order, dataset, folder, show, stopped):
                return Delivery(name, None, "stopped")
            threads = torch.get_num_threads()
            write_json(folder / WORKER, {"worker": name, "machine": {"host": platform.node(), **machine(threads)}})
            return Delivery(name, _packed(folder))


def _data(order: Order) -> Dataset:
    global _loaded  # noqa: PLW0603 - a worker makes many runs on the same data, one after the other
    task = (order.run.recipe.task, order.run.recipe.metrics)
    if _loaded is None or _loaded[0] != task:
        _loaded = None  # one data set in memory at a time
        there = order.data_dir if order.data_dir is not None and order.data_dir.is_dir() else None
        _loaded = (task, load_data(order.run.recipe, there, NO_PROGRESS))
    return _loaded[1]


def _train(
    order: Order, dataset: Dataset, folder: Path, show: Callable[[dict[str, Any]], None], stopped: Callable[[], bool]
) -> bool:
    """Train the run in a folder; return False if it was stopped."""
    run, shown_at = order.run, 0.0

    def tell(state: RunState) -> None:
        nonlocal shown_at
        if time.monotonic() - shown_at >= _SHOW_EVERY_SECONDS:
            shown_at = time.monotonic()
            show(asdict(state))

    with determinism(run.recipe.train.deterministic):
        try:
            fabric = launch(run.recipe, 1, 1, order.accelerator)
            contender = Contender(run, folder, dataset, fabric, show=tell)
        except Exception as error:
            stillborn(run, folder, error)
            return True
        try:
            while not contender.turn(stopped):
                if stopped():
                    contender.pause()
                    return False
            contender.memory_bytes = memory_bytes(contender.trainer.device)
            contender.finish()
        except Exception as error:
            contender.fail(error)
    return True


def _packed(folder: Path) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=1) as archive:
        archive.add(folder, arcname=".")
    return stream.getvalue()
