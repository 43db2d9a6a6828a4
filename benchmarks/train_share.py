"""Which share of the training seconds of `momentumrnn train` is forward, backward and optimizer step.

    python benchmarks/train_share.py pmnist --steps 20 [--data-dir DIR] [key.path=value …]

Trains with the engine of the command line and times the three parts inside its scored clock.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from momentum_cli.recipe import load_recipe
from momentum_cli.train import launch
from momentum_cli.trainer import Trainer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--data-dir", type=Path)
    options = parser.parse_args()
    recipe = load_recipe(options.recipe, options.overrides)
    trainer = Trainer(recipe, recipe.build_task().load(options.data_dir), launch(recipe, 1, 1, "cpu"))
    seconds = dict.fromkeys(("forward", "backward", "step"), 0.0)

    def timed(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            result = function(*args, **kwargs)
            seconds[part] += time.perf_counter() - start
            return result

        return run

    trainer.module.forward = timed("forward", trainer.module.forward)  # type: ignore[method-assign]
    trainer.fabric.backward = timed("backward", trainer.fabric.backward)  # type: ignore[method-assign]
    trainer.optimizer.step = timed("step", trainer.optimizer.step)  # type: ignore[method-assign]
    trainer.step()
    warm = trainer.progress.train_seconds
    for part in seconds:
        seconds[part] = 0.0
    for _ in range(options.steps):
        trainer.step()
    total = trainer.progress.train_seconds - warm
    print(f"{options.steps} steps, {1000 * total / options.steps:.1f} ms a step, {trainer.module.layer.chosen_backend}")
    for part, value in seconds.items():
        print(f"{part:10}{100 * value / total:6.2f} %")
    print(f"{'together':10}{100 * sum(seconds.values()) / total:6.2f} %")


if __name__ == "__main__":
    main()
