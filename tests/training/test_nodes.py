"""Training on two nodes: two agents of torchrun on the loopback device, each with one process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file

from momentum_cli.errors import RecipeError, RunError
from momentum_cli.recipe.recipe import load_recipe
from momentum_cli.training.launch import launch, require_shared, together
from momentum_cli.training.train import train

OPTIONS = ["model.hidden_size=8", "optimizer.name=sgd", "optimizer.lr=0.1", "target=null"]
LONGEST = 600


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def agents(
    folder: Path, *options: str, max_restarts: int = 0, recipe: str = "digits"
) -> Iterator[list[subprocess.Popen[str]]]:
    """Start the two agents of one training; at the end nothing of them is left."""
    port = free_port()
    rendezvous = ["--rdzv-backend", "c10d", "--rdzv-id", f"job{port}", "--rdzv-endpoint", f"127.0.0.1:{port}"]
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", *rendezvous]
    command += [
        "--local-addr",
        "127.0.0.1",
        "--max-restarts",
        str(max_restarts),
        "-m",
        "momentum_cli",
        "train",
        recipe,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    started = []
    for number in range(2):
        log = (folder.parent / f"{folder.name}-{number}.log").open("w", encoding="utf-8")
        arguments = [*command, *OPTIONS, *options, "--out", str(folder), "--accelerator", "cpu"]
        started.append(
            subprocess.Popen(
                arguments, stdout=log, stderr=subprocess.STDOUT, text=True, env=environment, start_new_session=True
            )
        )
        log.close()
    try:
        yield started
    finally:
        for agent in started:
            if agent.poll() is None:
                os.killpg(agent.pid, signal.SIGTERM)
                agent.wait(60)


def log_of(folder: Path, number: int) -> str:
    return (folder.parent / f"{folder.name}-{number}.log").read_text(encoding="utf-8")


def logs(folder: Path) -> str:
    return log_of(folder, 0) + log_of(folder, 1)


def kill_a_rank(agent: subprocess.Popen[str], folder: Path) -> None:
    """Kill the process of an agent once the run has a checkpoint and goes on."""
    last = folder / "checkpoints" / "last.safetensors"
    end = time.monotonic() + LONGEST
    while not last.is_file():
        assert time.monotonic() < end, logs(folder)
        time.sleep(0.05)
    children = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text(encoding="utf-8").split()
    os.kill(int(children[0]), signal.SIGKILL)


def parameters(folder: Path) -> dict[str, torch.Tensor]:
    tensors = load_file(folder / "checkpoints" / "last.safetensors")
    return {name: tensor for name, tensor in tensors.items() if name.startswith("model.")}


two_nodes = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds children of a process in /proc")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_nodes_are_one_process_with_twice_the_batch(tmp_path: Path) -> None:
    two, one = tmp_path / "two", tmp_path / "one"
    with agents(two, "train.epochs=2", "train.batch_size=64", "train.scale_batch=true") as started:
        assert [agent.wait(LONGEST) for agent in started] == [0, 0], logs(two)
    train(load_recipe("digits", [*OPTIONS, "train.epochs=2", "train.batch_size=128"]), out=one)
    torch.testing.assert_close(parameters(two), parameters(one), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.timeout(600)
@two_nodes
@pytest.mark.parametrize("killed", [0, 1])
def test_a_rank_that_is_killed_ends_the_others(tmp_path: Path, killed: int) -> None:
    folder = tmp_path / "run"
    with agents(folder, "train.epochs=500") as started:
        kill_a_rank(started[killed], folder)
        since = time.monotonic()
        codes = [agent.wait(60) for agent in started]
        assert time.monotonic() - since < 60
    assert all(code != 0 for code in codes)
    told = log_of(folder, 1 - killed)
    assert "another of the 2 processes of this training ended or can no longer be reached" in told, logs(folder)
    assert "This looks like a bug" not in logs(folder)


@pytest.mark.slow
@pytest.mark.timeout(900)
@two_nodes
def test_a_restarted_training_ends_like_one_that_was_not_disturbed(tmp_path: Path) -> None:
    disturbed, calm = tmp_path / "disturbed", tmp_path / "calm"
    options = ["train.epochs=8", "train.batch_size=32", "train.checkpoint_every_n_steps=10"]
    with agents(disturbed, *options, max_restarts=2) as started:
        kill_a_rank(started[1], disturbed)
        assert [agent.wait(LONGEST) for agent in started] == [0, 0], logs(disturbed)
    assert logs(disturbed).count("resumed at step") == 1, logs(disturbed)
    with agents(calm, *options) as started:
        assert [agent.wait(LONGEST) for agent in started] == [0, 0], logs(calm)
    torch.testing.assert_close(parameters(disturbed), parameters(calm), rtol=0.0, atol=0.0)


def streamed(folder: Path) -> str:
    """Write a recipe for the Parquet files of a folder."""
    task = f"{{name: files, path: {folder}/*.parquet, kind: classification, target: label, streamed: 2}}"
    path = folder / "own.yaml"
    path.write_text(f"task: {task}\nmodel: {{cell: lstm}}\noptimizer: {{name: sgd}}\ntrain: {{epochs: 1}}\n")
    return str(path)


@pytest.mark.slow
@pytest.mark.timeout(900)
@two_nodes
def test_a_restarted_training_of_streamed_data_ends_like_one_that_was_not_disturbed(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        rows = [{"x": row.tolist(), "label": str(row[0] > 0)} for row in random.normal(size=(400, 6))]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"{name}.parquet", row_group_size=50)
    recipe = streamed(tmp_path)
    disturbed, calm = tmp_path / "disturbed", tmp_path / "calm"
    options = ["train.epochs=12", "train.batch_size=10", "train.checkpoint_every_n_steps=10"]
    with agents(disturbed, *options, max_restarts=2, recipe=recipe) as started:
        kill_a_rank(started[1], disturbed)
        assert [agent.wait(LONGEST) for agent in started] == [0, 0], logs(disturbed)
    assert logs(disturbed).count("resumed at step") == 1, logs(disturbed)
    with agents(calm, *options, recipe=recipe) as started:
        assert [agent.wait(LONGEST) for agent in started] == [0, 0], logs(calm)
    torch.testing.assert_close(parameters(disturbed), parameters(calm), rtol=0.0, atol=0.0)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_more_processes_than_row_groups_are_refused(tmp_path: Path) -> None:
    rows = [{"x": [float(row), 1.0], "label": str(row % 2)} for row in range(80)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    recipe = streamed(tmp_path)
    with agents(tmp_path / "run", recipe=recipe) as started:
        assert all(agent.wait(LONGEST) != 0 for agent in started)
    assert "row groups with training data must be at least 2, one for each process, got 1" in logs(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_restarts_need_a_folder_to_continue_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "3")
    with pytest.raises(RecipeError, match="--out DIR"):
        train(load_recipe("digits"))
    assert list(tmp_path.iterdir()) == []


def test_a_training_of_one_process_continues_after_a_restart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    options = [*OPTIONS, "train.batch_size=256", "schedule.name=constant", "model.hidden_size=4"]
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    # The first attempt may have ended before it made the folder.
    first = train(load_recipe("digits", [*options, "train.epochs=1"]), out=tmp_path / "run")
    again = train(load_recipe("digits", [*options, "train.epochs=2"]), out=tmp_path / "run", overwrite=True)
    assert (first["steps"], again["steps"]) == (5, 10)
    monkeypatch.delenv("TORCHELASTIC_RESTART_COUNT")
    with pytest.raises(RecipeError, match="not empty"):
        train(load_recipe("digits", [*options, "train.epochs=2"]), out=tmp_path / "run")


def of_two(seen: int) -> Any:
    """Stand in for a Fabric of two processes, in which the sum over them is given."""
    return SimpleNamespace(world_size=2, device="cpu", all_reduce=lambda tensor, reduce_op: torch.tensor(seen))


def test_a_folder_that_one_machine_does_not_see_is_refused(tmp_path: Path) -> None:
    require_shared(of_two(2), tmp_path)
    with pytest.raises(RunError, match="only 1 of 2 processes see the run folder"):
        require_shared(of_two(1), tmp_path)


def test_only_the_loss_of_a_process_is_reported_as_one() -> None:
    with (
        pytest.raises(RunError, match=r"last checkpoint \(Read error: Connection reset by peer\)"),
        together(of_two(2)),
    ):
        raise RuntimeError("[/pytorch/pair.cc:545] Read error: Connection reset by peer. This is typically caused by")
    with pytest.raises(RuntimeError, match="shape"), together(of_two(2)):
        raise RuntimeError("shape mismatch")
    alone = SimpleNamespace(world_size=1)
    with pytest.raises(RuntimeError, match="peer"), together(alone):  # type: ignore[arg-type]
        raise RuntimeError("Connection closed by peer")


def test_processes_that_do_not_find_each_other_are_no_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: Fabric) -> None:
        raise RuntimeError("Gloo connectFullMesh failed with timed out connecting: Connection refused")

    monkeypatch.setattr(Fabric, "launch", refused)
    with pytest.raises(RunError, match=r"another of the 2 processes .*\(Gloo connectFullMesh failed"):
        launch(load_recipe("digits", OPTIONS), 2, 1, "cpu")
