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


# As many are validated in one process; one that ends the process ends its turn, see `Warm.run_all`.
_TOGETHER = 100


def drawn(random_: random.Random, path: Path) -> tuple[str, list[str]]:
    """Write a recipe; return what was made by chance, and the arguments of the command."""
    if random_.random() < 0.75:
        text = mutated(random_)
        path.write_text(text, encoding="utf-8", errors="surrogateescape")
        return text, ["validate", path.name]
    path.write_text(RECIPE, encoding="utf-8")
    text = f"{random_.choice(['cells', 'task.length', 'model', 'optimizer.lr', 'x'])}={random_.choice(PIECES)}"
    text = text.replace("\0", "")
    return text, ["validate", path.name, text]


def many(warm: Warm, folder: Path, tries: int, seed: int) -> list[str]:
    random_ = random.Random(seed)
    faults: list[str] = []
    for start in range(0, tries, _TOGETHER):
        numbers = range(start, min(start + _TOGETHER, tries))
        cases = [drawn(random_, folder / f"r{number % _TOGETHER}.yaml") for number in numbers]
        answers = warm.run_all([arguments for _, arguments in cases], folder=folder, seconds=120)
        for number, (text, _), ended in zip(numbers, cases, answers, strict=True):
            faults += [f"{number}, {text!r}: {each}" for each in faults_of(ended)]
    print(f"recipes: {tries} tried, {len(faults)} failed", *faults, sep="\n")
    return faults


@pytest.mark.timeout(600)
def test_a_recipe_made_by_chance_is_refused_in_words(warm: Warm, tmp_path: Path) -> None:
    assert many(warm, tmp_path, 40, seed=0) == []


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_many_recipes_made_by_chance_are_refused_in_words(warm: Warm, tmp_path: Path) -> None:
    assert many(warm, tmp_path, 10_000, seed=1) == []


@pytest.mark.timeout(600)
def test_a_command_that_ends_or_hangs_is_the_one_blamed(warm: Warm, tmp_path: Path) -> None:
    """Of commands that share a process, and those after it run all the same."""
    (tmp_path / "ends.py").write_text("import os\nos._exit(7)\n", encoding="utf-8")
    (tmp_path / "hangs.py").write_text("import time\ntime.sleep(600)\n", encoding="utf-8")
    names = ["", "ends.py", "", "hangs.py", ""]
    commands = [["recipes", "list", *(["--plugin", name] if name else [])] for name in names]
    ended = warm.run_all(commands, folder=tmp_path, seconds=5)
    assert [each.code for each in ended] == [0, 7, 0, None, 0]
    assert ended[0].output == ended[2].output == ended[4].output != ""
