"""Training on a CUDA card: as on the CPU, in mixed precision, and in two processes; skipped without one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from toy_trainer import dataset, recipe

from momentum_cli.recipe.recipe import load_recipe
from momentum_cli.training.train import train
from momentum_cli.training.trainer import Trainer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.filterwarnings("ignore:RNN module weights"),
]
OPTIONS = ["train.epochs=2", "model.hidden_size=16", "optimizer.name=sgd", "optimizer.lr=0.1", "target=null"]


@pytest.mark.parametrize("cell", ["momentum", "adam", "momentum-dtriv"])
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-3), ("bf16-mixed", 5e-2)])
def test_training_ends_where_it_does_on_the_cpu(tmp_path: Path, cell: str, precision: str, tolerance: float) -> None:
    options = [*OPTIONS, f"model.cell={cell}"]
    on_cpu = train(load_recipe("digits", options), out=tmp_path / "cpu", accelerator="cpu")
    on_card = train(
        load_recipe("digits", [*options, f"train.precision={precision}"]), out=tmp_path / "card", accelerator="cuda"
    )
    assert (on_card["steps"], on_card["samples"]) == (on_cpu["steps"], on_cpu["samples"])
    assert on_card["test"]["loss"] == pytest.approx(on_cpu["test"]["loss"], rel=tolerance)


def test_a_resumed_training_is_the_uninterrupted_one(tmp_path: Path) -> None:
    parts, whole = tmp_path / "parts", tmp_path / "whole"
    options = [*OPTIONS, "schedule.name=constant"]
    train(load_recipe("digits", [*options, "train.epochs=1"]), out=parts, accelerator="cuda")
    again = train(load_recipe(parts / "recipe.yaml", ["train.epochs=2"]), resume=parts, accelerator="cuda")
    alone = train(load_recipe("digits", options), out=whole, accelerator="cuda")
    assert again["test"]["loss"] == pytest.approx(alone["test"]["loss"], rel=1e-5)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop", "ahb-adam"])
@pytest.mark.parametrize("cell", ["lstm", "momentum", "adam", "rmsprop-gru", "sr", "momentum-dtriv", "exprnn"])
@pytest.mark.parametrize("ragged", [False, True])
def test_a_step_does_not_wait_for_the_card_until_it_is_logged(cell: str, optimizer: str, ragged: bool) -> None:
    sections = {
        "model": {"cell": cell, "hidden_size": 16, "backend": "auto"},
        "optimizer": {"name": optimizer, "lr": 0.01},
        "train": {"batch_size": 2, "clip_grad_norm": 1.0, "log_every_n_steps": 4},
    }
    data = dataset(10)
    if ragged:
        train_split = replace(data.train, lengths=torch.arange(10) % 5 + 1)  # type: ignore[type-var]
        data = replace(data, train=train_split)
    one = Trainer(recipe(**sections), data, Fabric(accelerator="cuda", devices=1))
    one.step()  # compiles, and the optimizer makes its state
    torch.cuda.set_sync_debug_mode("error")
    try:
        results = [one.step() for _ in range(2)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert [result.loss for result in results] == [None, None]
    last = one.step()
    assert last.loss is not None
    assert last.train_seconds > 0


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two CUDA devices")
def test_two_processes_are_one_with_the_doubled_batch(tmp_path: Path) -> None:
    arguments = ["train", "digits", *OPTIONS, "train.batch_size=64", "--out", str(tmp_path / "two"), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "momentum_cli", *arguments, "--devices", "2", "--accelerator", "cuda"],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
        env=os.environ,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    alone = train(
        load_recipe("digits", [*OPTIONS, "train.batch_size=128"]), out=tmp_path / "one", accelerator="cuda", devices=1
    )
    assert result["processes"] == 2
    assert (result["steps"], result["samples"]) == (alone["steps"], alone["samples"])
    assert result["test"]["loss"] == pytest.approx(alone["test"]["loss"], rel=1e-4)
