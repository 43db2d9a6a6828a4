"""Runs on a Dask cluster: recipe and fingerprint of the data go out, the finished run folder comes back.

A run whose worker is lost begins again on another one; its steps are the same. A worker whose data or versions differ
is left out, with a warning that says so.
"""

from __future__ import annotations

import io
import logging
import shutil
import tarfile
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from momentum_cli.benchmark.plan.plan import RunSpec
from momentum_cli.benchmark.running.outcome import read_outcome, stillborn
from momentum_cli.benchmark.running.remote import WORKER, Delivery, Order, make, versions
from momentum_cli.cells.plugins import loaded_files
from momentum_cli.errors import DataError, RecipeError, RunError
from momentum_cli.progress import RunState
from momentum_cli.reading import parse_json, read_text
from momentum_cli.temporary import temporary_folder

_CONNECT_SECONDS = 15
_STOP_SECONDS = 2.0
_WAIT_SECONDS = 0.1


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Connect to the scheduler of a cluster.

    Raises:
        RecipeError: The package is missing, no scheduler answers, or a plugin is loaded, which workers do not have.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise RecipeError(
            "--cluster needs the package distributed, which is not installed; install it with: "
            "pip install 'momentumrnn[cluster]'"
        ) from error
    if files := loaded_files():
        raise RecipeError(f"--cluster: workers do not have the plugin {files[0]}; leave out one of them, or use --jobs")
    # Its messages about connections do not help the user of a command; their consequences are reported below.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        client = Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise RecipeError(
            f"--cluster {address}: no Dask scheduler answers there ({str(error).splitlines()[0]}); start one with: "
            "dask scheduler"
        ) from error
    try:
        yield client
    finally:
        client.close()


def work_in_cluster(
    runs: Sequence[RunSpec],
    folder: Path,
    *,
    client: Any,
    fingerprints: dict[str, str],
    data_dir: Path | None,
    accelerator: str,
    show: Callable[[RunState], None],
    warn: Callable[[str], None],
    stopped: Callable[[], bool],
) -> list[tuple[str, dict[str, Any]]]:
    """Train runs on the workers of a cluster, one at a time on each.

    Args:
        runs: In the order in which they are started.
        folder: Parent of their folders.
        client: From `connected`.
        fingerprints: Fingerprint of the data of each comparison.
        data_dir: Folder of the data sets, which workers use where they have it.
        accelerator: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        show: Receives the states of the runs.
        warn: Receives a message naming each worker that is left out, and why.
        stopped: Called often; True ends the runs.

    Returns:
        (id, result) of every run that is over.

    Raises:
        DataError: No worker can train a run.
        RunError: The cluster has no workers.
    """
    from distributed import Event, as_completed

    topic = f"momentumrnn-{uuid.uuid4().hex}"
    stop = Event(topic, client=client)
    left_out: dict[str, str] = {}
    waiting: dict[Any, RunSpec] = {}
    queue = as_completed(loop=client.loop)
    # They arrive in another thread, and are shown from this one.
    states: deque[dict[str, Any]] = deque()
    client.subscribe_topic(topic, lambda event: states.append(event[1]["state"]))

    def submit(run: RunSpec) -> None:
        order = Order(run, fingerprints[run.comparison], accelerator, data_dir, versions())
        able = _able(client, left_out)
        options = {"workers": able, "allow_other_workers": not left_out, "pure": False}
        future = client.submit(run_on_worker, order, topic, **options)
        waiting[future] = run
        queue.add(future)

    results: list[tuple[str, dict[str, Any]]] = []
    try:
        for run in runs:
            submit(run)
        while waiting and not stopped():
            time.sleep(_WAIT_SECONDS)
            while states:
                show(RunState(**states.popleft()))
            while queue.has_ready():
                future = next(queue)
                run = waiting.pop(future)
                home = folder / run.id
                if future.status != "finished":
                    results.append((run.id, stillborn(run, home, RunError(_failure(future)))))
                    continue
                delivery: Delivery = future.result()
                if delivery.folder is not None:
                    _unpack(delivery.folder, home)
                    results.append((run.id, read_outcome(home)))
                    continue
                address = delivery.worker.partition(" ")[0]
                if address not in left_out:
                    left_out[address] = delivery.refusal
                    warn(f"worker {delivery.worker} {delivery.refusal}; it is left out")
                submit(run)
    finally:
        if waiting:
            stop.set()
            client.cancel(list(waiting), force=True)
        client.unsubscribe_topic(topic)
    return results


def run_on_worker(order: Order, topic: str) -> Delivery:
    """Train a run: the task of a worker."""
    from distributed import Event, get_worker

    worker = get_worker()
    stop, asked_at, asked = Event(topic), time.monotonic(), False

    def stopped() -> bool:
        nonlocal asked_at, asked
        if time.monotonic() - asked_at >= _STOP_SECONDS:
            asked, asked_at = bool(stop.is_set()), time.monotonic()
        return asked

    name = f"{worker.address} ({worker.name})"
    return make(order, name, lambda state: worker.log_event(topic, {"state": state}), stopped)


def machines_of(folder: Path, run_ids: Iterable[str]) -> list[dict[str, Any]]:
    """Return the different machines that trained runs on a cluster, with the names of their hosts."""
    found: list[dict[str, Any]] = []
    for run_id in run_ids:
        path = folder / run_id / WORKER
        if path.is_file() and (machine := parse_json(read_text(path))["machine"]) not in found:
            found.append(machine)
    return found


def _able(client: Any, left_out: dict[str, str]) -> list[str]:
    """Return the workers that have not refused.

    Raises:
        DataError: All have.
        RunError: There are none.
    """
    workers = list(client.scheduler_info(n_workers=-1)["workers"])
    able = [address for address in workers if address not in left_out]
    if workers and not able:
        reasons = "; ".join(f"{address} {left_out[address]}" for address in workers)
        raise DataError(f"--cluster: no worker can make the runs: {reasons}")
    if not workers:
        raise RunError("--cluster: the scheduler has no workers; start some with: dask worker ADDRESS")
    return able


def _failure(future: Any) -> str:
    if future.status == "cancelled":
        return "its task was cancelled on the cluster"
    error = future.exception()
    if type(error).__name__ == "KilledWorker":
        return "crashed: several workers were lost one after the other while they made it (out of memory?)"
    lines = str(error).strip().splitlines()
    return f"crashed: {type(error).__name__}" + (f": {lines[0]}" if lines else "")


def _unpack(archive: bytes, home: Path) -> None:
    """Write a run folder completely or not at all."""
    home.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(home) as parent:
        made = parent / home.name
        with tarfile.open(fileobj=io.BytesIO(archive)) as content:
            content.extractall(made, filter="data")
        if home.exists():
            shutil.rmtree(home)
        made.rename(home)
