"""Runs of a benchmark on the workers of a Dask cluster."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from momentum_cli.benchmark.plan.plan import RunSpec
from momentum_cli.benchmark.running.contender import Contender
from momentum_cli.benchmark.running.outcome import read_outcome, stillborn
from momentum_cli.cluster.archive import unpack
from momentum_cli.cluster.crew import Crew
from momentum_cli.cluster.order import Channel, Order, seldom, versions
from momentum_cli.data import Dataset
from momentum_cli.errors import RunError
from momentum_cli.progress import RunState
from momentum_cli.training.launch import launch

_WAIT_SECONDS = 0.5


@dataclass(frozen=True)
class RunJob:
    """Trains a run of a benchmark on a worker; see `momentum_cli.cluster.order.Job`."""

    run: RunSpec
    accelerator: str

    def __call__(self, dataset: Dataset, folder: Path, channel: Channel) -> None:
        def show(state: RunState) -> None:
            channel.tell(asdict(state))

        try:
            fabric = launch(self.run.recipe, 1, 1, self.accelerator)
            contender = Contender(self.run, folder, dataset, fabric, show=seldom(show))
        except Exception as error:
            stillborn(self.run, folder, error)
            return
        contender.work(channel.stopped)


def work_in_cluster(
    runs: Sequence[RunSpec],
    folder: Path,
    *,
    client: Any,
    fingerprints: dict[str, str],
    data_dir: Path | None,
    accelerator: str,
    show: Callable[[RunState], None],
    over: Callable[[RunSpec, dict[str, Any]], None],
    warn: Callable[[str], None],
    stopped: Callable[[], bool],
) -> list[tuple[str, dict[str, Any]]]:
    """Train runs on the workers of a cluster, one at a time on each.

    Args:
        runs: In the order in which they are started.
        folder: Parent of their folders.
        client: From `momentum_cli.cluster.connection.connected`.
        fingerprints: Fingerprint of the data of each comparison.
        data_dir: Folder of the data sets, which workers use where they have it.
        accelerator: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        show: Receives the states of the runs.
        over: Receives each run that is over, and its result.
        warn: Receives a message naming each worker that is left out, and why.
        stopped: Called often; True ends the runs.

    Returns:
        (id, result) of every run that is over.

    Raises:
        DataError: No worker can train a run.
        RunError: The cluster has no workers.
    """
    results: list[tuple[str, dict[str, Any]]] = []
    waiting, sent = deque(runs), {run.id: run for run in runs}
    with Crew(client, warn=warn) as crew:
        while (waiting or crew.busy) and not stopped():
            while waiting and crew.free():
                run = waiting.popleft()
                crew.send(
                    Order(
                        name=run.id,
                        group=folder.parent.name,
                        label=run.comparison,
                        recipe=run.recipe,
                        fingerprint=fingerprints[run.comparison],
                        data_dir=data_dir,
                        job=RunJob(run, accelerator),
                        version=versions(),
                    )
                )
            crew.wait(_WAIT_SECONDS)
            for report in crew.reports():
                if report.content:
                    show(RunState(**report.content))
            for name, delivery in crew.deliveries():
                run, home = sent[name], folder / name
                if delivery.folder is None:
                    result = stillborn(run, home, RunError(delivery.failure))
                else:
                    unpack(delivery.folder, home)
                    result = read_outcome(home)
                results.append((name, result))
                over(run, result)
    return results
