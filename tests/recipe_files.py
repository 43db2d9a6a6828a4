"""Small recipes of tests: written to files, and the mistakes found in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from momentum_cli.recipe.recipe import InvalidRecipeError, load_recipe

MINIMAL = """\
task: {name: digits}
model:
  hidden_size: 8
optimizer: {name: adam, lr: 0.01}
train:
  epochs: 1
"""


def write(folder: Path, text: str, name: str = "recipe.yaml") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def mistakes(path: str, *overrides: str) -> dict[str, tuple[str, str]]:
    """Load a recipe that is wrong; path -> (where, message)."""
    with pytest.raises(InvalidRecipeError) as caught:
        load_recipe(path, overrides)
    assert caught.value.exit_code == 2
    for entry in caught.value.entries:
        assert entry["where"] in str(caught.value)
        assert entry["message"] in str(caught.value)
    return {entry["path"]: (entry["where"], entry["message"]) for entry in caught.value.entries}
