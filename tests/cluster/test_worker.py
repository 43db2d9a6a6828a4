"""What a worker does, without a cluster."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from momentum_cli.benchmark.plan.plan import RunSpec
from momentum_cli.benchmark.running.cluster import RunJob
from momentum_cli.cluster.archive import unpack
from momentum_cli.cluster.fingerprint import fingerprint
from momentum_cli.cluster.order import Channel, Delivery, Order, seldom, versions
from momentum_cli.cluster.worker import carry_out
from momentum_cli.recipe.building import load_data
from momentum_cli.recipe.recipe import Recipe, load_recipe
from momentum_cli.tuning.remote import TrialJob, heard
from momentum_cli.tuning.trial import Position

RECIPE = load_recipe("digits", ["model.hidden_size=4", "target=null", "train={max_steps: 6, eval_every_n_steps: 2}"])


def order(recipe: Recipe = RECIPE, **changes: Any) -> Order:
    run = RunSpec("digits-lstm-seed0", "digits", "lstm", recipe)
    wanted = Order(
        name=run.id,
        group="bench",
        label="digits",
        recipe=recipe,
        fingerprint=fingerprint(load_data(RECIPE)),
        data_dir=None,
        job=RunJob(run, "cpu"),
        version=versions(),
    )
    return replace(wanted, **changes)


class Reports:
    """The other end of a channel: keeps the reports, and answers those that are waited for."""

    def __init__(self, answers: bool = False, stopped_after: int | None = None) -> None:
        self.told: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []
        self._answer = answers
        self._left = stopped_after

    def channel(self) -> Channel:
        return Channel(self.told.append, self._ask, self._stopped)

    def _ask(self, report: dict[str, Any]) -> bool:
        self.asked.append(report)
        return self._answer

    def _stopped(self) -> bool:
        if self._left is None:
            return False
        self._left -= 1
        return self._left < 0


def made(wanted: Order, reports: Reports | None = None) -> Delivery:
    return carry_out(wanted, "tcp://worker (w)", (reports or Reports()).channel())


def test_a_worker_refuses_other_data_and_other_versions() -> None:
    assert made(order()).refusal == ""
    assert "has other data of digits" in made(order(fingerprint="0")).refusal
    assert "not momentumrnn 0" in made(order(version="momentumrnn 0")).refusal
    lacking = {"path": "/no/such/file.csv", "kind": "classification", "target": "label"}
    recipe = replace(RECIPE, task=replace(RECIPE.task, name="files", options=lacking))
    told = made(order(recipe, label="mine")).refusal
    assert told.startswith("lacks the data of mine: ")
    assert "/no/such/file.csv" in told


def test_a_fingerprint_differs_where_one_value_does() -> None:
    dataset = load_data(RECIPE)
    assert fingerprint(dataset) == fingerprint(load_data(RECIPE))
    fewer = replace(dataset, test=dataset.test.head(len(dataset.test) - 1))
    assert fingerprint(fewer) != fingerprint(dataset)


def test_a_run_that_cannot_begin_comes_back_with_its_error(tmp_path: Path) -> None:
    wanted = order()
    assert isinstance(wanted.job, RunJob)
    delivery = made(replace(wanted, job=replace(wanted.job, accelerator="tpu")))
    assert delivery.folder is not None
    unpack(delivery.folder, tmp_path / "runs" / "x")
    assert "tpu" in json.loads((tmp_path / "runs" / "x" / "result.json").read_text())["error"]
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["x"]


def test_a_stopped_run_sends_nothing_back() -> None:
    for count in (0, 3):
        assert made(order(), Reports(stopped_after=count)) == Delivery("tcp://worker (w)")


def trial(judged: bool) -> Order:
    return order(job=TrialJob(RECIPE, "accuracy", "cpu", judged=judged))


def test_evaluations_of_a_trial_are_told_and_the_last_one_is_that_of_its_result(tmp_path: Path) -> None:
    reports = Reports()
    delivery = made(trial(judged=False), reports)
    assert reports.asked == []
    positions = [heard(report) for report in reports.told if "evaluated" in report]
    # The one at the end of the budget has nothing left to decide.
    assert [position.step for position in positions] == [2, 4]
    assert delivery.facts["status"] == "done"
    assert [list(pair) for pair in positions[-1].values] == delivery.facts["curve"][:2]
    assert delivery.folder is not None
    unpack(delivery.folder, tmp_path / "0000")
    assert json.loads((tmp_path / "0000" / "result.json").read_text())["best"]["value"] == delivery.facts["best"]
    assert json.loads((tmp_path / "0000" / "worker.json").read_text())["worker"] == "tcp://worker (w)"


def test_a_pruned_trial_ends_at_the_answer_and_keeps_its_checkpoint(tmp_path: Path) -> None:
    reports = Reports(answers=True)
    delivery = made(trial(judged=True), reports)
    assert [heard(report).step for report in reports.asked] == [2]
    assert delivery.facts["status"] == "pruned"
    assert delivery.facts["steps"] == 2
    assert delivery.folder is not None
    unpack(delivery.folder, tmp_path / "0000")
    assert (tmp_path / "0000" / "checkpoints" / "last.safetensors").is_file()


def test_an_error_of_a_trial_comes_back_as_its_facts() -> None:
    facts = made(order(job=TrialJob(RECIPE, "accuracy", "tpu", judged=False))).facts
    assert facts["status"] == "failed"
    assert "tpu" in facts["error"]


def test_a_position_survives_its_report() -> None:
    position = Position(3, None, [(1, 0.25), (2, float("inf"))], 0.5)
    report = {"position": json.loads(json.dumps({"step": 3, "total_steps": None, "values": [[1, 0.25], [2, 1e999]]}))}
    assert heard({"position": report["position"] | {"train_seconds": 0.5}}) == position


def test_states_are_shown_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([10.0, 10.0, 10.5, 11.2, 11.2])
    monkeypatch.setattr("momentum_cli.cluster.order.time.monotonic", lambda: next(times))
    seen: list[int] = []
    show = seldom(seen.append)
    for number in range(3):
        show(number)
    assert seen == [0, 2]
