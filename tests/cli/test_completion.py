"""Completion: words that shells break, and what comes after them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_lines import make_run

from momentum_cli.cells.catalogue import all_cells
from momentum_cli.cli import completion
from momentum_cli.recipe.shipped import shipped_recipes

pytestmark = pytest.mark.usefixtures("alone")


def test_completion(tmp_path: Path) -> None:
    (tmp_path / "pm.yaml").touch()
    (tmp_path / "pm.txt").touch()
    (tmp_path / "pmx").mkdir()
    shipped = ["pmnist", "pmnist-fast", "pmnist-long", "pmnist-medium"]
    assert completion.complete_recipe("pm") == [*shipped, "pm.yaml", "pmx/"]
    assert completion.complete_override("model.cell=adam") == [
        f"model.cell={c}" for c in all_cells() if c[:4] == "adam"
    ]
    assert completion.complete_override("train.ep") == ["train.epochs="]
    assert completion.complete_override("model.init=") == ["model.init=torch", "model.init=paper"]
    assert completion.complete_override("model.bias=f") == ["model.bias=false"]
    assert completion.complete_override("optimizer.name=rm") == ["optimizer.name=rmsprop"]
    # A key alone is followed by its values, or the shell would add a space behind it.
    assert completion.complete_override("schedule.na")[0] == "schedule.name=constant"
    assert completion.complete_override("cells.adam-gru.") == ["cells.adam-gru."]
    assert completion.complete_cells("lstm,gr") == ["lstm,gru"]
    assert "lstm,lstm" not in completion.complete_cells("lstm,ls")
    make_run(tmp_path / "runs" / "a-lstm-001")
    assert completion.complete_run("") == ["runs/a-lstm-001", "pmx/", "runs/"]


@pytest.mark.parametrize(
    ("broken", "current", "words", "place", "typed"),
    [
        (["m", "train", "di"], 2, ["m", "train", "di"], 2, ""),
        (["m", "train", "d", "model.cell", "=", "ad"], 5, ["m", "train", "d", "model.cell=ad"], 3, "model.cell="),
        (["m", "train", "d", "model.cell", "="], 4, ["m", "train", "d", "model.cell="], 3, "model.cell="),
        (["m", "train", "a", "=", "b", "tr"], 5, ["m", "train", "a=b", "tr"], 3, ""),
        (["m", "x", "a", "=", "b", ":", "c"], 6, ["m", "x", "a=b:c"], 2, "a=b:"),
        (["m", "train"], 2, ["m", "train"], 2, ""),
    ],
)
def test_words_that_bash_breaks(broken: list[str], current: int, words: list[str], place: int, typed: str) -> None:
    assert completion.bash_words(broken, current) == (words, place, typed)


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_completes_the_value_behind_an_equals_sign() -> None:
    code = "from momentum_cli.cli import app; app(prog_name='momentumrnn')"
    words = ["momentumrnn", "train", "digits", "model.cell", "=", "adam-g"]
    environment = {"COMP_WORDS": "\n".join(words), "COMP_CWORD": "5", "_MOMENTUMRNN_COMPLETE": "complete_bash"}
    command = [sys.executable, "-c", code]
    result = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.stdout.split() == ["adam-gru"]


@pytest.mark.parametrize("shell", ["fish", "zsh"])
def test_shell_completes_recipes(shell: str) -> None:
    environment = {
        "_MOMENTUMRNN_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": "momentumrnn train dig",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    code = "from momentum_cli.cli import app; app(prog_name='momentumrnn')"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    # In zsh it is a list in the language of the shell: _arguments '*: :(("digits" …))'.
    found = result.stdout.split() if shell == "fish" else re.findall('"(.+?)"', result.stdout)
    assert found == [name for name in shipped_recipes() if name.startswith("dig")]
