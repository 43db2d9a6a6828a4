"""A search on a real Dask scheduler and workers, and what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dask_cluster import RECIPE, Cluster, folder_with_data, started
from small_bench import write_recipe

from momentum_cli import Callback, tune
from momentum_cli.errors import DataError, Interrupted, RecipeError, RunError
from momentum_cli.progress import TrialState
from momentum_cli.runs.checkpoint import load_checkpoint
from momentum_cli.tuning.tune import tune as engine

pytest.importorskip("distributed")
TRIALS = 4


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with started(tmp_path) as made:
        yield made


def recipe_of(folder: Path, *, steps: int = 24, every: int = 4, **tuning: Any) -> str:
    path = Path(write_recipe(folder, train=f"{{max_steps: {steps}, batch_size: 16, eval_every_n_steps: {every}}}"))
    options = {"space": {"optimizer.lr": {"log": [1e-3, 1e-1]}}, "trials": TRIALS, "sampler": "qmc", **tuning}
    path.write_text(f"{path.read_text()}\ntune: {json.dumps(options)}\n", encoding="utf-8")
    return str(path)


class Watcher(Callback):
    """Notes which workers ran which trials, and can do something in the middle of one."""

    def __init__(self, act: Any = None, *, trial: int = 0, step: int = 0) -> None:
        self.where: dict[int, list[str]] = {}
        self.over: list[int] = []
        self._act, self._trial, self._step = act, trial, step

    def on_trial(self, state: TrialState) -> None:
        if state.status != "running":
            self.over.append(state.place)
        elif state.worker and state.worker not in self.where.setdefault(state.place, []):
            self.where[state.place].append(state.worker)
        if self._act is not None and state.worker and state.place == self._trial and state.step >= self._step:
            act, self._act = self._act, None
            act(state.worker)


def workers_of(content: dict[str, Any]) -> list[str]:
    names = [json.loads((Path(row["folder"]) / "worker.json").read_text())["worker"] for row in content["trials"]]
    return [name.partition("(")[2].rstrip(")") for name in names]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_search_on_two_workers_finds_what_it_finds_here_though_one_is_killed(
    cluster: Cluster, tmp_path: Path
) -> None:
    cluster.worker("one")
    cluster.worker("two")
    recipe = recipe_of(tmp_path, steps=500, every=50)
    watcher = Watcher(cluster.kill, trial=1, step=100)
    there = tune(recipe, out=tmp_path / "there", cluster=cluster.address, callbacks=[watcher]).to_dict()
    assert there["counts"] == {"done": TRIALS, "pruned": 0, "failed": 0}
    assert [row["trial"] for row in there["trials"]] == list(range(TRIALS))
    assert sorted(watcher.over) == list(range(TRIALS))
    lost, left = watcher.where[1]  # it began on one of them, and was trained to its end by the other one
    assert {lost, left} == {"one", "two"}
    assert workers_of(there)[1] == left
    assert set(workers_of(there)) <= {"one", "two"}
    here = tune(recipe, out=tmp_path / "here").to_dict()
    assert [row["values"] for row in there["trials"]] == [row["values"] for row in here["trials"]]
    for row, same in zip(there["trials"], here["trials"], strict=True):
        assert row["best"] == pytest.approx(same["best"], rel=1e-3)
        assert len(row["curve"]) == len(same["curve"]) == 10
    # What is over is kept: without any worker the same command only reports.
    cluster.kill(left)
    again = tune(recipe, out=tmp_path / "there", cluster=cluster.address).to_dict()
    assert again["trials"] == there["trials"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_pruned_trial_is_stopped_on_its_worker_and_keeps_its_checkpoint(cluster: Cluster, tmp_path: Path) -> None:
    cluster.worker("one")
    rates = [0.03, 1e-9, 2e-9, 3e-9, 4e-9, 5e-9, 6e-9, 7e-9]
    recipe = recipe_of(tmp_path, space={"optimizer.lr": rates}, trials=8, sampler="grid", pruner="hyperband")
    there = tune(recipe, out=tmp_path / "there", cluster=cluster.address).to_dict()
    pruned = [row for row in there["trials"] if row["status"] == "pruned"]
    assert pruned
    for row in pruned:
        last = load_checkpoint(Path(row["folder"]) / "checkpoints" / "last.safetensors")
        assert last.data["progress"]["step"] == row["steps"] == row["curve"][-1][0] < 24
    # With one worker the order is that of a search in one process, and so are the judgements.
    here = tune(recipe, out=tmp_path / "here").to_dict()
    assert [(r["status"], r["steps"]) for r in there["trials"]] == [(r["status"], r["steps"]) for r in here["trials"]]


# Says when its first trial is running, and is then killed.
SEARCH = """
import sys
from momentum_cli import Callback, tune

class Says(Callback):
    def on_trial(self, state):
        if state.worker:
            print("running", flush=True)

tune(sys.argv[1], out=sys.argv[2], cluster=sys.argv[3], callbacks=[Says()])
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_search_that_ends_ends_its_trials_and_the_same_one_continues(cluster: Cluster, tmp_path: Path) -> None:
    cluster.worker("one")
    endless = recipe_of(tmp_path, steps=10_000_000, every=10_000_000, trials=2)
    out = tmp_path / "search"
    command = [sys.executable, "-c", SEARCH, endless, str(out), cluster.address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as search:
        try:
            assert search.stdout is not None
            assert search.stdout.readline() == "running\n"
        finally:
            search.kill()
    (folder,) = (out / "trials").iterdir()
    assert list(folder.iterdir()) == []

    # The worker makes one run at a time: it can train a trial only if the one before it has ended there.
    watcher = Watcher(lambda worker: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Interrupted, match="stopped by SIGINT"):
        tune(endless, out=out, cluster=cluster.address, callbacks=[watcher])
    assert watcher.where == {0: ["one"]}

    short = recipe_of(tmp_path, trials=1)
    assert [path.name for path in (out / "trials").iterdir()] == ["0000"]
    assert tune(short, out=tmp_path / "other", cluster=cluster.address).to_dict()["counts"]["done"] == 1


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_worker_without_the_data_is_named_and_left_out(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = folder_with_data(tmp_path / "a"), tmp_path / "b"
    there.mkdir()
    monkeypatch.chdir(here)
    recipe = RECIPE | {"tune": {"space": {"optimizer.lr": {"choice": [0.1, 0.2]}}, "trials": 2, "sampler": "grid"}}
    options: dict[str, Any] = {"out": tmp_path / "out", "cluster": cluster.address}
    with pytest.raises(RunError, match="no workers"):
        tune(recipe, **options)
    cluster.worker("bad", cwd=there)
    lacks = r"tcp://[0-9.:]+ \(bad\) lacks the data of files: .*d\.csv"
    with (
        pytest.warns(RuntimeWarning, match=lacks),
        pytest.raises(DataError, match=r"no worker can make the runs: .*d\.csv"),
    ):
        tune(recipe, **options)
    cluster.worker("good", cwd=here)
    with pytest.warns(RuntimeWarning, match=lacks):
        content = tune(recipe, **options).to_dict()
    assert [row["status"] for row in content["trials"]] == ["done", "done"]
    assert workers_of(content) == ["good", "good"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_scheduler_that_is_lost_ends_the_search_and_fails_no_trial(cluster: Cluster, tmp_path: Path) -> None:
    cluster.worker("one")
    endless = recipe_of(tmp_path, steps=10_000_000, every=10_000_000, trials=2)
    watcher = Watcher(lambda worker: cluster.kill("scheduler"))
    with pytest.raises(RunError, match="the scheduler can no longer be reached"):
        tune(endless, out=tmp_path / "search", cluster=cluster.address, callbacks=[watcher])
    assert watcher.over == []
    assert not (tmp_path / "search" / "tune.json").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"join": "x"}, "--join and --cluster: .* leave out one of them"),
        ({"objective": "seconds_to_target"}, "machines differ in speed, so seconds_to_target would compare them"),
        ({"overrides": ["train.max_seconds=5"]}, "a budget of 5 s is another number of steps"),
        ({"cluster": "nowhere"}, "no Dask scheduler answers"),
    ],
)
def test_contradictions_are_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=message):
        engine(recipe_of(tmp_path), **{"cluster": "tcp://127.0.0.1:1", "out": tmp_path / "t", **options})
    assert not (tmp_path / "t").exists()


def test_a_search_is_started_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RecipeError, match="start a search once, not by torchrun"):
        engine(recipe_of(tmp_path), out=tmp_path / "t")
