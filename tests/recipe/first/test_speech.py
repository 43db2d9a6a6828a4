"""Recipes of speech: those of the papers, those of spoken digits, and the first one of `momentumrnn init`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from speech_files import pcm16, speech_like, write_wav

from momentum_cli.benchmark.plan.planning import make_plan
from momentum_cli.data import Speech, SpeechClassify
from momentum_cli.data.speech.features import Features
from momentum_cli.errors import RecipeError
from momentum_cli.recipe.building import build_model, build_optimizer, build_task
from momentum_cli.recipe.first.files import write_first_recipe
from momentum_cli.recipe.recipe import load_recipe

RECORDINGS = Path(os.environ.get("MOMENTUMRNN_DATA", "/nowhere")) / "fsdd" / "recordings"
needs_digits = pytest.mark.skipif(not RECORDINGS.is_dir(), reason="fsdd/recordings is not in $MOMENTUMRNN_DATA")

# Test MSE, typed from the tables a second time.
PUBLISHED = {
    "timit-158": {"lstm": 9.37, "momentum": 5.87, "adam": 8.69, "rmsprop": 9.17, "sr-coupled": 5.84},
    "timit-dtriv-322": {"dtriv": 1.87, "momentum-dtriv": 1.17},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_recipes_of_timit_follow_the_authors(name: str) -> None:
    recipe = load_recipe(f"paper/{name}")
    assert {cell: entry.value for cell, entry in recipe.published.items()} == PUBLISHED[name]
    assert {(e.metric, e.split, e.epochs, e.seeds) for e in recipe.published.values()} == {("mse", "test", 700, 5)}
    task = build_task(recipe)
    assert isinstance(task, Speech)
    assert (task.format, task.predict, task.normalise) == ("timit", "previous", "none")
    assert (task.sample_rate, task.n_fft, task.hop_length) == (8000, 256, 128)
    assert recipe.model.hidden_size == int(name.rpartition("-")[2])
    assert (recipe.model.init, recipe.train.epochs, recipe.train.clip_grad_norm) == ("paper", 700, 1.0)
    for cell in recipe.published:
        model = build_model(recipe.override(f"model.cell={cell}"), 129, 129, "every")
        build_optimizer(recipe, model)
    if name == "timit-158":
        assert (recipe.optimizer.name, recipe.optimizer.lr, recipe.train.batch_size) == ("adam", 1e-4, 32)
        assert recipe.model.forget_bias == -4.0
        assert recipe.cells["adam"] == {"momentum": 0.3, "step_size": 0.1, "beta2": 0.999, "eps": 1e-16}
        assert recipe.cells["momentum"] == {"momentum": 0.3, "step_size": 0.1}
        assert recipe.cells["sr-coupled"] == {"step_size": 0.1, "restart_every": 2}
    else:
        groups = recipe.optimizer.groups["orthogonal"]
        assert (recipe.optimizer.lr, groups["lr"], recipe.train.batch_size) == (1e-3, 2e-4, 128)
        assert recipe.cells["momentum-dtriv"]["orthogonal_init"] == "henaff"
        assert recipe.cells["dtriv"]["basis_every"] == "infty"


def test_the_table_of_timit_is_a_benchmark() -> None:
    plan = make_plan((), paper="timit", seeds="0", epochs=1)
    cells = {c.name: [entry.label for entry in c.entries] for c in plan.comparisons}
    assert cells == {f"paper/{name}": list(published) for name, published in PUBLISHED.items()}


@needs_digits
def test_spoken_digits_have_the_customary_division() -> None:
    from momentum_cli.data.problems import Problems

    for name in ("fsdd", "fsdd-frames"):
        task = build_task(load_recipe(name))
        assert isinstance(task, Speech | SpeechClassify)
        problems = Problems()
        corpus = task.corpus(RECORDINGS, problems)
        assert not problems
        tested = {corpus.recordings[place].path.stem for place in corpus.parts["test"]}
        speakers = {recording.speaker for recording in corpus.recordings}
        assert len(speakers) == 6
        assert tested == {f"{digit}_{speaker}_{i}" for digit in range(10) for speaker in speakers for i in range(5)}
        assert {split: len(part) for split, part in corpus.parts.items()} == {
            "train": 2430,
            "validation": 270,
            "test": 300,
        }
        if corpus.classes is not None:
            assert (np.bincount(corpus.classes[corpus.parts["validation"]]) == 27).all()


@pytest.mark.slow
@needs_digits
@pytest.mark.parametrize("cell", ["momentum", "lstm"])
def test_spoken_digits_reach_their_target(cell: str, tmp_path: Path) -> None:
    from momentum_cli.training.train import train

    recipe = load_recipe("fsdd", [f"model.cell={cell}", "train.epochs=8"])
    result = train(recipe, out=tmp_path / "run")
    assert result["test"]["accuracy"] >= 0.95


# momentumrnn init


def make(folder: Path, *names: str, rate: int = 8000) -> Path:
    for number, name in enumerate(names):
        write_wav(folder / name, pcm16(speech_like(0.1, rate, number)), rate)
    return folder


CLASSES = [f"{label}/{number}.wav" for label in ("cat", "dog") for number in range(4)]
SPLITS = [f"{split}/{name}" for split in ("train", "validation", "test") for name in CLASSES]
NAMES = [f"{label}_{speaker}_{index}.wav" for label in ("up", "down") for speaker in ("x", "y") for index in range(4)]


@pytest.mark.parametrize(
    ("names", "rate", "wanted"),
    [
        (CLASSES, 8000, SpeechClassify("data", "{label}/*")),
        (SPLITS, 8000, SpeechClassify("data", "{split}/{label}/*")),
        (NAMES, 11025, SpeechClassify("data", "{label}_{speaker}_{index}", sample_rate=11025)),
        (
            [f"{split}/{n}.wav" for split in ("train", "test") for n in range(4)],
            8000,
            Speech("data", pattern="{split}/*"),
        ),
        ([f"take {n}.wav" for n in range(7)], 48000, Speech("data", sample_rate=16000, n_fft=512, hop_length=256)),
        (["a/b/1.wav", "a/2.wav", "3.wav", "4.wav"], 8000, Speech("data")),
    ],
)
def test_a_first_recipe_for_a_folder_of_recordings(
    names: list[str], rate: int, wanted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    make(tmp_path / "data", *names, rate=rate)
    path = write_first_recipe(tmp_path / "data", tmp_path / "first.yaml")
    assert "  path: data\n" in path.read_text(encoding="utf-8")
    task = build_task(load_recipe(path))
    assert isinstance(task, type(wanted))
    for option in ("pattern", "sample_rate", "n_fft", "hop_length", "split", "validation_fraction", "normalise"):
        assert getattr(task, option) == getattr(wanted, option), option
    # It can be trained at once.
    assert len(task.load().train) > 0


def test_stereo_recordings_are_their_mean_or_one_channel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for folder, pick in {"both": None, "mean": -1, "second": 1}.items():
        for number, name in enumerate(CLASSES):
            one, two = (pcm16(speech_like(0.1, 8000, seed)) // 2 * 2 for seed in (number, number + 50))
            sounds = np.stack([one, two], 1) if pick is None else two if pick == 1 else one // 2 + two // 2
            write_wav(tmp_path / folder / name, sounds, 8000)
    recipe = load_recipe(write_first_recipe(tmp_path / "both", tmp_path / "first.yaml"))
    assert recipe.task.options["channel"] == "mean"
    for folder, channel in (("mean", "mean"), ("second", 2)):
        found = SpeechClassify(str(tmp_path / "both"), channel=channel).load()  # type: ignore[arg-type]
        mono = SpeechClassify(str(tmp_path / folder)).load()
        assert torch.equal(found.train.batch(torch.arange(3)).inputs, mono.train.batch(torch.arange(3)).inputs)
        assert found.preprocessing == mono.preprocessing | {"channel": channel}
        assert Features.of(found.preprocessing).channel == channel  # with which `predict` reads
    with pytest.raises(ValueError, match="be 'mean' or >= 1"):
        SpeechClassify("x", channel=0)


def test_a_folder_of_recordings_is_for_classification(tmp_path: Path) -> None:
    make(tmp_path / "data", *CLASSES)
    with pytest.raises(RecipeError, match="--kind must be classification for a folder of recordings, got 'regression'"):
        write_first_recipe(tmp_path / "data", tmp_path / "first.yaml", kind="regression")
    assert not (tmp_path / "first.yaml").exists()
