"""A random search for settings that reach an accuracy on permuted MNIST fast: python benchmarks/pmnist_search.py OUT

Every trial is a whole training of the recipe pmnist-fast with some of its values drawn anew, in its own run folder
OUT/trial-N; trial 0 is the recipe as it is. Trials are compared by validation accuracy and by training seconds until
the recipe's target; the test metrics that a training also writes are not read here. A finished trial is kept and
a stopped one continues, so the same command resumes the search after an interruption, and a larger --trials adds to it.
OUT/search.csv has one row per trial, with its cost.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from momentum_cli.errors import MomentumError, RecipeError
from momentum_cli.recipe.recipe import load_recipe
from momentum_cli.training.train import train


def log_uniform(low: float, high: float) -> Callable[[random.Random], float]:
    """Return a draw that is even in the logarithm, with three digits."""
    return lambda draw: float(f"{math.exp(draw.uniform(math.log(low), math.log(high))):.3g}")


def one_of(*values: Any) -> Callable[[random.Random], Any]:
    """Return a draw of one of the values."""
    return lambda draw: draw.choice(values)


# A new line goes to the end: the draws of the others stay as they are.
SPACE: dict[str, Callable[[random.Random], Any]] = {
    "model.hidden_size": one_of(128, 160, 192, 256),
    "optimizer.lr": log_uniform(4e-4, 4e-3),
    "optimizer.groups.orthogonal.lr": log_uniform(1e-4, 1e-3),
    "cells.momentum-dtriv.momentum": one_of(0.0, 0.3, 0.6, 0.8),
    "cells.momentum-dtriv.step_size": one_of(0.3, 0.6, 0.9),
    "cells.momentum-dtriv.basis_every": one_of(1, "infty"),
    "train.batch_size": one_of(64, 128),
    "schedule.warmup_steps": one_of(0, 100, 300),
}


def trial(number: int) -> list[str]:
    """Return the overrides of a trial, the same ones in every call; none for the first."""
    if number == 0:
        return []
    draws = {name: draw(random.Random(f"{number} {name}")) for name, draw in SPACE.items()}
    return [f"{name}={value}" for name, value in draws.items()]


def run(folder: Path, overrides: list[str], data_dir: Path | None) -> dict[str, Any]:
    """Return the result of a trial, made now unless it is there.

    Raises:
        MomentumError: The folder holds another trial, or the training failed or was stopped.
    """
    recipe = load_recipe("pmnist-fast", overrides)
    if (folder / "recipe.yaml").is_file() and load_recipe(folder / "recipe.yaml") != recipe:
        raise RecipeError(f"{folder} was trained with other settings; name another folder for another search")
    if (folder / "result.json").is_file():
        found: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        return found
    resume = folder if (folder / "checkpoints").is_dir() else None
    return train(recipe, data_dir=data_dir, out=folder, overwrite=resume is None, resume=resume)


def row(number: int, overrides: list[str], result: dict[str, Any]) -> dict[str, Any]:
    """Return the row of a trial: nothing of it is from the test set."""
    target = result["target"]
    values = dict(text.split("=", 1) for text in overrides)
    return {
        "trial": number,
        "validation_accuracy": result["best"]["value"],
        "seconds_to_target": target["train_seconds"] if target["reached"] else "",
        "train_seconds": round(result["train_seconds"], 1),
        "epochs": result["epochs"],
        **{name: values.get(name, "") for name in SPACE},
    }


def main() -> None:
    """Make the trials and print the best ones first, and what all of them cost."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--trials", type=int, default=16, help="the recipe itself and N - 1 others")
    parser.add_argument("--epochs", type=int, default=3, help="of every trial; its schedule ends with them")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("overrides", nargs="*", help="key.path=value for all trials")
    given = parser.parse_intermixed_args()
    rows = []
    for number in range(given.trials):
        overrides = trial(number)
        shared = [*overrides, f"train.epochs={given.epochs}", *given.overrides]
        rows.append(row(number, overrides, run(given.out / f"trial-{number}", shared, given.data_dir)))
        with open(given.out / "search.csv", "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        print(json.dumps(rows[-1]), flush=True)
    rows.sort(key=lambda row: -row["validation_accuracy"])
    spent = math.fsum(row["train_seconds"] for row in rows)
    print(f"\n{len(rows)} trials, {spent:,.0f} s of training; the best by validation accuracy:")
    for found in rows[:5]:
        print(json.dumps(found))


if __name__ == "__main__":
    try:
        main()
    except MomentumError as error:
        sys.exit(f"error: {error}")
