"""A search whose trials run on the workers of a Dask cluster.

The study stays in this process: it draws the values of a trial for each free worker, receives the evaluations of the
running ones and judges them, and keeps the folders that come back.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from momentum_cli.cluster.archive import unpack
from momentum_cli.cluster.crew import Crew, Report
from momentum_cli.cluster.fingerprint import fingerprint
from momentum_cli.cluster.order import Delivery, Order, versions
from momentum_cli.errors import RunError
from momentum_cli.progress import TrialState
from momentum_cli.recipe.recipe import Recipe
from momentum_cli.tuning.remote import TrialJob, heard
from momentum_cli.tuning.results import values_text
from momentum_cli.tuning.study import Assignment, Study
from momentum_cli.tuning.trial import failed
from momentum_cli.tuning.worker import Judge, Worker

_WAIT_SECONDS = 0.5


@dataclass(frozen=True)
class _Running:
    """A trial that was sent to the cluster."""

    assignment: Assignment
    judge: Judge
    state: TrialState
    begun: float


class Dispatcher:
    """Sends the trials of a search to the workers of a cluster.

    Args:
        study: The study.
        worker: Knows the recipes of the trials and their data, and shows them.
        crew: The workers of the cluster.
        group: Name of the folder of the search.
        data_dir: Folder of the data sets, which workers use where they have it.
        accelerator: ``"auto"``, ``"cpu"`` or ``"cuda"``.
    """

    def __init__(
        self, study: Study, worker: Worker, crew: Crew, *, group: str, data_dir: Path | None, accelerator: str
    ) -> None:
        self._study = study
        self._worker = worker
        self._crew = crew
        self._group = group
        self._data_dir = data_dir
        self._accelerator = accelerator
        self._running: dict[str, _Running] = {}
        self._fingerprints: list[tuple[Any, str]] = []

    def work(self, late: Callable[[], bool]) -> None:
        """Run trials until all are over, no more are to begin, or a signal arrives, which gives running ones back.

        Args:
            late: Called often; True once no trial is to begin any more.

        Raises:
            DataError: No worker can train the trials.
            RunError: The cluster has no workers.
        """
        try:
            while not self._worker.received:
                last = late()
                if not self._running and (last or self._study.is_over):
                    return
                if not last and self._crew.free():
                    self._worker.give_back(self._study)
                    while self._crew.free() and (assignment := self._study.next()) is not None:
                        self._begin(assignment)
                if not self._running:
                    self._worker.watch(self._study)
                self._crew.wait(_WAIT_SECONDS)
                for report in self._crew.reports():
                    self._hear(report)
                for name, delivery in self._crew.deliveries():
                    self._end(self._running.pop(name), delivery)
        finally:
            for running in self._running.values():
                self._study.hand_over(running.assignment)
                running.assignment.held.close()

    def _begin(self, assignment: Assignment) -> None:
        """Send a trial to the cluster, unless it is over already."""
        worker, study, name = self._worker, self._study, f"{assignment.place:04d}"
        state = TrialState(assignment.place, values_text(assignment.values, study.space.keys), "running")
        worker.show(state)
        begun = time.monotonic()
        assignment.held.enter_context(study.beating(assignment))
        try:
            facts = worker.known_facts(study, assignment)
            if facts is None:
                recipe = worker.recipe_of(study, assignment)
                self._crew.send(self._order(name, recipe))
                judge = worker.judge_of(study, assignment, recipe)
                self._running[name] = _Running(assignment, judge, state, begun)
        except Exception as error:
            facts = failed(assignment.folder, error)
        if facts is not None:
            with assignment.held:
                worker.record(study, assignment, facts, time.monotonic() - begun)

    def _order(self, name: str, recipe: Recipe) -> Order:
        worker = self._worker
        job = TrialJob(recipe, worker.metric, self._accelerator, judged=worker.options.pruner != "none")
        return Order(
            name=name,
            group=self._group,
            label=recipe.task.name,
            recipe=recipe,
            fingerprint=self._fingerprint_of(recipe),
            data_dir=self._data_dir,
            job=job,
            version=versions(),
        )

    def _fingerprint_of(self, recipe: Recipe) -> str:
        mark = recipe.task, recipe.metrics
        for known, found in self._fingerprints:
            if known == mark:
                return found
        found = fingerprint(self._worker.data_of(recipe))
        self._fingerprints.append((mark, found))
        return found

    def _hear(self, report: Report) -> None:
        """Show the position of a trial, and judge it if it was evaluated."""
        running = self._running[report.order]
        if not report.content:
            return
        position = heard(report.content)
        self._worker.show(position.shown(running.state, report.worker))
        if "evaluated" in report.content:
            self._crew.answer(report, running.judge(position))

    def _end(self, running: _Running, delivery: Delivery) -> None:
        """Keep the folder of a trial that is over, and record it."""
        assignment = running.assignment
        with assignment.held:
            if delivery.folder is None:
                facts = failed(assignment.folder, RunError(delivery.failure))
            else:
                unpack(delivery.folder, assignment.folder)
                facts = delivery.facts
            self._worker.record(self._study, assignment, facts, time.monotonic() - running.begun)
