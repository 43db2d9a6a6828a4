"""A benchmark on a real Dask scheduler and workers, which are processes on the loopback device."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from momentum_cli import Callback, bench
from momentum_cli.benchmark.plan.plan import RunSpec
from momentum_cli.benchmark.running.cluster import _unpack, machines_of
from momentum_cli.benchmark.running.remote import Delivery, Order, fingerprint, make, versions
from momentum_cli.errors import DataError, RecipeError, RunError
from momentum_cli.progress import RunState
from momentum_cli.recipe.building import load_data
from momentum_cli.recipe.recipe import load_recipe

pytest.importorskip("distributed")
OPTIONS = {"model.hidden_size": 8, "train.batch_size": 64, "schedule.name": "constant", "target": None}
_MIDDLE = 200
CSV = "t,a,label\n" + "".join(f"{n},{n % 7},{'xy'[n // 30 % 2]}\n" for n in range(600))


class Cluster:
    """A scheduler and workers in processes of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._start("scheduler", "dask", "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        self.address = self._found("scheduler", "Scheduler at: *(tcp://[0-9.:]+)")

    def worker(self, name: str, cwd: Path | None = None) -> None:
        options = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--name", name]
        directory = ["--local-directory", str(self.folder / f"{name}.dir")]
        self._start(name, "dask", "worker", self.address, *options, *directory, cwd=cwd)
        self._found(name, "Starting established connection to *(tcp://[0-9.:]+)")

    def kill(self, name: str) -> None:
        self.processes[name].send_signal(signal.SIGKILL)
        self.processes[name].wait()

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(encoding="utf-8")

    def close(self) -> None:
        for process in reversed(self.processes.values()):
            process.kill()
            process.wait()

    def _start(self, name: str, *command: str, cwd: Path | None = None) -> None:
        variables = {**os.environ, "OMP_NUM_THREADS": "1"}
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", *command],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=variables,
                cwd=cwd or self.folder,
            )

    def _found(self, name: str, pattern: str) -> str:
        end = time.monotonic() + 120
        while not (found := re.search(pattern, self.log(name))):
            assert self.processes[name].poll() is None, self.log(name)
            assert time.monotonic() < end, self.log(name)
            time.sleep(0.1)
        return found[1]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    try:
        yield made
    finally:
        made.close()


def parameters(folder: Path) -> dict[str, torch.Tensor]:
    tensors = load_file(folder / "checkpoints" / "last.safetensors")
    return {name: tensor for name, tensor in tensors.items() if name.startswith("model.")}


class Killer(Callback):
    """Kills a worker in the middle of two runs, and notes which of them began again afterwards."""

    def __init__(self, kill: Callable[[], None]) -> None:
        self.kill = kill
        self.steps: dict[str, int] = {}
        self.killed = False
        self.again: set[str] = set()

    def on_run(self, state: RunState) -> None:
        if state.status != "training" or state.step == 0:
            return
        if state.step < self.steps.get(state.id, 0):
            self.again.add(state.id)
        self.steps[state.id] = state.step
        if not self.killed and len(self.steps) == 2 and min(self.steps.values()) >= _MIDDLE:
            self.killed = True
            self.kill()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_whose_worker_is_killed_ends_elsewhere_with_the_same_parameters(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.worker("one")
    cluster.worker("two")
    options: dict[str, Any] = {"cells": "lstm,momentum", "seeds": "0", "budget_steps": 1500}
    killer = Killer(lambda: cluster.kill("one"))
    out = tmp_path / "there"
    result = bench("digits", OPTIONS, out=out, cluster=cluster.address, callbacks=[killer], **options)
    assert killer.killed
    assert len(killer.again) == 1
    assert result.scored == "steps"
    workers = {path.parent.name: json.loads(path.read_text()) for path in out.glob("runs/*/worker.json")}
    assert len(workers) == 2
    assert all(told["worker"].endswith("(two)") for told in workers.values())
    assert all(run["error"] is None for run in result.to_dict()["comparisons"][0]["runs"])
    monkeypatch.setattr("momentum_cli.benchmark.running.runner.measure_memory", lambda runs, *rest: [1] * len(runs))
    here = bench("digits", OPTIONS, out=tmp_path / "here", clock="steps", **options)
    for name in workers:
        there, alone = parameters(out / "runs" / name), parameters(here.folder / "runs" / name)
        torch.testing.assert_close(there, alone, rtol=1e-4, atol=1e-5)
    # What is finished is kept: without any worker the same command only reports.
    cluster.kill("two")
    again = bench("digits", OPTIONS, out=out, cluster=cluster.address, **options)
    assert again.arms[0].best == result.arms[0].best


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_worker_without_the_data_is_named_and_left_out(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "a", tmp_path / "b"
    for folder in (here, there):
        folder.mkdir()
    (here / "d.csv").write_text(CSV)
    monkeypatch.chdir(here)
    recipe = {
        "task": {"name": "files", "path": "d.csv", "kind": "classification", "target": "label"},
        "model": {"hidden_size": 4},
        "optimizer": {"name": "sgd", "lr": 0.1},
        "train": {"max_steps": 2},
    }
    options: dict[str, Any] = {"cells": "lstm", "out": tmp_path / "out", "cluster": cluster.address}
    cluster.worker("bad", cwd=there)
    lacks = r"tcp://[0-9.:]+ \(bad\) lacks the data of files: .*d\.csv"
    with (
        pytest.warns(RuntimeWarning, match=lacks),
        pytest.raises(DataError, match=r"no worker can make the runs: .*d\.csv"),
    ):
        bench(recipe, seeds="0-1", **options)
    cluster.worker("good", cwd=here)
    with pytest.warns(RuntimeWarning, match=lacks):
        result = bench(recipe, seeds="0-1", **options)
    assert result.arms[0].runs == 2
    made_by = [json.loads(path.read_text())["worker"] for path in (tmp_path / "out").glob("runs/*/worker.json")]
    assert len(made_by) == 2
    assert all(name.endswith("(good)") for name in made_by)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_cluster_without_workers_and_an_address_without_a_scheduler(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no workers"):
        bench("digits", OPTIONS, cells="lstm", seeds="0", budget_steps=2, out=tmp_path / "a", cluster=cluster.address)
    monkey = cluster.address.rsplit(":", 1)[0] + ":1"
    with pytest.raises(RecipeError, match="no Dask scheduler answers"):
        bench("digits", OPTIONS, cells="lstm", seeds="0", out=tmp_path / "b", cluster=monkey)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"jobs": 2}, "leave out one"),
        ({"clock": "seconds"}, "steps are compared"),
        ({"cluster": "nowhere"}, "no Dask scheduler answers"),
    ],
)
def test_contradictions_are_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=message):
        bench("digits", cells="lstm", out=tmp_path / "b", **{"cluster": "tcp://127.0.0.1:1", **options})
    assert not (tmp_path / "b").exists()


# What a worker does, without a cluster.


def order(**changes: Any) -> Order:
    recipe = load_recipe("digits", ["model.hidden_size=4", "target=null", "train.epochs=null", "train.max_steps=2"])
    run = RunSpec("digits-lstm-seed0", "digits", "lstm", recipe)
    return replace(Order(run, fingerprint(load_data(recipe)), "cpu", None, versions()), **changes)


def made(wanted: Order) -> Delivery:
    return make(wanted, "tcp://worker (w)", lambda state: None, lambda: False)


def test_a_worker_refuses_other_data_and_other_versions() -> None:
    assert made(order()).refusal == ""
    assert "has other data of digits" in made(order(fingerprint="0")).refusal
    assert "not momentumrnn 0" in made(order(version="momentumrnn 0")).refusal
    missing = load_recipe("digits", ["model.hidden_size=4"])
    lacking = {"name": "files", "path": "/no/such/file.csv", "kind": "classification", "target": "label"}
    run = RunSpec("x", "mine", "lstm", replace(missing, task=replace(missing.task, name="files", options=lacking)))
    run.recipe.task.options.pop("name")
    told = made(order(run=run)).refusal
    assert told.startswith("lacks the data of mine: ")
    assert "/no/such/file.csv" in told


def test_a_fingerprint_differs_where_one_value_does() -> None:
    recipe = load_recipe("digits")
    dataset = load_data(recipe)
    assert fingerprint(dataset) == fingerprint(load_data(recipe))
    fewer = replace(dataset, test=dataset.test.head(len(dataset.test) - 1))
    assert fingerprint(fewer) != fingerprint(dataset)


def test_a_run_that_fails_comes_back_with_its_error(tmp_path: Path) -> None:
    wanted = order()
    run = replace(wanted.run, recipe=wanted.run.recipe.override("optimizer.lr=1e30", "train.max_nonfinite=0"))
    delivery = made(replace(wanted, run=run))
    assert delivery.folder is not None
    _unpack(delivery.folder, tmp_path / "runs" / run.id)
    result = json.loads((tmp_path / "runs" / run.id / "result.json").read_text())
    assert result["error"] is None or "diverged" in result["error"]
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [run.id]


def test_machines_of_one_processor_and_two_names_are_two(tmp_path: Path) -> None:
    for number, host in enumerate(("a", "b", "a")):
        folder = tmp_path / f"run{number}"
        folder.mkdir()
        told = {"worker": f"tcp://{number}", "machine": {"host": host, "cpu": "same", "cores": 2}}
        (folder / "worker.json").write_text(json.dumps(told))
    (tmp_path / "run3").mkdir()
    assert [machine["host"] for machine in machines_of(tmp_path, [f"run{n}" for n in range(4)])] == ["a", "b"]
