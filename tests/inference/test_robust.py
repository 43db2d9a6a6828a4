"""`eval --attack`: the figures of its result hang together, do not depend on the batch, and bad options are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from momentum_cli.cli import app
from momentum_cli.errors import RecipeError
from momentum_cli.formats.export import export
from momentum_cli.inference.evaluate import evaluate
from momentum_cli.recipe.recipe import load_recipe, parse_recipe
from momentum_cli.training.train import train


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("robust") / "run"
    changes = ["train.max_steps=80", "train.epochs=null", "train.eval_every_n_steps=80", "model.hidden_size=16"]
    train(load_recipe("digits", changes), out=folder)
    return folder


def test_the_result_of_an_attack(run: Path) -> None:
    found = evaluate(run, attack="pgd", epsilon=0.05, attack_steps=4, restarts=2)
    attack = found["attack"]
    settings = {"name": "pgd", "epsilon": 0.05, "steps": 4, "step_size": 2.5 * 0.05 / 4, "restarts": 2}
    assert {name: attack[name] for name in settings} == settings
    accuracy = attack["metrics"]["accuracy"]
    assert 0 < accuracy < found["metrics"]["accuracy"]
    assert attack["metrics"]["loss"] > found["metrics"]["loss"]
    low, high = attack["intervals"]["accuracy"]
    assert low < accuracy < high
    matrix = torch.tensor(attack["confusion"])
    assert matrix.sum() == found["samples"]
    assert int(matrix.trace()) / found["samples"] == pytest.approx(accuracy)
    hits = sum(row["recall"] * row["support"] for row in attack["classes"])
    assert hits / found["samples"] == pytest.approx(accuracy)
    # What is found does not depend on how the sequences are put together.
    other = evaluate(run, attack="pgd", epsilon=0.05, attack_steps=4, restarts=2, batch_size=37)["attack"]
    assert other["metrics"]["loss"] == pytest.approx(attack["metrics"]["loss"], rel=1e-3)
    assert other["metrics"]["accuracy"] == pytest.approx(accuracy, abs=0.006)
    # The clean metrics are those of an evaluation without an attack.
    plain = evaluate(run)
    assert plain["attack"] is None
    assert plain["metrics"] == found["metrics"]


def test_more_restarts_and_a_larger_ball_are_worse(run: Path) -> None:
    def robust(**options: Any) -> float:
        return float(evaluate(run, attack="pgd", attack_steps=3, **options)["attack"]["metrics"]["accuracy"])

    assert robust(epsilon=0.05, restarts=3) <= robust(epsilon=0.05, restarts=1)
    assert robust(epsilon=1.0) == 0
    assert robust(epsilon=1e-7) == evaluate(run)["metrics"]["accuracy"]


def test_the_table_of_the_command_and_its_json(run: Path) -> None:
    command = ["eval", str(run), "--attack", "fgsm", "--epsilon", "0.05"]
    shown = CliRunner().invoke(app, [*command, "--no-progress"])
    assert shown.exit_code == 0
    assert "fgsm, epsilon 0.05, 1 step" in shown.stdout
    assert "robust accuracy" in shown.stdout
    assert "robust recall" in shown.stdout
    found = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    assert (found["attack"]["steps"], found["attack"]["step_size"]) == (1, 1.25 * 0.05)


def test_one_step_is_that_of_the_paper_by_default_and_a_shorter_one_finds_less(run: Path) -> None:
    def loss(**options: Any) -> float:
        return float(evaluate(run, epsilon=0.05, **options)["attack"]["metrics"]["loss"])

    one = loss(attack="fgsm")
    assert loss(attack="fgsm", attack_step_size=0.05) == pytest.approx(one, rel=1e-5)
    assert loss(attack="fgsm", attack_step_size=0.01) < one
    few, tiny = (loss(attack="pgd", attack_steps=3, attack_step_size=size) for size in (0.05, 0.001))
    assert tiny < few


def test_a_learned_attack_is_the_one_of_the_training(tmp_path: Path) -> None:
    changes = ["train.max_steps=60", "train.epochs=null", "train.eval_every_n_steps=60", "model.hidden_size=8"]
    folder = tmp_path / "run"
    train(load_recipe("digits", [*changes, "train.adversarial={attack: learned, epsilon: 0.1, steps: 3}"]), out=folder)
    found = evaluate(folder, attack="learned", epsilon=0.1, attack_steps=3)
    clean, robust = found["metrics"]["loss"], found["attack"]["metrics"]["loss"]
    pgd = evaluate(folder, attack="pgd", epsilon=0.1, attack_steps=3)["attack"]["metrics"]["loss"]
    assert clean + 0.5 * (pgd - clean) < robust < clean + 1.2 * (pgd - clean)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": 0.1}, "--epsilon must be left out without --attack"),
        ({"restarts": 2}, "--restarts must be left out without --attack"),
        ({"attack_step_size": 0.1}, "--attack-step-size must be left out without --attack"),
        (
            {"attack": "pgd", "epsilon": 0.1, "attack_step_size": 0.0},
            "--attack-step-size must be a finite number > 0, got 0.0",
        ),
        ({"attack": "learned", "epsilon": 0.1}, "must be fgsm or pgd for a model without an attack of its own"),
        ({"attack": "pgdd", "epsilon": 0.1}, "did you mean 'pgd'"),
        ({"attack": "pgd"}, "--epsilon must be a number > 0 with --attack, got nothing"),
        ({"attack": "pgd", "epsilon": 0.0}, "--epsilon must be a finite number > 0, got 0.0"),
        ({"attack": "pgd", "epsilon": float("nan")}, "--epsilon must be a finite number > 0, got nan"),
        ({"attack": "pgd", "epsilon": float("inf")}, "--epsilon must be a finite number > 0, got inf"),
        (
            {"attack": "pgd", "epsilon": 8.0},
            "--epsilon must be at most 1, as inputs are from 0 to 1, got 8.0; divide grey levels by the highest one",
        ),
        ({"attack": "pgd", "epsilon": 0.1, "attack_steps": 0}, "--attack-steps must be >= 1, got 0"),
        ({"attack": "pgd", "epsilon": 0.1, "restarts": 0}, "--restarts must be >= 1, got 0"),
        ({"attack": "fgsm", "epsilon": 0.1, "attack_steps": 2}, "--attack-steps must be 1 for fgsm, got 2"),
        ({"attack": "fgsm", "epsilon": 0.1, "restarts": 2}, "--restarts must be 1 for fgsm, got 2"),
    ],
)
def test_bad_options_are_refused(run: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        evaluate(run, **options)
    assert message in str(caught.value)


def test_a_file_of_weights_is_attacked_but_no_program_and_no_tokens(run: Path, tmp_path: Path) -> None:
    file = Path(export(run, format="torchscript", out=tmp_path / "out", check_accuracy=False)["file"])
    with pytest.raises(RecipeError, match="run folder or a checkpoint"):
        evaluate(file, attack="pgd", epsilon=0.1)
    weights = Path(export(run, format="safetensors", out=tmp_path / "weights", check_accuracy=False)["file"])
    own, theirs = (evaluate(each, attack="fgsm", epsilon=0.05)["attack"]["metrics"] for each in (run, weights))
    assert theirs == pytest.approx(own, rel=1e-4)
    text = tmp_path / "tiny.txt"
    text.write_text("the quick brown fox jumps over the lazy dog\n" * 60)
    content: dict[str, Any] = {
        "task": {"name": "language", "path": str(text), "validation_fraction": 0.2, "test_fraction": 0.2},
        "model": {"cell": "lstm", "hidden_size": 4, "language": {"embedding_size": 4}},
        "optimizer": {"name": "adam", "lr": 0.01},
        "train": {"max_steps": 1, "batch_size": 3, "eval_batch_size": 2, "bptt": {"length": 20}},
    }
    train(parse_recipe(content), out=tmp_path / "language")
    with pytest.raises(RecipeError, match="got a model of tokens"):
        evaluate(tmp_path / "language", attack="pgd", epsilon=0.1)
