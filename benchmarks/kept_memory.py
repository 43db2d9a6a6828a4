"""The gain from keeping the memory that a training step frees: steps of recipes with and without it, alternating.

    python benchmarks/kept_memory.py "pmnist model.backend=native" shakespeare fsdd --rounds 20 --data-dir DIR

Both sides are processes of their own with the engine of the command line; a round is one step of each, in alternating
order, and ratios are taken within a round.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from momentum_cli import allocator
from momentum_cli.benchmark.speed.apart import Apart, serve

_WARM_UP_STEPS = 2


def measure(recipe: str, rounds: int, data_dir: str) -> str:
    """Return a line of a table: recipe, milliseconds per step with and without, ratio with quartiles."""
    arguments = [__file__, recipe, "--data-dir", data_dir, "--serve"]
    seconds: dict[bool, list[float]] = {True: [], False: []}
    with Apart(arguments, {allocator.SETTING: None}) as kept, Apart(arguments, {allocator.SETTING: "0"}) as untouched:
        sides = {True: kept, False: untouched}
        for number in range(rounds):
            for side in (True, False) if number % 2 else (False, True):
                seconds[side].append(sides[side].turn())
    low, middle, high = statistics.quantiles(
        [without / with_it for with_it, without in zip(seconds[True], seconds[False], strict=True)], n=4
    )
    times = [f"{1000 * statistics.median(seconds[side]):.1f}" for side in (True, False)]
    return f"| {recipe} | {times[0]} | {times[1]} | {middle:.2f} ({low:.2f}-{high:.2f}) |"


def train(recipe: str, data_dir: str) -> None:
    """Make a step at each turn."""
    allocator.keep_memory()
    from momentum_cli.recipe.building import build_task
    from momentum_cli.recipe.recipe import load_recipe
    from momentum_cli.training.launch import launch
    from momentum_cli.training.trainer import Trainer

    name, *overrides = recipe.split()
    loaded = load_recipe(name, overrides)
    folder = Path(data_dir) if data_dir else None
    trainer = Trainer(loaded, build_task(loaded).load(folder), launch(loaded, 1, 1, "cpu"))

    def turn() -> float:
        before = trainer.progress.train_seconds
        trainer.step()
        return trainer.progress.train_seconds - before

    for _ in range(_WARM_UP_STEPS):
        turn()
    serve(turn)


def main() -> None:
    """Measure each recipe and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="+", metavar="RECIPE", help="with its changes in one argument, in quotes")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--data-dir", default="")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        train(options.recipes[0], options.data_dir)
        return
    print("| recipe | ms per step, memory kept | ms as it comes | times faster (quartiles) |\n|---|---|---|---|")
    for recipe in options.recipes:
        print(measure(recipe, options.rounds, options.data_dir), flush=True)


if __name__ == "__main__":
    main()
