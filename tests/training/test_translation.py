"""Training of the task `translation`: it learns, and a run that was killed goes on bit for bit."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from parallel_text import content, write_corpus

from momentum_cli.errors import RecipeError
from momentum_cli.inspection.model.summary import summary
from momentum_cli.inspection.model.tables import print_summary
from momentum_cli.progress import NullUi, RunStart
from momentum_cli.recipe.building import build_task
from momentum_cli.recipe.recipe import parse_recipe
from momentum_cli.runs.checkpoint import load_checkpoint
from momentum_cli.training.launch import launch
from momentum_cli.training.train import train
from momentum_cli.training.trainer import Trainer

pytest.importorskip("sentencepiece")
pytest.importorskip("sacrebleu")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def test_it_learns_a_small_language(corpus: Path, tmp_path: Path) -> None:
    recipe = content(corpus)
    recipe["train"] |= {"epochs": 8, "eval_every_n_steps": 1000}
    result = train(parse_recipe(recipe), out=tmp_path / "run")
    assert result["test"]["bleu"] > 60
    assert result["test"]["bleu"] < result["test"]["chrf"] <= 100
    assert result["test"]["perplexity"] == pytest.approx(math.exp(result["test"]["loss"]))
    low, high = result["test_intervals"]["bleu"]
    assert low < result["test"]["bleu"] < high
    assert result["signatures"]["bleu"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert result["best"]["metric"] == "bleu"


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(folder / "checkpoints" / "last.safetensors").tensors


def test_a_killed_run_goes_on_bit_for_bit(corpus: Path, tmp_path: Path) -> None:
    recipe = content(corpus, input_dropout=0.2, memory_dropout=0.2, embedding_dropout=0.1)
    recipe["train"] |= {
        "max_steps": 15,
        "checkpoint_every_n_steps": 5,
        "eval_every_n_steps": 1000,
        "label_smoothing": 0.1,
    }
    alone = train(parse_recipe(recipe), out=tmp_path / "alone")
    killed = tmp_path / "killed"
    code = (
        "import os, signal, sys, torch\n"
        "from momentum_cli.recipe.recipe import load_recipe\n"
        "from momentum_cli.training.train import train\n"
        "from momentum_cli.training.accumulation import Accumulation\n"
        "accumulate = Accumulation.__call__\n"
        "def dying(self, group, before, step):\n"
        "    if step == 12: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return accumulate(self, group, before, step)\n"
        "Accumulation.__call__ = dying\n"
        f"torch.set_num_threads({torch.get_num_threads()})\n"
        "train(load_recipe(sys.argv[1]), out=__import__('pathlib').Path(sys.argv[2]))\n"
    )
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", code, str(file), str(killed)], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert load_checkpoint(killed / "checkpoints" / "last.safetensors").data["progress"]["step"] == 10
    again = train(parse_recipe(recipe), resume=killed)
    one, other = tensors(tmp_path / "alone"), tensors(killed)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert (again["test"], again["steps"]) == (alone["test"], alone["steps"])
    assert json.loads((killed / "result.json").read_text())["test"] == again["test"]
    assert os.fspath(killed) != os.fspath(tmp_path / "alone")


def test_a_batch_counts_tokens(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = content(corpus)
    recipe["train"] |= {"max_steps": 1, "eval_every_n_steps": 1000}
    started = []

    class Shown(NullUi):
        def start(self, run: RunStart) -> None:
            started.append(run)

    train(parse_recipe(recipe), out=tmp_path / "run", ui=Shown())
    assert [(run.batch_size, run.batch_unit, run.train_samples) for run in started] == [(400, "tokens", 300)]
    recipe["train"] |= {"batch_size": 300, "max_steps": 2}
    with pytest.raises(RecipeError, match="middle of an epoch with 400 tokens per step and is resumed with 300"):
        train(parse_recipe(recipe), resume=tmp_path / "run")
    result = summary(parse_recipe(recipe))
    assert (result["batch_size"], result["batch_unit"]) == (300, "tokens")
    print_summary(result)
    assert "B = 300 tokens, " in capsys.readouterr().out


def gradient(recipe: dict[str, Any]) -> dict[str, torch.Tensor]:
    parsed = parse_recipe(recipe)
    trainer = Trainer(parsed, build_task(parsed).load(), launch(parsed, 1, 1, "cpu"))
    trainer._accumulate(torch.arange(60), [], 0)
    return {name: p.grad for name, p in trainer.module.named_parameters() if p.grad is not None}


def test_accumulated_parts_have_the_gradient_of_the_whole(corpus: Path) -> None:
    """Of the mean over the tokens, however the pairs are cut into parts."""
    whole, parts = content(corpus), content(corpus)
    whole["train"]["batch_size"] = 100_000
    parts["train"]["batch_size"] = 300
    one, other = gradient(whole), gradient(parts)
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("translation", "tied", "some", "model.translation.tied"),
        ("translation", "beam_size", 0, "model.translation.beam_size: must be >= 1"),
        ("translation", "beam_size", 100_000, "model.translation.beam_size: must be <= 100"),
        ("translation", "length_penalty", 1e6, "model.translation.length_penalty: must be <= 10"),
        ("translation", "length_penalty", math.inf, "model.translation.length_penalty: must be"),
        ("translation", "length_penalty", -1, "model.translation.length_penalty: must be >= 0"),
        ("translation", "input_feeding", "perhaps", "model.translation.input_feeding"),
        ("translation", "embedding_size", 0, "model.translation.embedding_size"),
        ("translation", "embedding_dropout", 1.0, "model.translation.embedding_dropout: must be < 1"),
        ("translation", "input_dropout", 1.5, "model.translation.input_dropout"),
        ("translation", "memory_dropout", 1.0, "model.translation.memory_dropout: must be < 1"),
        ("translation", "output_dropout", 1.0, "model.translation.output_dropout: must be < 1"),
        ("translation", "beamsize", 3, "did you mean 'beam_size'"),
        ("task", "joint", False, "model.translation.tied: must be target or none where task.joint is false"),
        ("task", "joint", "perhaps", "task.joint: must be true or false"),
        ("task", "path", 5, "task.path: must be text"),
        ("task", "train", 3, "task.train: must be text or null"),
        ("task", "validation", ["a"], "task.validation: must be text or null"),
        ("task", "max_length", 0, "max_length"),
        ("train", "recompute", 5, "train.recompute: must be left out"),
        ("train", "bptt", {}, "belongs to the task language"),
        ("train", "class_weights", "balanced", "train.class_weights: must be left out"),
    ],
)
def test_what_a_recipe_may_not_say(section: str, key: str, value: Any, message: str, tmp_path: Path) -> None:
    recipe = content(tmp_path)
    (recipe["model"]["translation"] if section == "translation" else recipe[section])[key] = value
    with pytest.raises(RecipeError) as caught:
        parse_recipe(recipe)
    assert message in str(caught.value)


def test_a_translation_section_belongs_to_its_task(tmp_path: Path) -> None:
    recipe = content(tmp_path) | {"task": {"name": "digits"}}
    with pytest.raises(RecipeError, match="belongs to the task translation, but the task is digits"):
        parse_recipe(recipe)


def test_defaults_of_a_recipe_are_tokens_and_both_directions(tmp_path: Path) -> None:
    recipe = content(tmp_path)
    recipe["train"] = {"epochs": 1}
    recipe["model"].pop("translation")
    parsed = parse_recipe(recipe)
    assert (parsed.train.batch_size, parsed.train.eval_batch_size) == (4096, 4096)
    assert parsed.model.bidirectional
    assert parsed.model.translation is not None
    recipe["model"]["bidirectional"] = False
    assert not parse_recipe(recipe).model.bidirectional
    assert parse_recipe(parsed.dump()) == parsed
