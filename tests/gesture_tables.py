"""A small table of sequences with times, labels and splits, and its recipe."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from momentum_cli.recipe.recipe import Recipe, parse_recipe

HEADING = "id,t,x,y,label,split"


def table(path: Path, changes: dict[int, str] | None = None, sequences: int = 12, steps: int = 5) -> Path:
    """Write a CSV; `changes` replaces whole lines, numbered as an editor does."""
    draw = random.Random(0)
    lines = [HEADING]
    for s in range(sequences):
        split = ("train", "validation", "test")[0 if s < 8 else 1 if s < 10 else 2]
        lines += [f"s{s},{t},{draw.random():.4f},{draw.random():.4f},{'ab'[s % 2]},{split}" for t in range(steps)]
    for row, line in (changes or {}).items():
        lines[row - 1] = line
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def recipe_of(path: Path, **task: Any) -> Recipe:
    options = {"kind": "classification", "sequence": "id", "order": "t", "target": "label", "split_column": "split"}
    return parse_recipe(
        {
            "task": {"name": "files", "path": str(path), **options, **task},
            "model": {"hidden_size": 4},
            "optimizer": {"name": "adam", "lr": 0.01},
            "train": {"epochs": 2, "batch_size": 3},
        }
    )
