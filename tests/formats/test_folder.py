"""Exported models in a folder of their own, and their model cards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from untrained import write_checkpoint

from momentum_cli.errors import DataError, RecipeError
from momentum_cli.formats.export import export
from momentum_cli.inference.evaluate import evaluate
from momentum_cli.inference.trained_model import load
from momentum_cli.recipe.recipe import load_recipe
from momentum_cli.training.train import train


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    train(
        load_recipe("digits", ("train.epochs=null", "train.max_steps=3", "model.hidden_size=8", "target=null")),
        out=folder,
    )
    return folder


def front(readme: Path) -> dict[str, Any]:
    _, text, _ = readme.read_text(encoding="utf-8").split("---\n", 2)
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def test_safetensors_is_a_folder_that_load_and_eval_read(run: Path) -> None:
    result = export(run, format="safetensors")
    folder = run / "export" / "digits-momentum"
    assert Path(result["folder"]) == folder
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    images = np.random.default_rng(0).integers(0, 17, (3, 8, 8))
    loaded, trained = load(folder), load(run)
    assert loaded.predict(images).labels == trained.predict(images).labels
    assert loaded.model is not None
    assert loaded.model.state_dict().keys() == trained.model.state_dict().keys()  # type: ignore[union-attr]
    assert evaluate(folder)["accuracy"] == evaluate(run)["accuracy"]
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["dataset"]["labels"] == list("0123456789")


def test_the_cards_of_a_run_and_of_its_export_say_what_was_measured(run: Path, tmp_path: Path) -> None:
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    export(run, format="torchscript", out=tmp_path / "hub", check_accuracy=False)
    for folder in (run, tmp_path / "hub"):
        about = front(folder / "README.md")
        assert about["library_name"] == "momentumrnn"
        (entry,) = about["model-index"][0]["results"]
        assert {one["type"]: one["value"] for one in entry["metrics"]} == result["test"]
        assert (entry["task"]["type"], entry["dataset"]["name"]) == ("image-classification", "digits")
        text = (folder / "README.md").read_text(encoding="utf-8")
        low, high = (f"{100 * end:.2f} %" for end in result["test_intervals"]["accuracy"])
        naive = f"{100 * result['baselines'][0]['metrics']['accuracy']:.2f} %"
        assert f"| {100 * result['test']['accuracy']:.2f} % | {low} to {high} | {naive} |" in text
        assert "CC BY 4.0" in text
        assert str(tmp_path) not in text  # nobody's paths are published
        assert str(run) not in text
    assert "`torch.jit.load`" in (tmp_path / "hub" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["name-1.0", "name.v2"])
def test_the_digits_of_a_version_are_no_ending(run: Path, tmp_path: Path, name: str) -> None:
    result = export(run, format="safetensors", out=tmp_path / name, check_accuracy=False)
    in_folder = name == "name-1.0"
    assert (tmp_path / name).is_dir() == in_folder
    assert result["folder"] == (str(tmp_path / name) if in_folder else None)
    assert load(tmp_path / name).step == 3


def test_a_card_has_the_tag_of_its_cell_alone(run: Path, tmp_path: Path) -> None:
    assert front(run / "README.md")["tags"] == ["recurrent-neural-network", "pytorch", "momentum"]
    checkpoint = write_checkpoint(tmp_path / "run.safetensors", "model.hidden_size=4", "model.cell=lstm")
    export(checkpoint, format="safetensors", out=tmp_path / "hub", check_accuracy=False)
    assert front(tmp_path / "hub" / "README.md")["tags"] == ["recurrent-neural-network", "pytorch", "lstm"]


def test_a_card_that_somebody_has_made_theirs_stays(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "hub"
    export(run, format="torchscript", out=folder, check_accuracy=False)
    (folder / "README.md").write_text("mine", encoding="utf-8")
    export(run, format="torchscript", out=folder, check_accuracy=False)
    assert (folder / "README.md").read_text(encoding="utf-8") == "mine"


def test_a_checkpoint_alone_has_no_results_on_the_test_set(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "run.safetensors", "model.hidden_size=4")
    export(checkpoint, format="safetensors", out=tmp_path / "hub", check_accuracy=False)
    assert "model-index" not in front(tmp_path / "hub" / "README.md")
    assert "The model has not been evaluated." in (tmp_path / "hub" / "README.md").read_text(encoding="utf-8")


def test_folders_with_other_files_and_with_two_models_are_refused(run: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("mine", encoding="utf-8")
    with pytest.raises(RecipeError, match="is a folder with other files; name a new or an empty one"):
        export(run, format="safetensors", out=tmp_path)
    assert (tmp_path / "config.json").read_text(encoding="utf-8") == "mine"
    both = tmp_path / "both"
    export(run, format="safetensors", out=both, check_accuracy=False)
    with pytest.raises(RecipeError, match="other files"):
        export(run, format="torchscript", out=both)
    (both / "model.onnx").touch()
    with pytest.raises(
        DataError, match=r"must hold one exported model, got model\.onnx and model\.safetensors; name one"
    ):
        load(both)


def test_names_of_data_are_no_marks_in_a_card(tmp_path: Path) -> None:
    rows = ["id,step,a<b>|c,label"] + [
        f"{i},{t},{i + t},{['*x*', '[y](z)'][i % 2]}" for i in range(30) for t in range(2)
    ]
    (tmp_path / "x.csv").write_text("\n".join(rows), encoding="utf-8")
    recipe = tmp_path / "x.yaml"
    task = "{name: files, path: x.csv, kind: classification, sequence: id, order: step, target: label}"
    recipe.write_text(
        f"task: {task}\nmodel: {{hidden_size: 3}}\noptimizer: {{name: sgd, lr: 0.1}}\ntrain: {{epochs: 1}}\n"
    )
    train(load_recipe(str(recipe)), out=tmp_path / "run")
    text = (tmp_path / "run" / "README.md").read_text(encoding="utf-8")
    assert r"Inputs: a\<b\>\|c." in text
    assert r"Classes: \*x\*, \[y\](z)." in text
    assert front(tmp_path / "run" / "README.md")["pipeline_tag"] == "tabular-classification"


def test_a_program_without_parameters_has_none(run: Path, tmp_path: Path) -> None:
    export(run, format="torchscript", out=tmp_path / "hub", check_accuracy=False)
    loaded = load(tmp_path / "hub")
    assert loaded.model is None
    assert loaded(torch.rand(2, 8, 8)).shape == (2, 10)
