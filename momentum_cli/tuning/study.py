"""A study that any number of workers share: its next trial, those that are over, and those that lost their worker.

A trial has a *place*, its number among the trials that count, from 0. Optuna's own numbers also count trials that were
begun again after their worker had died, and those that two workers began at the same moment when one was missing.

Every worker counts up a *beat* of its trial in the study. Whoever sees the same beat for `grace_seconds` on its own
clock gives the trial back: it fails, and a new one with the same values takes its place. No two clocks are compared.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from momentum_cli.errors import DataError, RecipeError
from momentum_cli.runs.folder import is_run_folder
from momentum_cli.runs.lock import is_locked, locked
from momentum_cli.tuning.folder import TRIALS
from momentum_cli.tuning.notes import check_notes
from momentum_cli.tuning.objective import Objective
from momentum_cli.tuning.space import Space, Values

BEAT_SECONDS = 10.0
GRACE_SECONDS = 60.0
MOST_ATTEMPTS = 3
"""Workers that a trial may cost: one whose memory does not suffice takes each of them down."""
_HOST = socket.gethostname()


@dataclass(frozen=True)
class Assignment:
    """A trial that this worker runs.

    Args:
        place: Its number among the trials that count.
        trial: Optuna's trial.
        values: Drawn values.
        folder: Run folder, which is locked until `held` is closed.
        held: The lock.
    """

    place: int
    trial: optuna.Trial
    values: Values
    folder: Path
    held: contextlib.ExitStack


class Study:
    """One worker's view of a study.

    Args:
        study: Optuna's study.
        space: The search space.
        objective: The score of a trial.
        trials: Number of trials of the whole search.
        folder: Parent of the run folders of this worker's trials.
        beat_seconds: Time between two beats, > 0.
        grace_seconds: Time without a beat after which a worker counts as dead, several times as long.
        now: Returns monotonic seconds.
    """

    def __init__(
        self,
        study: optuna.Study,
        space: Space,
        objective: Objective,
        *,
        trials: int,
        folder: Path,
        beat_seconds: float = BEAT_SECONDS,
        grace_seconds: float = GRACE_SECONDS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.optuna = study
        self.space = space
        self.objective = objective
        self.trials = trials
        self.folder = folder
        self._beat_seconds = beat_seconds
        self._grace_seconds = grace_seconds
        self._now = now
        self._seen: dict[tuple[int, Any], float] = {}
        self._whole: set[int] = set()
        self._mine: set[int] = set()

    # The state of the study.

    def place_of(self, trial: FrozenTrial) -> int:
        """Return the place of a trial, whether it is known already or not."""
        if "place" in trial.user_attrs:
            return int(trial.user_attrs["place"])
        before = [t for t in self._all() if t.number < trial.number]
        return sum("continues" not in t.user_attrs and "surplus" not in t.user_attrs for t in before)

    def counted(self) -> dict[int, FrozenTrial]:
        """Return the trials that count by place, running and finished ones."""
        found: dict[int, FrozenTrial] = {}
        for trial in self._all():
            if "surplus" not in trial.user_attrs and not _is_dead(trial):
                found.setdefault(self.place_of(trial), trial)
        return dict(sorted(found.items()))

    def rows(self) -> list[dict[str, Any]]:
        """Return the facts about the trials that are over, by place; see `momentum_cli.tuning.trial.facts_of`."""
        return [self.row(place, trial) for place, trial in self.counted().items() if _is_over(trial)]

    def row(self, place: int, trial: FrozenTrial) -> dict[str, Any]:
        """Return the facts about a trial that is over, with its place, its values and its score."""
        facts: dict[str, Any] = trial.user_attrs["facts"]
        score = trial.value if trial.state == TrialState.COMPLETE else None
        return {"trial": place, **facts, "values": trial.user_attrs["values"], "score": score}

    def running(self) -> list[int]:
        """Return the places of the trials that some worker is running."""
        return [place for place, trial in self.counted().items() if not _is_over(trial)]

    @property
    def is_over(self) -> bool:
        """True if all trials are over."""
        return len(self.rows()) >= self.trials

    # Work.

    def next(self) -> Assignment | None:
        """Return the next trial of this worker; None if all are over or taken by others."""
        while True:
            waiting = any(trial.state == TrialState.WAITING for trial in self._all())
            if len(self.counted()) >= self.trials and not waiting:
                return None
            trial = self.optuna.ask()
            frozen = self._frozen(trial)
            place = self.place_of(frozen)
            others = [t for t in self._all() if t.number < trial.number and not _is_dead(t)]
            taken = any("surplus" not in t.user_attrs and self.place_of(t) == place for t in others)
            if taken or place >= self.trials:
                trial.set_user_attr("surplus", True)
                self.optuna.tell(trial, state=TrialState.FAIL)
                continue
            trial.set_user_attr("place", place)
            values = self.space.draw(lambda key, axis, trial=trial: axis.suggest(trial, key))  # type: ignore[misc]
            trial.set_user_attr("values", values)
            folder, held = self._folder_for(place, frozen)
            # Only now, when the folder is locked: a worker whose folder is not locked is a dead one.
            trial.set_user_attr("worker", {"host": _HOST, "process": os.getpid(), "folder": str(folder.resolve())})
            self._mine.add(trial.number)
            return Assignment(place, trial, values, folder, held)

    def report(self, assignment: Assignment, number: int, value: float) -> None:
        """Add an evaluation of a running trial: its number from 1, and the compared metric."""
        signed = self.objective.sign() * value
        with contextlib.suppress(UpdateFinishedTrialError):  # `finish` says that it is no longer ours
            assignment.trial.report(signed, number)

    def finish(self, assignment: Assignment, facts: Mapping[str, Any]) -> bool:
        """Record that a trial is over; return False if this worker was taken for dead and another has the trial."""
        self._mine.discard(assignment.trial.number)
        try:
            assignment.trial.set_user_attr("facts", dict(facts))
            self._settle(assignment.trial.number, facts)
        except UpdateFinishedTrialError:
            return False
        return True

    def _settle(self, number: int, facts: Mapping[str, Any]) -> None:
        score = self.objective.score(facts) if facts["status"] == "done" else None
        if score is not None:
            self.optuna.tell(number, score, skip_if_finished=True)
        # A sampler must learn that a diverged run was bad, but it ignores failed trials.
        elif facts["status"] == "pruned" or str(facts["error"]).startswith("diverged"):
            self.optuna.tell(number, state=TrialState.PRUNED, skip_if_finished=True)
        else:
            self.optuna.tell(number, state=TrialState.FAIL, skip_if_finished=True)

    @contextlib.contextmanager
    def beating(self, assignment: Assignment) -> Iterator[None]:
        """Count up the beat of a trial inside the block."""
        over = threading.Event()

        def beat() -> None:
            number = 0
            while not over.wait(self._beat_seconds):
                number += 1
                # A database that is away for a moment must not end a training.
                with contextlib.suppress(Exception):
                    assignment.trial.storage.set_trial_user_attr(assignment.trial._trial_id, "beat", number)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    # Workers that died.

    def give_back(self, *, alone: bool = False) -> list[int]:
        """Give back the trials whose workers are dead; return their places.

        Args:
            alone: No other worker exists, so every running trial is one of a dead worker.
        """
        found = []
        trials = self._all()
        continued = {t.user_attrs["continues"] for t in trials if "continues" in t.user_attrs}
        for trial in trials:
            if trial.state == TrialState.RUNNING and self._has_no_worker(trial, alone):
                if "facts" in trial.user_attrs:  # killed just before it would have said so
                    self._settle(trial.number, trial.user_attrs["facts"])
                    continue
                if not self._fail(trial):
                    continue
            elif not _is_dead(trial) or trial.number in continued or not self._has_no_worker(trial, alone):
                continue
            if "surplus" not in trial.user_attrs:
                self._begin_again(trial)
                found.append(self.place_of(trial))
        return found

    def _has_no_worker(self, trial: FrozenTrial, alone: bool) -> bool:
        if alone:
            return True
        if trial.number in self._mine and trial.state == TrialState.RUNNING:
            return False  # some file systems have no locks that would show this
        worker = trial.user_attrs.get("worker")
        # Machines of one name, such as containers, do not see each other's folders.
        seen = worker is not None and worker["host"] == _HOST and Path(worker["folder"]).is_dir()
        if worker is not None and seen and trial.state == TrialState.RUNNING:
            locked_now = is_locked(Path(worker["folder"]))
            if locked_now is not None:
                return not locked_now
        mark = trial._trial_id, (trial.state, trial.user_attrs.get("beat"))
        since = self._seen.setdefault(mark, self._now())
        return self._now() - since > self._grace_seconds

    def _fail(self, trial: FrozenTrial) -> bool:
        """Fail a trial; False if another worker was first."""
        try:
            storage = self.optuna._storage
            return bool(storage.set_trial_state_values(trial._trial_id, state=TrialState.FAIL))
        except UpdateFinishedTrialError:
            return False

    def _begin_again(self, trial: FrozenTrial) -> None:
        attempt = int(trial.user_attrs.get("attempt", 1)) + ("stopped" not in trial.user_attrs)
        attributes = {"continues": trial.number, "place": self.place_of(trial), "attempt": attempt}
        worker = trial.user_attrs.get("worker")
        if worker is not None:
            attributes["from"] = worker
        self.optuna.enqueue_trial(trial.params, user_attrs=attributes)

    def hand_over(self, assignment: Assignment) -> None:
        """Give back a trial of this worker, which was told to stop; whoever is next continues it."""
        self._mine.discard(assignment.trial.number)
        with contextlib.suppress(UpdateFinishedTrialError):
            assignment.trial.set_user_attr("stopped", True)
            frozen = self._frozen(assignment.trial)
            if self._fail(frozen):
                self._begin_again(frozen)

    def attempts(self, assignment: Assignment) -> int:
        """Return how often a trial was begun, this time included; a worker that was told to stop does not count."""
        return int(assignment.trial.user_attrs.get("attempt", 1))

    def _folder_for(self, place: int, trial: FrozenTrial) -> tuple[Path, contextlib.ExitStack]:
        """Lock a new run folder, or that of a worker on this machine that died over the same trial."""
        before = trial.user_attrs.get("from")
        if before is not None and before["host"] == _HOST and _is_of_trial(Path(before["folder"]), place):
            with contextlib.suppress(RecipeError):
                return Path(before["folder"]), _lock(Path(before["folder"]))
        number = 0
        while True:
            number += 1
            folder = self.folder / (f"{place:04d}" if number == 1 else f"{place:04d}-{number}")
            with contextlib.suppress(FileExistsError):
                folder.mkdir(parents=True)
                return folder, _lock(folder)

    def _all(self) -> list[FrozenTrial]:
        """Return all trials.

        Raises:
            DataError: One is damaged.
        """
        trials = self.optuna.get_trials(deepcopy=False)
        for trial in trials:
            if trial.number not in self._whole:
                try:
                    check_notes(trial.user_attrs)
                except ValueError as error:
                    raise DataError(
                        f"{self.folder.parent}: trial {trial.number} of its study is damaged ({error}); name another "
                        "folder to begin a new one"
                    ) from error
            if trial.state.is_finished():
                self._whole.add(trial.number)
        return trials

    def _frozen(self, trial: optuna.Trial) -> FrozenTrial:
        return next(t for t in self._all() if t.number == trial.number)


def _is_dead(trial: FrozenTrial) -> bool:
    """Return True if a trial lost its worker."""
    return trial.state == TrialState.FAIL and "facts" not in trial.user_attrs and "surplus" not in trial.user_attrs


def _is_over(trial: FrozenTrial) -> bool:
    return trial.state.is_finished() and "facts" in trial.user_attrs


def _is_of_trial(folder: Path, place: int) -> bool:
    """Return True if a folder is one that `Study` makes for a trial: a study may name any folder of this machine."""
    named = re.fullmatch(rf"{place:04d}(-\d+)?", folder.name) and folder.parent.name == TRIALS
    if not named or not folder.is_dir() or folder != folder.resolve():
        return False
    return is_run_folder(folder) or not any(folder.iterdir())


def _lock(folder: Path) -> contextlib.ExitStack:
    with contextlib.ExitStack() as held:
        held.enter_context(locked(folder, "trial"))
        return held.pop_all()
