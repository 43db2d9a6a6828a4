"""A small language pair, made by a rule: words are counted out, and the verb goes to the end of the sentence."""

from __future__ import annotations

import gzip
import random
from pathlib import Path
from typing import Any

NUMBERS = {"one": "eins", "two": "zwei", "three": "drei", "four": "vier"}
NOUNS = {"dog": "Hund", "cat": "Katze", "girl": "Mädchen", "boy": "Junge", "tree": "Baum"}
VERBS = {"sees": "sieht", "likes": "mag", "takes": "nimmt"}


def pairs(count: int, seed: int) -> list[tuple[str, str]]:
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        many = draw.choices(list(NUMBERS), k=2)
        what = draw.choices(list(NOUNS), k=2)
        verb = draw.choice(list(VERBS))
        source = f"The {many[0]} {what[0]} {verb} {many[1]} {what[1]}."
        target = f"Die {NUMBERS[many[0]]} {NOUNS[what[0]]} {NUMBERS[many[1]]} {NOUNS[what[1]]} {VERBS[verb]}."
        found.append((source, target))
    return found


def write_corpus(folder: Path, train: int = 300, others: int = 20) -> Path:
    """Write a folder with the six files of a corpus, those of the training split compressed."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (stem, count) in enumerate({"train": train, "val": others, "test_2016": others}.items()):
        for side, language in enumerate(("en", "de")):
            text = "".join(pair[side] + "\n" for pair in pairs(count, number))
            if stem == "train":
                (folder / f"{stem}.{language}.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
            else:
                (folder / f"{stem}.{language}").write_text(text, encoding="utf-8")
    return folder


def content(folder: Path, **translation: Any) -> dict[str, Any]:
    """Return a recipe that learns the pair in seconds."""
    return {
        "task": {"name": "translation", "path": str(folder), "vocabulary_size": 100},
        "model": {
            "cell": "momentum",
            "hidden_size": 32,
            "translation": {"embedding_size": 16, "tied": "all", **translation},
        },
        "optimizer": {"name": "adam", "lr": 0.02},
        "train": {"epochs": 2, "batch_size": 400, "eval_batch_size": 400, "seed": 1, "log_every_n_steps": 1},
    }
