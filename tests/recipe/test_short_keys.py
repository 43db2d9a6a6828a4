"""Overrides without their section."""

from __future__ import annotations

from pathlib import Path

import pytest
from recipe_files import MINIMAL, mistakes, write

from momentum_cli.recipe.recipe import load_recipe


@pytest.mark.parametrize(
    ("texts", "path", "value"),
    [
        (["epochs=3"], "train.epochs", 3),
        (["lr=0.25"], "optimizer.lr", 0.25),
        (["cell=gru"], "model.cell", "gru"),
        (["split_seed=7"], "task.split_seed", 7),
        (["warmup_steps=4"], "schedule.warmup_steps", 4),
        (["step_size=0.5"], "cells.momentum.step_size", 0.5),
        (["cell=adam", "beta2=0.5"], "cells.adam.beta2", 0.5),
        # The optimizer that is named first has this key, the one before had not.
        (["optimizer={name: rmsprop, lr: 1}", "alpha=0.5"], "optimizer.alpha", 0.5),
    ],
)
def test_a_key_that_only_one_section_has_needs_no_section(
    tmp_path: Path, texts: list[str], path: str, value: object
) -> None:
    found = load_recipe(write(tmp_path, MINIMAL), texts).dump()
    for part in path.split("."):
        found = found[part]
    assert found == value


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["epoch=3"], "no section has such a key; did you mean train.epochs?"),
        (["quite_another=3"], "no section has such a key"),
        (["name=3"], "could be"),
        (
            ["optimizer={name: sgd, lr: 1}", "momentum=0.5"],
            "could be optimizer.momentum or cells.momentum.momentum; write which",
        ),
        (["~target"], "to leave a value out write target=null"),
    ],
)
def test_other_keys_say_what_to_write(tmp_path: Path, texts: list[str], message: str) -> None:
    found = mistakes(write(tmp_path, MINIMAL), *texts)
    assert [text for _, text in found.values() if message in text], found
