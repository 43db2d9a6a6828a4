"""A study with several workers: places, dead workers, and trials that count once."""

from __future__ import annotations

import fcntl
import json
import socket
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from momentum_cli.errors import DataError
from momentum_cli.recipe.axes import Range
from momentum_cli.recipe.recipe import load_recipe
from momentum_cli.tuning.folder import JOURNAL
from momentum_cli.tuning.objective import BestMetric
from momentum_cli.tuning.samplers import make_sampler
from momentum_cli.tuning.space import Space
from momentum_cli.tuning.storage import open_journal
from momentum_cli.tuning.study import MOST_ATTEMPTS, Assignment, Study

optuna.logging.set_verbosity(optuna.logging.ERROR)
SPACE = Space(load_recipe("digits"), {"optimizer.lr": Range(1e-3, 1e-1, log=True)})


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def worker(folder: Path, trials: int = 4, clock: Clock | None = None, sampler: str = "tpe") -> Study:
    """Return one worker's view of the study in a folder."""
    opened = optuna.create_study(
        storage=open_journal(folder), study_name="tune", direction="maximize", load_if_exists=True
    )
    study = Study(opened, SPACE, BestMetric("accuracy"), trials=trials, folder=folder / "trials", now=clock or Clock())
    opened.sampler = make_sampler(sampler, SPACE, trials, 0, study.place_of)
    return study


def facts(value: float, status: str = "done", error: str | None = None) -> dict[str, Any]:
    measured = {"best": value, "value": value, "test": None, "to_target": None, "curve": [[1, value]], "parameters": 3}
    times = {"steps": 1, "epochs": 0, "train_seconds": 0.5, "wall_seconds": 1, "elapsed": 1.5}
    return {"status": status, **measured, **times, "error": error, "folder": "trials/0000"}


def done(study: Study, assignment: Assignment | None, value: float = 0.5) -> bool:
    assert assignment is not None
    with assignment.held:
        return study.finish(assignment, facts(value))


def elsewhere(study: Study, assignment: Assignment) -> None:
    """Make a trial look like that of a worker on another machine, whose locks cannot be seen."""
    assignment.trial.set_user_attr("worker", {"host": "elsewhere", "process": 1, "folder": "/nowhere"})


def test_two_workers_share_the_places_and_none_is_made_twice(tmp_path: Path) -> None:
    one, two = worker(tmp_path), worker(tmp_path)
    running = [one.next(), two.next(), one.next(), two.next()]
    assert [assignment and assignment.place for assignment in running] == [0, 1, 2, 3]
    assert one.next() is None
    assert not one.is_over
    for study, assignment in zip((one, two) * 2, running, strict=True):
        assert done(study, assignment)
    assert one.is_over
    assert [row["trial"] for row in two.rows()] == [0, 1, 2, 3]
    assert sorted(path.name for path in (tmp_path / "trials").iterdir()) == ["0000", "0001", "0002", "0003"]


def test_a_trial_begun_beside_the_last_one_is_surplus_and_leaves_no_gap(tmp_path: Path) -> None:
    """Two workers ask at the same moment when one trial is missing; later the search becomes longer."""
    one = worker(tmp_path, trials=1)
    assignment = one.next()
    one.optuna.ask()  # what another worker does between its look at the study and its question
    late = worker(tmp_path, trials=1)
    late.optuna.tell(1, state=TrialState.FAIL)
    late.optuna._storage.set_study_user_attr(late.optuna._study_id, "seen", True)
    assert done(one, assignment)
    study = worker(tmp_path, trials=3)
    # The trial without facts lost its worker: its place is the next one, and nothing is lost or counted twice.
    assert study.give_back(alone=True) == [1]
    places = []
    while (assignment := study.next()) is not None:
        places.append(assignment.place)
        done(study, assignment)
    assert places == [1, 2]
    assert [row["trial"] for row in study.rows()] == [0, 1, 2]


def test_a_worker_without_a_beat_loses_its_trial_to_another_and_then_counts_no_more(tmp_path: Path) -> None:
    clock = Clock()
    lost, other = worker(tmp_path, 2), worker(tmp_path, 2, clock)
    assignment = lost.next()
    assert assignment is not None
    elsewhere(lost, assignment)
    assert other.give_back() == []  # first look
    clock.seconds = 59
    assert other.give_back() == []
    assignment.trial.set_user_attr("beat", 1)  # it lives
    clock.seconds = 100
    assert other.give_back() == []
    clock.seconds = 161
    assert other.give_back() == [0]
    taken = other.next()
    assert taken is not None
    assert (taken.place, taken.values) == (0, assignment.values)
    assert taken.folder != assignment.folder
    assert not done(lost, assignment, 0.9)  # it wakes up too late
    assert done(other, taken, 0.4)
    assert [(row["trial"], row["best"]) for row in other.rows()] == [(0, 0.4)]
    following = other.next()
    assert following is not None
    assert following.place == 1


def test_without_locks_a_worker_of_this_machine_is_known_by_its_beat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    one, other = worker(tmp_path, 2), worker(tmp_path, 2, clock)

    def refuse(handle: object, operation: int) -> None:
        raise OSError("no locks")

    assignment = one.next()
    assert assignment is not None
    with assignment.held, monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", refuse)
        assert other.give_back() == []
        clock.seconds = 61
        assert other.give_back() == [0]


def test_a_dead_worker_of_this_machine_is_known_by_its_lock_and_its_run_continues(tmp_path: Path) -> None:
    dead, other = worker(tmp_path), worker(tmp_path)
    assignment = dead.next()
    assert assignment is not None
    assert other.give_back() == []  # its folder is locked
    assignment.held.close()
    assert other.give_back() == [0]
    again = other.next()
    assert again is not None
    assert (again.place, again.folder, other.attempts(again)) == (0, assignment.folder, 2)


@pytest.mark.parametrize("what", ["another folder", "a run", "a link"])
def test_a_run_continues_in_no_folder_but_one_of_a_trial(tmp_path: Path, what: str) -> None:
    """A study from a stranger may name any folder of this machine."""
    (tmp_path / "study").mkdir()
    dead, other = worker(tmp_path / "study"), worker(tmp_path / "study")
    assignment = dead.next()
    assert assignment is not None
    assignment.held.close()
    mine = tmp_path / "mine" / ("trials/0000" if what == "a link" else "thesis")
    mine.mkdir(parents=True)
    (mine / "precious.txt").write_text("precious")
    if what == "a run":
        (mine / ".momentumrnn-run").touch()
    if what == "a link":
        (mine / ".momentumrnn-run").touch()
        (tmp_path / "trials").mkdir()
        (tmp_path / "trials" / "0000").symlink_to(mine)
        mine = tmp_path / "trials" / "0000"
    assignment.trial.set_user_attr("worker", {"host": socket.gethostname(), "process": 1, "folder": str(mine)})
    assert other.give_back() == [0]
    again = other.next()
    assert again is not None
    assert again.folder == tmp_path / "study" / "trials" / "0000-2"


DAMAGE: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "a missing fact": (lambda notes: notes["facts"].pop("elapsed"), "elapsed must be a number, got nothing"),
    "a fact of another type": (lambda notes: notes["facts"].update(steps="4"), "steps must be an integer, got '4'"),
    "a status": (lambda notes: notes["facts"].update(status="dome"), "status must be one of done, pruned, failed"),
    "a curve": (lambda notes: notes["facts"].update(curve=[[1]]), "curve must be pairs of a step and a value"),
    "a target": (lambda notes: notes["facts"].update(to_target={"step": 1}), "steps must be an integer, got nothing"),
    "facts": (lambda notes: notes.update(facts=3), "facts must be an object, got 3"),
    "values": (lambda notes: notes.pop("values"), "values must be an object, got nothing"),
    "a place": (lambda notes: notes.update(place="0"), "place must be an integer, got '0'"),
    "a worker": (lambda notes: notes["worker"].pop("host"), "host must be text, got nothing"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_trial_of_a_damaged_study_is_named(tmp_path: Path, what: str) -> None:
    damage, message = DAMAGE[what]
    done(study := worker(tmp_path), study.next())
    (trial,) = study.optuna.get_trials(deepcopy=True)
    notes = dict(trial.user_attrs)
    damage(notes)
    (path := tmp_path / JOURNAL).unlink()
    copied = optuna.create_study(storage=open_journal(tmp_path), study_name="tune", direction="maximize")
    copied.add_trial(optuna.trial.create_trial(value=0.5, user_attrs=notes))
    assert path.exists()
    with pytest.raises(DataError, match=f"trial 0 of its study is damaged \\(`?{message.replace(' ', '`? ', 1)}"):
        worker(tmp_path).rows()


def test_a_trial_that_takes_its_workers_down_is_given_up_but_not_one_that_was_told_to_stop(tmp_path: Path) -> None:
    study = worker(tmp_path)
    for attempt in range(1, MOST_ATTEMPTS + 2):
        assignment = study.next()
        assert assignment is not None
        assert (assignment.place, study.attempts(assignment)) == (0, attempt)
        study.hand_over(assignment)
        assignment.held.close()
        assignment = study.next()
        assert assignment is not None
        assert (assignment.place, study.attempts(assignment)) == (0, attempt)
        assignment.held.close()
        assert study.give_back(alone=True) == [0]


def test_a_worker_that_died_between_two_notes_is_settled(tmp_path: Path) -> None:
    """Killed between the facts and the word to Optuna, and between failing a trial and beginning it again."""
    study = worker(tmp_path)
    first, second = study.next(), study.next()
    assert first is not None
    assert second is not None
    first.trial.set_user_attr("facts", facts(0.7))
    study.optuna.tell(second.trial, state=TrialState.FAIL)
    again = worker(tmp_path)
    assert again.give_back(alone=True) == [1]
    assert [(row["trial"], row["score"]) for row in again.rows()] == [(0, 0.7)]
    following = again.next()
    assert following is not None
    assert (following.place, following.values) == (1, second.values)


@pytest.mark.parametrize("sampler", ["tpe", pytest.param("gp", marks=pytest.mark.slow), "qmc", "random"])
def test_a_study_opened_anew_before_every_trial_draws_what_an_unbroken_one_draws(tmp_path: Path, sampler: str) -> None:
    def drawn(folder: Path, broken: bool) -> list[float]:
        folder.mkdir()
        study, found = worker(folder, 14, sampler=sampler), []
        for number in range(14):
            if broken:
                study = worker(folder, 14, sampler=sampler)
                if number % 3 == 0:  # a worker that dies over its trial
                    lost = study.next()
                    assert lost is not None
                    lost.held.close()
                    study.give_back(alone=True)
            assignment = study.next()
            assert assignment is not None
            found.append(float(str(assignment.values["optimizer.lr"])))
            done(study, assignment, -abs(found[-1] - 0.02))
        return found

    whole = drawn(tmp_path / "whole", False)
    assert drawn(tmp_path / "broken", True) == whole
    assert whole[0] == 0.01  # the recipe's own
    assert len(set(whole)) > 10


def test_a_sampler_that_learns_comes_closer_than_chance(tmp_path: Path) -> None:
    def error(sampler: str) -> float:
        folder = tmp_path / sampler
        folder.mkdir()
        study = worker(folder, 30, sampler=sampler)
        found = []
        while (assignment := study.next()) is not None:
            found.append(abs(float(str(assignment.values["optimizer.lr"])) - 0.03))
            done(study, assignment, -found[-1])
        return median(found[15:])

    random = error("random")
    assert error("tpe") < random / 1.5
    assert error("gp") < random / 3


def test_a_diverged_trial_is_one_that_a_sampler_sees_and_a_crashed_one_is_not(tmp_path: Path) -> None:
    study = worker(tmp_path)
    for error in ("diverged: step 3", "OSError: disk"):
        assignment = study.next()
        assert assignment is not None
        study.finish(assignment, facts(0.1, "failed", error))
    assert [trial.state for trial in study.optuna.trials] == [TrialState.PRUNED, TrialState.FAIL]
    assert [row["error"] for row in study.rows()] == ["diverged: step 3", "OSError: disk"]


def test_a_torn_last_line_of_the_journal_is_dropped_and_a_torn_one_inside_is_refused(tmp_path: Path) -> None:
    done(study := worker(tmp_path), study.next())
    path = tmp_path / JOURNAL
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"op_code":4,"wor')  # a kill in the middle of a write
    study = worker(tmp_path)
    assert done(study, study.next())
    assert all(json.loads(line) for line in path.read_text().splitlines())
    assert len(worker(tmp_path).rows()) == 2
    lines = whole.splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0][:9] + b"\n", *lines[1:]]))
    with pytest.raises(DataError, match="is damaged"):
        open_journal(tmp_path)
    # Optuna passes over a damaged last line until it has written another.
    path.write_bytes(b"".join([*lines[:-1], lines[-1][:9] + b"\x01" + lines[-1][10:]]))
    with pytest.raises(DataError, match=r"study\.journal is damaged \(Invalid control character"):
        worker(tmp_path).next()
