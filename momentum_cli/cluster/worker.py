"""The worker's part: one run in a temporary folder, sent back as bytes."""

from __future__ import annotations

import itertools
import platform
import threading
import uuid
from typing import Any

import torch

from momentum_cli.cluster.archive import WORKER, packed
from momentum_cli.cluster.fingerprint import fingerprint
from momentum_cli.cluster.order import Channel, Delivery, Order, versions
from momentum_cli.data import Dataset
from momentum_cli.errors import MomentumError
from momentum_cli.machine import timing_facts
from momentum_cli.progress import NO_PROGRESS
from momentum_cli.recipe.building import load_data
from momentum_cli.runs.files import write_json
from momentum_cli.temporary import temporary_folder
from momentum_cli.training.launch import determinism

_ANSWER_SECONDS = 2.0
# torch's generators and its number of threads are those of the process, and a worker may have several threads.
_ONE = threading.Lock()
_loaded: tuple[Any, Dataset, str] | None = None


def work(order: Order, topic: str) -> Delivery:
    """Train a run: the task of a worker of the cluster.

    Args:
        order: The run.
        topic: Topic of the events by which the worker reports.
    """
    from distributed import Queue, get_worker

    worker = get_worker()
    task = worker.get_current_task()
    # One per attempt: an answer to a worker that was lost must not reach the next one.
    answers = Queue(f"{topic}-{uuid.uuid4().hex}")
    numbers = itertools.count(1)

    def stopped() -> bool:
        # Tasks are cancelled by name, or because their client is gone; a thread that runs one is not told.
        state = worker.state.tasks.get(task)
        return state is None or state.state == "cancelled"

    def event(report: dict[str, Any], number: int = 0) -> None:
        # The key "worker" is taken: the scheduler puts the address there.
        content = {"order": order.name, "by": str(worker.name), "report": report}
        worker.log_event(topic, content | ({"answers": answers.name, "number": number} if number else {}))

    def ask(report: dict[str, Any]) -> Any:
        number = next(numbers)
        event(report, number)
        while not stopped():
            try:
                told, answer = answers.get(timeout=_ANSWER_SECONDS)
            except TimeoutError:  # asked again, in case that question or answer were lost
                event(report, number)
                continue
            if told == number:
                return answer
        return None

    event({})
    try:
        return carry_out(order, f"{worker.address} ({worker.name})", Channel(event, ask, stopped))
    finally:
        answers.close()


def carry_out(order: Order, name: str, channel: Channel) -> Delivery:
    """Train a run.

    Args:
        order: The run to train.
        name: Name of this worker, for messages.
        channel: To the process that asks.

    Returns:
        The run folder, even if an error ended the run; or a refusal; or neither if the job was stopped.
    """
    if order.version != versions():
        return Delivery(name, refusal=f"has {versions()}, not {order.version}")
    with _ONE:
        if channel.stopped():
            return Delivery(name)
        try:
            dataset, mark = _data(order)
        except MomentumError as error:
            return Delivery(name, refusal=f"lacks the data of {order.label}: {error}")
        if mark != order.fingerprint:
            return Delivery(name, refusal=f"has other data of {order.label} than this machine")
        with temporary_folder() as parent:
            # Trackers take the name of a group from the folder two levels above the run.
            folder = parent / order.group / "runs" / order.name
            folder.parent.mkdir(parents=True)
            with determinism(order.recipe.train.deterministic):
                facts = order.job(dataset, folder, channel)
            if channel.stopped():
                return Delivery(name)
            machine = {"host": platform.node(), **timing_facts(torch.get_num_threads())}
            write_json(folder / WORKER, {"worker": name, "machine": machine})
            return Delivery(name, packed(folder), facts)


def _data(order: Order) -> tuple[Dataset, str]:
    """Return the data of an order and their fingerprint."""
    global _loaded  # noqa: PLW0603 - a worker makes many runs on the same data, one after the other
    task = (order.recipe.task, order.recipe.metrics)
    if _loaded is None or _loaded[0] != task:
        _loaded = None  # one data set in memory at a time
        there = order.data_dir if order.data_dir is not None and order.data_dir.is_dir() else None
        dataset = load_data(order.recipe, there, NO_PROGRESS)
        _loaded = task, dataset, fingerprint(dataset)
    return _loaded[1], _loaded[2]
