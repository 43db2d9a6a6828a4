"""YAML as recipes are written: scalars of YAML 1.2, overrides that are data, lines of mistakes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from recipe_files import MINIMAL, mistakes, write

from momentum_cli.errors import RecipeError
from momentum_cli.recipe.recipe import load_recipe


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 0.001), ("1E-3", 0.001), ("1.5e2", 150.0), ("'1e-3'", 0.001), (".5", 0.5), ("2", 2.0), ("+3.", 3.0)],
)
def test_numbers_that_pyyaml_reads_as_text_are_numbers(tmp_path: Path, text: str, value: float) -> None:
    assert isinstance(yaml.safe_load("1e-3"), str)  # the reason for this test
    path = write(tmp_path, MINIMAL.replace("0.01", text))
    assert load_recipe(path).optimizer.lr == value
    assert load_recipe(write(tmp_path, MINIMAL), [f"optimizer.lr={text}"]).optimizer.lr == value


def test_words_that_pyyaml_reads_as_truth_values_are_words(tmp_path: Path) -> None:
    assert yaml.safe_load("off") is False  # the reason for this test
    path = write(tmp_path, f"{MINIMAL}  deterministic: off\n")
    assert load_recipe(path).train.deterministic == "off"
    assert load_recipe(path, ["train.deterministic=strict"]).train.deterministic == "strict"
    assert "model.bias" in mistakes(path, "model.bias=maybe")
    assert load_recipe(path, ["task.validation=none"]).task.options["validation"] == "none"
    assert load_recipe(path, ["train.seed=010"]).train.seed == 10  # not octal


def test_overrides_are_data_not_code(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL)
    marker = tmp_path / "ran"
    found = mistakes(path, f"model.hidden_size=!!python/object/apply:pathlib.Path.touch [{marker}]")
    assert "not valid YAML" in found["model.hidden_size"][1]
    assert not marker.exists()


def test_aliases_and_merges_work_and_do_not_explode(tmp_path: Path) -> None:
    merged = MINIMAL + "cells:\n  adam: &a {momentum: 0.1}\n  adam-gru: {<<: *a, beta2: 2}\n"
    path = write(tmp_path, merged)
    assert mistakes(path).keys() == {"cells.adam-gru.beta2"}
    assert mistakes(path)["cells.adam-gru.beta2"][0] == f"{path}:9"
    levels = [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9) if i else 1}]" for i in range(9)]
    nested = [f"m{i}: &m{i} {{{', '.join(f'k{k}: *m{i - 1}' for k in range(9)) if i else 'x: 1'}}}" for i in range(9)]
    for bomb in (nested, ["a: &a {b: *a}"]):
        with pytest.raises(RecipeError, match="aliases without end"):
            load_recipe(write(tmp_path, "\n".join(bomb)))
    with pytest.raises(RecipeError, match="unknown section"):
        load_recipe(write(tmp_path, MINIMAL + "\n".join(levels)))


def test_a_key_written_twice_is_a_mistake(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL + "  epochs: 2\n1: 2\n")
    found = mistakes(path, "cells.adam={2: 3}")
    assert found["train.epochs"] == (f"{path}:7", "written twice, first in line 6")
    assert found["1"][0] == f"{path}:8"
    assert "unknown section '1'" in found["1"][1]
    assert "unknown key '2' of cell adam" in found["cells.adam.2"][1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty; a recipe has at least"),
        (b"# nothing\n", "empty; a recipe has at least"),
        (b"- 1\n", ":1: a recipe must be a mapping of sections, got a list"),
        (b"a: " + b"9" * 5000 + b"\n", "not valid YAML"),
        (b"a: [1\n", "not valid YAML"),
        (b"a: 1\n\tb: 2\n", ":2: not valid YAML"),
        (b"a: \xff\n", "not UTF-8"),
        (b"a: !!python/object/apply:os.getcwd []\n", "not valid YAML"),
        (b"? [1]\n: 2\n", "not valid YAML"),
        (b"a: 1\n---\nb: 2\n", "not valid YAML"),
    ],
)
def test_files_that_are_no_recipes(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=re.escape(message)) as caught:
        load_recipe(str(path))
    assert str(path) in str(caught.value)
