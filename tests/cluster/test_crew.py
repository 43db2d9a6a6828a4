"""The workers of a cluster as their client sees them, with a client that has no cluster."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from momentum_cli.cluster.crew import Crew
from momentum_cli.cluster.order import Delivery, Order
from momentum_cli.errors import DataError, RunError
from momentum_cli.recipe.recipe import load_recipe


class Future:
    def __init__(self, order: Order, workers: list[str] | None) -> None:
        self.order, self.workers = order, workers
        self.status = "pending"
        self._result: Any = None

    def add_done_callback(self, call: Callable[[Any], None]) -> None:
        self._call = call

    def end(self, result: Any, status: str = "finished") -> None:
        self._result, self.status = result, status
        self._call(self)

    def done(self) -> bool:
        return self.status != "pending"

    def result(self) -> Any:
        return self._result

    def exception(self) -> Any:
        return self._result


class Client:
    """Has workers a and b, and keeps what is submitted."""

    def __init__(self, *workers: str) -> None:
        self.workers: dict[str, int] | Exception = dict.fromkeys(workers, 1)
        self.futures: list[Future] = []
        self.cancelled: list[Future] = []

    def nthreads(self) -> dict[str, int]:
        if isinstance(self.workers, Exception):
            raise self.workers
        return self.workers

    def submit(self, function: Any, order: Order, topic: str, *, workers: Any = None, **options: Any) -> Future:
        self.futures.append(Future(order, workers))
        return self.futures[-1]

    def subscribe_topic(self, topic: str, call: Callable[[Any], None]) -> None:
        self.publish = call

    def unsubscribe_topic(self, topic: str) -> None:
        pass

    def cancel(self, futures: list[Future], *, force: bool) -> None:
        self.cancelled += futures


def order(name: str) -> Order:
    recipe = load_recipe("digits")
    return Order(name, "group", "digits", recipe, "", None, lambda *rest: None, "")


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock of the crew's that passes the time between two looks at every reading."""
    now = SimpleNamespace(seconds=0.0)

    def read() -> float:
        now.seconds += 10.0
        return float(now.seconds)

    monkeypatch.setattr("momentum_cli.cluster.crew.time.monotonic", read)
    return now


def test_each_worker_has_one_run_and_new_ones_get_the_next() -> None:
    client = Client("a", "b")
    with Crew(client, warn=pytest.fail) as crew:
        assert crew.free() == 2
        for name in ("0", "1"):
            crew.send(order(name))
        assert crew.free() == 0
        client.workers = dict.fromkeys("abc", 1)
        assert crew.free() == 1
        client.workers = {"a": 1}  # one of the two is sent to a by the scheduler, and waits there
        assert crew.free() == 0
        client.futures[1].end(Delivery("a (a)", b"folder"))
        assert [name for name, _ in crew.deliveries()] == ["1"]
        assert crew.busy == 1
    assert client.cancelled == [client.futures[0]]


def test_a_worker_that_refuses_is_left_out_and_its_run_sent_to_another() -> None:
    client, told = Client("a", "b"), list[str]()
    with Crew(client, warn=told.append) as crew:
        crew.send(order("0"))
        client.futures[0].end(Delivery("a (one)", refusal="lacks the data of digits: no file"))
        assert list(crew.deliveries()) == []
        assert told == ["worker a (one) lacks the data of digits: no file; it is left out"]
        assert client.futures[1].order.name == "0"
        assert client.futures[1].workers == ["b"]
        assert crew.free() == 0
        client.futures[1].end(Delivery("b (two)", refusal="lacks them, too"))
        with pytest.raises(DataError, match=r"no worker can make the runs: a lacks the data .*; b lacks them, too"):
            list(crew.deliveries())


def test_lost_workers_are_waited_for_if_there_were_any() -> None:
    client, told = Client(), list[str]()
    with Crew(client, warn=told.append) as crew:
        with pytest.raises(RunError, match="the scheduler has no workers; start some with: dask worker"):
            crew.free()
        client.workers = {"a": 1}
        assert crew.free() == 1
        crew.send(order("0"))
        client.workers = {}
        assert crew.free() == crew.free() == 0
        assert len(told) == 1
        assert told[0].startswith("the cluster has lost all its workers")


def test_a_cancelled_run_is_sent_again_and_a_crash_comes_back() -> None:
    client = Client("a")
    with Crew(client, warn=pytest.fail) as crew:
        crew.send(order("0"))
        client.futures[0].end(None, "cancelled")
        assert list(crew.deliveries()) == []
        client.futures[1].end(MemoryError("too large\nfor it"), "error")
        assert list(crew.deliveries()) == [("0", Delivery("", failure="crashed: MemoryError: too large"))]
        crew.send(order("1"))
        client.workers = OSError("Timed out\nafter 30 s")
        client.futures[2].end(None, "cancelled")
        with pytest.raises(RunError, match=r"can no longer be reached; .* \(Timed out\)"):
            list(crew.deliveries())


def test_reports_of_runs_that_are_over_are_dropped() -> None:
    client = Client("a")
    with Crew(client, warn=pytest.fail) as crew:
        crew.send(order("0"))
        for name in ("0", "1"):
            client.publish((0.0, {"order": name, "by": "one", "report": {"step": 3}}))
        (report,) = crew.reports()
        assert (report.order, report.worker, report.content, report.answers) == ("0", "one", {"step": 3}, None)
        crew.answer(report, True)  # nobody waits
        client.publish((0.0, {"order": "0", "by": "one", "report": {}}))
        client.futures[0].end(Delivery("a", b""))
        list(crew.deliveries())
        assert list(crew.reports()) == []
