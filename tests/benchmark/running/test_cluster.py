"""A benchmark on a real Dask scheduler and workers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from dask_cluster import RECIPE, Cluster, folder_with_data, started
from safetensors.torch import load_file

from momentum_cli import Callback, bench
from momentum_cli.errors import DataError, RecipeError, RunError
from momentum_cli.progress import RunState

pytest.importorskip("distributed")
OPTIONS = {"model.hidden_size": 8, "train.batch_size": 64, "schedule.name": "constant", "target": None}
_MIDDLE = 200


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with started(tmp_path) as made:
        yield made


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
    here, there = folder_with_data(tmp_path / "a"), tmp_path / "b"
    there.mkdir()
    monkeypatch.chdir(here)
    options: dict[str, Any] = {"cells": "lstm", "out": tmp_path / "out", "cluster": cluster.address}
    cluster.worker("bad", cwd=there)
    lacks = r"tcp://[0-9.:]+ \(bad\) lacks the data of files: .*d\.csv"
    with (
        pytest.warns(RuntimeWarning, match=lacks),
        pytest.raises(DataError, match=r"no worker can make the runs: .*d\.csv"),
    ):
        bench(RECIPE, seeds="0-1", **options)
    cluster.worker("good", cwd=here)
    with pytest.warns(RuntimeWarning, match=lacks):
        result = bench(RECIPE, seeds="0-1", **options)
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
