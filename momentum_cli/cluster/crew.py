"""The workers of a cluster, as seen by the process that has runs to make.

A run whose worker is lost begins again on another one; its steps are the same. A worker whose data or versions differ
is left out, with a warning that says so.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from momentum_cli.cluster.order import Delivery, Order
from momentum_cli.cluster.worker import work
from momentum_cli.errors import DataError, RunError

_LOOK_EVERY_SECONDS = 1.0


@dataclass(frozen=True)
class Report:
    """A report of a running job.

    Args:
        order: Name of its order.
        worker: Name of its worker.
        content: What the job sent; empty when it begins.
        answers: Where an answer goes; None if the job waits for none.
        number: Number of the question.
    """

    order: str
    worker: str
    content: dict[str, Any]
    answers: str | None = None
    number: int = 0


class Crew:
    """Workers that train one run at a time; a context manager, whose end cancels the runs that are not over.

    Args:
        client: From `momentum_cli.cluster.connection.connected`.
        warn: Receives a message naming each worker that is left out, and why.
    """

    def __init__(self, client: Any, *, warn: Callable[[str], None]) -> None:
        self._client = client
        self._warn = warn
        self._topic = f"momentumrnn-{uuid.uuid4().hex}"
        self._sent: dict[Any, Order] = {}
        self._left_out: dict[str, str] = {}
        self._able: list[str] = []
        self._looked_at = -_LOOK_EVERY_SECONDS
        self._alone = False
        self._answers: dict[str, dict[str, Any]] = {}
        # They arrive in another thread, and are handled in that of the caller.
        self._reports: deque[dict[str, Any]] = deque()
        self._news = threading.Event()

    def __enter__(self) -> Self:
        self._client.subscribe_topic(self._topic, self._arrived)
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A scheduler that is gone has no runs either.
        with contextlib.suppress(Exception):
            if self._sent:
                self._client.cancel(list(self._sent), force=True)
            self._client.unsubscribe_topic(self._topic)

    @property
    def busy(self) -> int:
        """Runs that were sent and are not over."""
        return len(self._sent)

    def free(self) -> int:
        """Return the number of workers without a run.

        Raises:
            DataError: No worker can train the runs.
            RunError: There are no workers, or no scheduler any more.
        """
        if time.monotonic() - self._looked_at >= _LOOK_EVERY_SECONDS:
            self._look()
        return max(0, len(self._able) - len(self._sent))

    def send(self, order: Order) -> None:
        """Give a run to a worker."""
        options: dict[str, Any] = {"pure": False}
        if self._left_out and self._able:
            # Others remain allowed: those that join later, if all of these are lost.
            options |= {"workers": self._able, "allow_other_workers": True}
        future = self._client.submit(work, order, self._topic, **options)
        self._sent[future] = order
        future.add_done_callback(lambda future: self._news.set())

    def wait(self, seconds: float) -> None:
        """Wait until a report or a delivery arrives, at most so many seconds."""
        self._news.wait(seconds)
        self._news.clear()

    def reports(self) -> Iterator[Report]:
        """Yield the reports of running jobs that have arrived."""
        while self._reports:
            event = self._reports.popleft()
            if any(order.name == event["order"] for order in self._sent.values()):
                yield Report(event["order"], event["by"], event["report"], event.get("answers"), event.get("number", 0))

    def answer(self, report: Report, answer: Any) -> None:
        """Answer a report, if its job waits for that."""
        from distributed import Queue

        if report.answers is None:
            return
        queues = self._answers.setdefault(report.order, {})
        if report.answers not in queues:
            queues[report.answers] = Queue(report.answers, client=self._client)
        queues[report.answers].put((report.number, answer))

    def deliveries(self) -> Iterator[tuple[str, Delivery]]:
        """Yield (name of the order, delivery) of the runs that are over.

        Raises:
            DataError: No worker can train a run.
            RunError: There are no workers, or no scheduler any more.
        """
        for future in [future for future in self._sent if future.done()]:
            order = self._sent.pop(future)
            for queue in self._answers.pop(order.name, {}).values():
                queue.close()
            if future.status == "error":
                yield order.name, Delivery("", failure=_failure(future))
                continue
            # Cancelled are the runs of a scheduler that was restarted, or is gone: these do not count as failed.
            delivery: Delivery = future.result() if future.status == "finished" else Delivery("")
            if delivery.folder is not None:
                yield order.name, delivery
                continue
            address = delivery.worker.partition(" ")[0]
            if delivery.refusal and address not in self._left_out:
                self._left_out[address] = delivery.refusal
                self._warn(f"worker {delivery.worker} {delivery.refusal}; it is left out")
            self._look()
            self.send(order)

    def _arrived(self, event: tuple[float, dict[str, Any]]) -> None:
        self._reports.append(event[1])
        self._news.set()

    def _look(self) -> None:
        """Look which workers there are, and who of them has not refused."""
        self._looked_at = time.monotonic()
        try:
            # Not `scheduler_info`, which another thread replaces by one without workers every other second.
            workers = list(self._client.nthreads())
        except (OSError, TimeoutError) as error:
            raise RunError(
                "--cluster: the scheduler can no longer be reached; the same command continues once it can "
                f"({str(error).splitlines()[0]})"
            ) from error
        self._able = [address for address in workers if address not in self._left_out]
        if workers and not self._able:
            reasons = "; ".join(f"{address} {self._left_out[address]}" for address in workers)
            raise DataError(f"--cluster: no worker can make the runs: {reasons}")
        if not workers and not self._sent:
            raise RunError("--cluster: the scheduler has no workers; start some with: dask worker ADDRESS")
        if not workers and not self._alone:
            self._warn("the cluster has lost all its workers; the runs wait for new ones: dask worker ADDRESS")
        self._alone = not workers


def _failure(future: Any) -> str:
    error = future.exception()
    if type(error).__name__ == "KilledWorker":
        return "crashed: several workers were lost one after the other while they made it (out of memory?)"
    lines = str(error).strip().splitlines()
    return f"crashed: {type(error).__name__}" + (f": {lines[0]}" if lines else "")
