"""Changes that a resumed run accepts or refuses, and that a refusal leaves the run unchanged."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from momentum_cli.errors import DataError, RecipeError
from momentum_cli.recipe.recipe import load_recipe, parse_recipe
from momentum_cli.runs.lock import PLAN, locked
from momentum_cli.training.train import train
from momentum_cli.training.trained import load_model


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    recipe: dict[str, Any] = {
        "task": {"name": "digits", "pixels_per_step": 8},
        "model": {"cell": "momentum", "hidden_size": 8},
        "optimizer": {"name": "adam", "lr": 0.01},
        "train": {"epochs": 3, "batch_size": 128, "seed": 0},
    }
    train(parse_recipe(recipe), out=folder)
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def resume(run: Path, *overrides: str) -> dict[str, Any]:
    return train(load_recipe(str(run / "recipe.yaml"), overrides), resume=run)


def contents(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.is_file()}


# 1,257 training sequences: 10 steps per epoch with 128, 5 with 256. The planned steps fall below the steps made.
def test_other_batches_from_an_epoch_on(run: Path) -> None:
    result = resume(run, "train.epochs=4", "train.batch_size=256")
    assert (result["epochs"], result["steps"], result["stop_reason"]) == (4, 35, "epochs")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["train.epochs=4", "model.hidden_size=9"], "model.hidden_size of this run is 8, got 9"),
        (["train.epochs=4", "model.cell=adam"], "model.cell of this run is 'momentum', got 'adam'"),
        (["train.epochs=4", "task={name: adding}"], "task.name of this run is 'digits', got 'adding'"),
        (["train.epochs=2"], "`train.epochs` must be at least 3, which the run has made already, got 2"),
        (["train.max_steps=20"], "`train.max_steps` must be at least 30, which the run has made already, got 20"),
    ],
)
def test_a_refusal_changes_nothing(run: Path, overrides: list[str], message: str) -> None:
    before = contents(run)
    with pytest.raises(RecipeError, match=message):
        resume(run, *overrides)
    assert contents(run) == before
    assert resume(run, "train.epochs=4")["epochs"] == 4


def test_one_training_at_a_time(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with locked(run, "training"), monkeypatch.context() as patch:
        patch.setattr("momentum_cli.training.train.load_data", None)  # the refusal comes before, as it may take long
        with pytest.raises(RecipeError, match="another training is running in this folder"):
            resume(run, "train.epochs=4")
    assert resume(run, "train.epochs=4")["epochs"] == 4


def test_a_run_of_a_benchmark_is_left_alone_while_that_is_running(run: Path, tmp_path: Path) -> None:
    bench = tmp_path / "bench"
    one = Path(shutil.copytree(run, bench / "runs" / "one"))
    (bench / PLAN).write_text("{}")
    before = contents(bench)
    recipe = load_recipe(run / "recipe.yaml")
    with locked(bench, "benchmark"):
        for change in ({"resume": one}, {"out": one, "overwrite": True}, {"out": one.with_name("new")}):
            with pytest.raises(RecipeError, match="another benchmark is running in this folder"):
                train(recipe, **change)  # type: ignore[arg-type]
    assert contents(bench) == before
    assert resume(one, "train.epochs=4")["epochs"] == 4


def test_a_lost_checkpoint_is_noticed_before_anything_is_trained(run: Path) -> None:
    best = next(run.glob("checkpoints/best-*"))
    best.unlink()
    before = contents(run)
    with pytest.raises(DataError, match="use --checkpoint last"):
        resume(run, "train.epochs=4")
    with pytest.raises(DataError, match="--checkpoint last"):
        load_model(run)
    (run / "checkpoints" / "last.safetensors").unlink()
    with pytest.raises(DataError, match=r"last\.safetensors is missing"):
        resume(run, "train.epochs=4")
    assert contents(run) == {name: text for name, text in before.items() if "last.safetensors" not in name}


def test_a_backend_that_cannot_serve_is_refused_before_there_is_a_folder(finished: Path, tmp_path: Path) -> None:
    recipe = load_recipe(str(finished / "recipe.yaml"), ["model.cell=adam", "model.backend=native"])
    with pytest.raises(RecipeError, match=r"model\.backend: backend .native. cannot run this"):
        train(recipe, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_seeds_have_a_range(finished: Path) -> None:
    with pytest.raises(RecipeError, match=r"train\.seed"):
        load_recipe(str(finished / "recipe.yaml"), ["train.seed=4294967296"])
