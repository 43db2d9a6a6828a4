"""Random recipes: accepted, or refused with exit 2 and a short message without control characters."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from attacked import RECIPE, Ended, Warm

PIECES = [
    "\x07", "\x1b[31m", "\0", "\\0", "&a", "*a", "&a [*a]", "&a {b: *a}", "!!timestamp abc", "!!bool x", "!!binary ?",
    "!!python/object/apply:os.system [ls]", "<<: *a", "{", "}", "[", "]", ": ", "- ", "'", '"', "|", ">", "#", "---",
    "...", "%YAML 9.9", "\t", "\r", "\u2028", "\ufeff", "é", "\U0001f600", "1e999", ".nan", "-.inf", "0x20", "1_000",
    "010", "9" * 400, "null", "~", "true", "2001-12-14t21:59:43.10-05:00", "cells: &a {lstm: *a}", "path: \"a\\0b\"",
    "task:", "model:", "train:", "optimizer:", "lr: -1", "hidden_size: 0", "x" * 2000, "[" * 400, "? [1, 2]", "{}: 1",
]  # fmt: skip


def mutated(random_: random.Random) -> str:
    """Return the small recipe with a few pieces inserted, removed or repeated."""
    text = RECIPE
    for _ in range(random_.randrange(1, 5)):
        at, kind = random_.randrange(len(text) + 1), random_.randrange(4)
        if kind < 2:
            text = text[:at] + random_.choice(PIECES) + text[at:]
        elif kind == 2:
            text = text[:at] + text[at + random_.randrange(1, 20) :]
        else:
            text = text + random_.choice(PIECES) * random_.choice([1, 1, 50]) + "\n"
    return text


def faults_of(ended: Ended) -> list[str]:
    """Return what is wrong with a response, or ""."""
    found = ended.faults([0, 2])
    if any(ord(character) < 32 and character != "\n" for character in ended.error):
        found.append(f"control characters: {ended.error[-200:]!r}")
    return found


def many(warm: Warm, folder: Path, tries: int, seed: int) -> list[str]:
    random_ = random.Random(seed)
    faults: list[str] = []
    for count in range(tries):
        if random_.random() < 0.75:
            text = mutated(random_)
            (folder / "r.yaml").write_text(text, encoding="utf-8", errors="surrogateescape")
            ended = warm.run("validate", "r.yaml", folder=folder, seconds=30)
        else:
            (folder / "r.yaml").write_text(RECIPE, encoding="utf-8")
            text = f"{random_.choice(['cells', 'task.length', 'model', 'optimizer.lr', 'x'])}={random_.choice(PIECES)}"
            text = text.replace("\0", "")
            ended = warm.run("validate", "r.yaml", text, folder=folder, seconds=30)
        faults += [f"{count}, {text!r}: {each}" for each in faults_of(ended)]
    print(f"recipes: {tries} tried, {len(faults)} failed", *faults, sep="\n")
    return faults


@pytest.mark.timeout(600)
def test_a_recipe_made_by_chance_is_refused_in_words(warm: Warm, tmp_path: Path) -> None:
    assert many(warm, tmp_path, 40, seed=0) == []


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_many_recipes_made_by_chance_are_refused_in_words(warm: Warm, tmp_path: Path) -> None:
    assert many(warm, tmp_path, 10_000, seed=1) == []
