"""Commands that only look: recipes, cells and doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from command_lines import one_object, run

import momentum_cli
from momentum_cli.cells.catalogue import all_cells
from momentum_cli.data import TASKS
from momentum_cli.recipe.recipe import Recipe, load_recipe, parse_recipe
from momentum_cli.recipe.shipped import shipped_recipes

pytestmark = pytest.mark.usefixtures("alone")


def test_recipes_list() -> None:
    listed = one_object(run("recipes", "list", "--json").stdout)["recipes"]
    assert [entry["name"] for entry in listed] == list(shipped_recipes())
    for entry in listed:
        assert entry["command"] == f"momentumrnn train {entry['name']}"
        assert entry["about"]
        assert entry["task"] in TASKS
    text = run("recipes", "list").stdout
    assert all(name in text for name in shipped_recipes())
    assert "\x1b" not in text


def test_recipes_show() -> None:
    assert run("recipes", "show", "digits").stdout.strip() == shipped_recipes()["digits"].read_text().strip()
    resolved = run("recipes", "show", "digits", "--resolved", "model.cell=gru").stdout
    assert load_resolved(resolved) == load_recipe("digits", ["model.cell=gru"])
    shown = one_object(run("recipes", "show", "digits", "--json").stdout)
    assert parse_recipe(shown) == load_recipe("digits")


def load_resolved(text: str) -> Recipe:
    Path("resolved.yaml").write_text(text, encoding="utf-8")
    return load_recipe("resolved.yaml")


def test_recipes_copy(tmp_path: Path) -> None:
    original = shipped_recipes()["digits"].read_bytes()
    assert run("recipes", "copy", "digits").stdout.strip() == "digits.yaml"
    assert (tmp_path / "digits.yaml").read_bytes() == original
    (tmp_path / "digits.yaml").write_text("mine", encoding="utf-8")
    result = run("recipes", "copy", "digits.yaml")
    assert result.exit_code == 2
    result = run("recipes", "copy", "pmnist", "digits.yaml")
    assert "exists" in result.stderr
    assert (tmp_path / "digits.yaml").read_text() == "mine"
    assert run("recipes", "copy", "pmnist", "digits.yaml", "--overwrite").exit_code == 0
    assert (tmp_path / "digits.yaml").read_bytes() == shipped_recipes()["pmnist"].read_bytes()
    assert run("recipes", "copy", "digits", "no/such/folder/x.yaml").exit_code == 2


def test_recipes_schema() -> None:
    assert one_object(run("recipes", "schema").stdout)["title"] == "Recipe"


def test_validate(capsys: Any) -> None:
    assert "valid (adam on digits)" in run("validate", "digits", "model.cell=adam").stdout
    assert run("validate", "digits", "-q").stdout == ""
    assert one_object(run("validate", "digits", "--json").stdout)["valid"] is True


def test_cells_list() -> None:
    listed = one_object(run("cells", "list", "--json").stdout)["cells"]
    assert [cell["name"] for cell in listed] == list(all_cells())
    adam = next(cell for cell in listed if cell["name"] == "adam-gru")
    assert adam["options"]["beta2"] == {"default": 0.9, "range": "[0, 1)"}
    assert (adam["dynamics"], adam["layer"]) == ("adam", "gru")
    text = run("cells", "list").stdout
    assert all(name in text.split() for name in all_cells())


def test_doctor(tmp_path: Path) -> None:
    report = one_object(run("doctor", "--json", "--data-dir", str(tmp_path)).stdout)
    import torch

    assert report["momentumrnn"] == momentum_cli.__version__
    assert report["packages"]["torch"].startswith(torch.__version__.partition("+")[0])
    assert report["threads"]["torch"] == torch.get_num_threads()
    assert report["devices"][0]["name"] == "cpu"
    assert report["backends"]["reference"]["cpu"] == dict.fromkeys(report["backends"]["reference"]["cpu"])
    assert report["backends"]["native"]["cpu"]["momentum"] is None
    assert "linear" in report["backends"]["native"]["cpu"]["adam"]
    assert report["data"]["folder"] == str(tmp_path)
    assert report["data"]["tasks"].keys() == TASKS.keys()
    assert "missing" in report["data"]["tasks"]["pmnist"]
    assert list(tmp_path.iterdir()) == []
    text = run("doctor", "--data-dir", str(tmp_path)).stdout
    assert torch.__version__.partition("+")[0] in text


def test_doctor_names_damaged_data(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "t10k-labels-idx1-ubyte").write_bytes(b"\x00" * 10_008)
    report = one_object(run("doctor", "--json", "--data-dir", str(tmp_path)).stdout)
    assert report["data"]["tasks"]["mnist"].startswith("damaged: t10k-labels-idx1-ubyte in")
