"""YAML as recipes are written: scalars of YAML 1.2, overrides that are data, lines of mistakes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from recipe_files import MINIMAL, mistakes, write

from momentum_cli.errors import RecipeError
from momentum_cli.recipe.recipe import InvalidRecipeError, load_recipe


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
    for bomb in (nested, levels, ["a: &a {b: *a}"], ["a: &a [*a]"]):
        with pytest.raises(RecipeError, match=r"an alias that contains itself|more than 20,000 values"):
            load_recipe(write(tmp_path, "\n".join(bomb)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task: {name: adding}\nx: \a\n", "2: not valid YAML: it must not contain the character U+0007"),
        ("x: !!timestamp abc", "the tag 'tag:yaml.org,2002:timestamp' is not used in recipes"),
        (
            "x: &a 1\ny: &a 2\n",
            "2: not valid YAML: this anchor has the name of the one in line 1; rename one of them, and its aliases",
        ),
        ("x: !!bool abc", "1: not valid YAML: 'abc' does not fit its tag !!bool"),
        ("\nx: !!int abc", "2: not valid YAML: 'abc' does not fit its tag !!int"),
        ("x: !!int 1_0", "'1_0' does not fit its tag !!int"),
        ("x: !!float ''", "'' does not fit its tag !!float"),
        ("x: !!float 1:30.5", "'1:30.5' does not fit its tag !!float"),
        ("!!float", "'' does not fit its tag !!float"),
        ("x: !!null y", "'y' does not fit its tag !!null"),
        ("%YAML " + "1" * 5000 + ".2\n---\nx: 1", "1: not valid YAML: a number is too large"),
        ('\nx: "\\UFFFFFFFF"', "2: not valid YAML: a number is too large"),
        ('x: "\\U00110000"', "1: not valid YAML: a number is too large"),
        ("x: *" + "a" * 10_000, f"1: not valid YAML: found undefined alias '{'a' * 477}…"),
        ("x: " + "1" * 5000, "1: not valid YAML: a number has 5,000 digits"),
        ('\nx: "\\ud800.csv"', "2: not valid YAML: a text must not contain U+D800, half of a character"),
        ('x: "a\\0b"', "a text must not contain NUL"),
        ("[" * 5000, "1: not valid YAML: nested more than 50 deep"),
        ("x:\n" + "".join(f"{' ' * depth}-\n" for depth in range(60)), "52: not valid YAML: nested more than 50 deep"),
        ("x: [" + "1, " * 20_000 + "]", "1: not valid YAML: more than 20,000 values"),
    ],
)
def test_what_recipes_do_not_have_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(message)):
        load_recipe(write(tmp_path, text))


def test_an_override_cannot_contain_itself(tmp_path: Path) -> None:
    found = mistakes(write(tmp_path, MINIMAL), "cells=&a {lstm: *a}")
    message = "the value is not valid YAML: an alias that contains itself"
    assert found["cells"] == ("override 'cells=&a {lstm: *a}'", message)


def test_many_and_long_mistakes_are_counted(tmp_path: Path) -> None:
    lines = "".join(f"  k{number}{'x' * 900}: 1\n" for number in range(90))
    with pytest.raises(InvalidRecipeError) as caught:
        load_recipe(write(tmp_path, f"task:\n  name: adding\n{lines}"))
    assert len(caught.value.entries) == 20
    assert str(caught.value).splitlines()[-1].endswith(" more")
    assert len(str(caught.value)) < 40_000


def test_a_large_file_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="must have at most 1,000,000 bytes, got 1,000,001"):
        load_recipe(write(tmp_path, "#" * 1_000_001))


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
