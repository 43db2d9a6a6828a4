"""Whole runs: files and results, kills and signals, budgets, extension, several processes."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from momentum_cli.cli import app
from momentum_cli.errors import DataError, RecipeError, SettingError
from momentum_cli.inference.evaluate import class_table, evaluate
from momentum_cli.progress import NullUi
from momentum_cli.recipe.recipe import Recipe, load_recipe, parse_recipe
from momentum_cli.runs.checkpoint import load_checkpoint
from momentum_cli.runs.metrics_log import read_metrics
from momentum_cli.training.train import dry_run, train
from momentum_cli.training.trained import load_model

SMALL: dict[str, Any] = {
    "task": {"name": "digits", "pixels_per_step": 8},
    "model": {"cell": "momentum", "hidden_size": 8},
    "optimizer": {"name": "adam", "lr": 0.01},
    "train": {"epochs": 2, "batch_size": 128, "seed": 0},
}


def recipe(**sections: dict[str, Any]) -> Recipe:
    return parse_recipe({k: {**SMALL.get(k, {}), **sections.get(k, {})} for k in {*SMALL, *sections}})


@pytest.mark.usefixtures("drawn_curves")
def test_a_run_leaves_its_files_and_its_result(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    result = train(recipe(target={"metric": "accuracy", "value": 0.2}), out=folder)
    names = {path.name for path in folder.iterdir()}
    assert names >= {"recipe.yaml", "environment.json", "metrics.csv", "metrics.jsonl", "result.json", "curves.png"}
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((folder / "result.json").read_text()).keys() == result.keys()
    wanted = "cell parameters seed device backend epochs steps train_seconds wall_seconds validation test best target"
    assert {*wanted.split(), "stop_reason"} <= result.keys()
    target = result["target"]
    assert set(target) == {"metric", "value", "reached", "steps", "samples", "train_seconds", "wall_seconds"}
    assert (result["steps"], result["epochs"], result["samples"]) == (20, 2, 2514)
    assert result["stop_reason"] == "epochs"
    assert result["selected_on"] == "validation"
    rows = read_metrics(folder, "eval")
    assert [row["step"] for row in rows] == [10, 20]
    assert result["best"]["value"] == max(row["accuracy"] for row in rows)
    # The test metrics are those of the best checkpoint, evaluated again by another path.
    again = evaluate(folder)
    assert again["metrics"] == pytest.approx(result["test"])
    assert sum(map(sum, again["confusion"])) == 360
    assert (folder / "confusion-test.png").is_file()
    assert load_model(folder).checkpoint.data["progress"]["step"] == result["best"]["step"]


def test_without_validation_the_result_says_that_it_was_selected_on_test(tmp_path: Path) -> None:
    result = train(recipe(task={"validation": "none"}, train={"epochs": 1}), out=tmp_path / "run")
    assert result["validation"] is None
    assert result["selected_on"] == "test"
    assert result["best"]["split"] == "test"
    assert result["samples"] == 1437
    with pytest.raises(RecipeError, match="it has no validation split"):
        evaluate(tmp_path / "run", split="validation")


@pytest.mark.parametrize(
    ("options", "reason", "steps"),
    [
        ({"epochs": None, "max_steps": 7}, "max_steps", 7),
        ({"epochs": 5, "max_steps": 7}, "max_steps", 7),
        ({"epochs": 5, "max_seconds": 1e-6}, "max_seconds", 1),
        (
            {"epochs": 9, "eval_every_n_steps": 2, "early_stopping": {"patience": 2, "min_delta": 1.0}},
            "early_stopping",
            6,
        ),
    ],
)
def test_budgets(tmp_path: Path, options: dict[str, Any], reason: str, steps: int) -> None:
    result = train(recipe(train=options), out=tmp_path / "run")
    assert (result["stop_reason"], result["steps"]) == (reason, steps)
    # Whatever ended the run, its last parameters were evaluated.
    assert read_metrics(tmp_path / "run", "eval")[-1]["step"] == steps


def test_stop_at_target(tmp_path: Path) -> None:
    stop = recipe(target={"metric": "accuracy", "value": 0.05}, train={"epochs": 9, "stop_at_target": True})
    result = train(stop, out=tmp_path / "run")
    assert (result["stop_reason"], result["steps"]) == ("target", 10)


def parameters(folder: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(folder / "checkpoints" / "last.safetensors").group("model")


def test_a_finished_run_can_be_extended_and_equals_the_longer_run(tmp_path: Path) -> None:
    long, short = tmp_path / "long", tmp_path / "short"
    train(recipe(train={"epochs": 3}), out=long)
    train(recipe(train={"epochs": 1}), out=short)
    result = train(recipe(train={"epochs": 3}), resume=short)
    assert result["steps"] == 30
    torch.testing.assert_close(parameters(short), parameters(long), rtol=0.0, atol=0.0)
    # Resuming a finished run without more to do changes nothing.
    assert train(recipe(train={"epochs": 3}), resume=short)["test"] == result["test"]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Sums of a matrix product may depend on the number of threads; the processes of these tests have one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    ("number", "code"),
    # tests/cli/test_processes.py interrupts a training, too.
    [pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow), (signal.SIGTERM, 143)],
)
def test_a_signal_writes_a_checkpoint_and_the_run_goes_on_from_it(tmp_path: Path, number: int, code: int) -> None:
    folder, whole = tmp_path / "run", tmp_path / "whole"
    options = ["train.epochs=40", "model.hidden_size=8", "train.batch_size=16", "schedule.name=constant"]
    process = subprocess.Popen(
        [sys.executable, "-m", "momentum_cli", "train", "digits", *options, "--out", str(folder), "--no-progress"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 300
    while not (folder / "checkpoints" / "last.safetensors").is_file():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == code
    assert "--resume" in stderr
    assert "Traceback" not in stderr
    step = load_checkpoint(folder / "checkpoints" / "last.safetensors").data["progress"]["step"]
    # Go on for three steps, and compare with a run that was not interrupted.
    further = ["train.epochs=null", f"train.max_steps={step + 3}"]
    train(load_recipe(folder / "recipe.yaml", further), resume=folder)
    train(load_recipe("digits", [*options, *further]), out=whole)
    torch.testing.assert_close(parameters(folder), parameters(whole), rtol=0.0, atol=0.0)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("launcher", "batch"),
    # 1257 sequences: the last group of an epoch has 105 of 128, which do not divide evenly, or 1 of 628, which leaves
    # one process without any.
    [
        (["-m", "momentum_cli"], ["train.batch_size=128"]),
        pytest.param(
            ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"],
            ["train.batch_size=314", "train.scale_batch=true"],
            marks=pytest.mark.slow,  # tests/training/test_nodes.py runs torchrun, too
        ),
        pytest.param(
            ["-m", "momentum_cli"],
            ["train.batch_size=128", "train.adversarial={attack: learned, epsilon: 0.05}"],
            marks=pytest.mark.slow,  # tests/training/test_adversary.py has the starts of each process
        ),
    ],
    ids=["--devices", "torchrun", "learned"],
)
def test_two_processes_are_one_with_the_same_batch(tmp_path: Path, launcher: list[str], batch: list[str]) -> None:
    options = ["train.epochs=1", "model.hidden_size=8", "optimizer.name=sgd", "optimizer.lr=0.1", "target=null"]
    options.append("metrics=[accuracy, macro_f1, auroc]")
    two, one = tmp_path / "two", tmp_path / "one"
    arguments = ["train", "digits", *options, *batch, "--out", str(two), "--json"]
    if "--nproc-per-node" in launcher:
        launcher = [*launcher, "-m", "momentum_cli"]
    else:
        arguments += ["--devices", "2"]
    done = subprocess.run(
        [sys.executable, *launcher, *arguments, "--accelerator", "cpu"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    whole = ["train.batch_size=628"] if "train.scale_batch=true" in batch else batch
    alone = train(load_recipe("digits", [*options, *whole]), out=one)
    assert "2 processes share each batch of" in done.stderr
    assert result["processes"] == 2
    assert (result["steps"], result["samples"]) == (alone["steps"], alone["samples"])
    assert result["test"]["loss"] == pytest.approx(alone["test"]["loss"], rel=1e-4)
    for name, ends in alone["test_intervals"].items():
        assert result["test"][name] == pytest.approx(alone["test"][name], abs=0.01), name
        assert result["test_intervals"][name] == pytest.approx(ends, abs=0.02), name
    assert result["baselines"] == alone["baselines"]
    torch.testing.assert_close(parameters(two), parameters(one), rtol=1e-4, atol=1e-6)


def test_a_longer_plan_says_that_the_rate_rises_again(tmp_path: Path) -> None:
    class Notes(NullUi):
        def note(self, text: str, level: str = "info") -> None:
            notes.append(text)

    notes: list[str] = []
    folder = tmp_path / "run"
    cosine = recipe(schedule={"name": "cosine"}, optimizer={"lr": 0.01}, train={"epochs": None, "max_steps": 10})
    train(cosine, out=folder)
    train(cosine.override("train.max_steps=20"), resume=folder, ui=Notes())
    # Half of a cosine over 20 steps is 1/2; the last step of one over 10 is at 9/10 of its half wave.
    last = 0.01 * (1 + math.cos(math.pi * 0.9)) / 2
    assert f"rises from {last:.3g} at step 10 to 0.005; schedule.name=constant optimizer.lr={last:.3g}" in notes[0]
    notes.clear()
    train(cosine.override("train.max_steps=20"), resume=folder, ui=Notes())
    assert notes == []


def test_dry_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    facts = dry_run(recipe())
    assert list(tmp_path.iterdir()) == []
    assert facts["steps"] == 20
    assert facts["estimated_seconds"] == pytest.approx(20 * facts["ms_per_step"] / 1000)


def test_a_wrong_environment_variable_is_refused_before_there_is_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The one of Triton, because a machine may be without a built kernel for the CPU.
    monkeypatch.setenv("MOMENTUMRNN_TRITON", "nope")
    with pytest.raises(SettingError, match="MOMENTUMRNN_TRITON"):
        train(recipe(), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_resume_names_what_is_not_a_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not a run folder"):
        train(recipe(), resume=tmp_path)
    with pytest.raises(DataError, match="no checkpoint found"):
        evaluate(tmp_path)
    with pytest.raises(DataError, match="no such run"):
        evaluate(tmp_path / "nothing")


def test_class_table_by_hand() -> None:
    rows = class_table(torch.tensor([[3, 1, 0], [2, 4, 0], [0, 0, 0]]), ["a", "b", "c"])
    assert [row["support"] for row in rows] == [4, 6, 0]
    assert rows[0]["precision"] == pytest.approx(3 / 5)
    assert rows[0]["recall"] == pytest.approx(3 / 4)
    assert rows[0]["f1"] == pytest.approx(2 * 0.6 * 0.75 / 1.35)
    assert rows[2] == {"label": "c", "support": 0, "precision": None, "recall": None, "f1": None}


def test_a_training_says_what_its_data_lack(tmp_path: Path) -> None:
    lines = ["a,b,label,split", *(f"{n},5,{'xy'[n % 2]},train" for n in range(12)), "3,5,y,validation", "40,9,z,test"]
    (tmp_path / "d.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "d.yaml").write_text(
        "task: {name: files, path: d.csv, kind: classification, target: label, split_column: split}\n"
        "model: {hidden_size: 2}\noptimizer: {name: sgd, lr: 0.1}\ntrain: {epochs: 1}\n",
        encoding="utf-8",
    )
    arguments = ["train", str(tmp_path / "d.yaml"), "--out", str(tmp_path / "run"), "--json"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.stderr
    warnings = json.loads(done.stdout)["warnings"]
    assert [text.split(":")[0] for text in warnings] == [
        "1 of 1 sequences of the split validation are in train too, with the same values (the first",
        "class 'z' has no training sequence",
    ]
    for text in warnings:
        assert f"warning: {text}" in done.stderr
    assert json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))["warnings"] == warnings
