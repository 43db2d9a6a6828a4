"""Where the training seconds of `momentumrnn train` go, and how far a whole step is from the step of its layer.

    python benchmarks/train_share.py pmnist --steps 20 [--data-dir DIR] [key.path=value …]

Trains with the engine of the command line and times the three parts inside its scored clock. Between the steps the
recurrent layer alone runs forward and backward on the same shape: a step over that is what everything else costs.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from momentum_cli.benchmark.speed.step_time import step as layer_step
from momentum_cli.recipe.building import build_task
from momentum_cli.recipe.recipe import load_recipe
from momentum_cli.training.launch import launch
from momentum_cli.training.trainer import Trainer


def main() -> None:
    """Train some steps and print the shares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--data-dir", type=Path)
    options = parser.parse_args()
    recipe = load_recipe(options.recipe, options.overrides)
    trainer = Trainer(recipe, build_task(recipe).load(options.data_dir), launch(recipe, 1, 1, "cpu"))
    seconds = dict.fromkeys(("forward", "backward", "step"), 0.0)
    shapes: list[tuple[int, ...]] = []

    def timed(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            result = function(*args, **kwargs)
            seconds[part] += time.perf_counter() - start
            return result

        return run

    layer = trainer.module.layer
    run_padded = layer.run_padded

    def noted(x: torch.Tensor, *rest: Any) -> Any:
        shapes.append(tuple(x.shape))
        return run_padded(x, *rest)

    layer.run_padded = noted  # type: ignore[method-assign]
    trainer.module.forward = timed("forward", trainer.module.forward)  # type: ignore[method-assign]
    trainer.fabric.backward = timed("backward", trainer.fabric.backward)  # type: ignore[method-assign]
    trainer.optimizer.step = timed("step", trainer.optimizer.step)  # type: ignore[method-assign]
    trainer.step()
    x = torch.randn(shapes[0])
    cotangent = torch.randn_like(layer(x)[0])
    for part in seconds:
        seconds[part] = 0.0
    whole, alone = [], []
    for _ in range(options.steps):
        before = trainer.progress.train_seconds
        trainer.step()
        whole.append(trainer.progress.train_seconds - before)
        start = time.perf_counter()
        layer_step(layer, x, cotangent, "training")
        alone.append(time.perf_counter() - start)
    total = sum(whole)
    print(f"{options.steps} steps, {1000 * total / options.steps:.1f} ms a step, {layer.chosen_backend}")
    for part, value in seconds.items():
        print(f"{part:10}{100 * value / total:6.2f} %")
    print(f"{'together':10}{100 * sum(seconds.values()) / total:6.2f} %")
    ratio = statistics.median(ours / theirs for ours, theirs in zip(whole, alone, strict=True))
    print(f"a step takes {ratio:.3f} times the layer's own forward and backward (median)")


if __name__ == "__main__":
    main()
