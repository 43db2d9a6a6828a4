"""Where the training seconds of `momentumrnn train` go, and the time of a whole step relative to that of its layer.

    python benchmarks/train_share.py pmnist --steps 20 [--clock cpu] [--data-dir DIR] [key.path=value …]

Trains with the engine of the command line and times three parts of its steps. Between the steps the recurrent layers
alone run forward and backward on the same shapes: the ratio of both is the cost of everything else.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from momentum_cli.benchmark.speed.step_time import CLOCKS
from momentum_cli.benchmark.speed.step_time import step as layer_step
from momentum_cli.layers.recurrent import RecurrentLayer
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
    parser.add_argument("--clock", default="wall", choices=CLOCKS, help="cpu: processor time, for one thread")
    parser.add_argument("--data-dir", type=Path)
    options = parser.parse_args()
    now = CLOCKS[options.clock]
    recipe = load_recipe(options.recipe, options.overrides)
    trainer = Trainer(recipe, build_task(recipe).load(options.data_dir), launch(recipe, 1, 1, "cpu"))
    seconds = dict.fromkeys(("forward", "backward", "step"), 0.0)

    def timed(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            start = now()
            result = function(*args, **kwargs)
            seconds[part] += now() - start
            return result

        return run

    layers = trainer.module.recurrent_layers()
    shapes: dict[RecurrentLayer, torch.Size] = {}

    def noted(layer: RecurrentLayer) -> Callable[..., Any]:
        run = layer._run

        def run_and_note(x: torch.Tensor, *rest: Any) -> Any:
            shapes[layer] = x.shape  # (T, B, D), whatever the layer was called with
            return run(x, *rest)

        return run_and_note

    for layer in layers:
        layer._run = noted(layer)  # type: ignore[method-assign]
    # The loss is within: a language model computes it with its head.
    trainer.module.training_loss = timed("forward", trainer.module.training_loss)  # type: ignore[method-assign]
    trainer.fabric.backward = timed("backward", trainer.fabric.backward)  # type: ignore[method-assign]
    trainer.optimizer.step = timed("step", trainer.optimizer.step)  # type: ignore[method-assign]
    trainer.step()
    inputs = {layer: torch.randn(shape) for layer, shape in shapes.items()}
    alone_on = {layer: (x.transpose(0, 1) if layer.batch_first else x) for layer, x in inputs.items()}
    cotangents = {layer: torch.randn_like(layer(x)[0]) for layer, x in alone_on.items()}
    for part in seconds:
        seconds[part] = 0.0
    whole, alone = [], []
    for _ in range(options.steps):
        start = now()
        trainer.step()
        whole.append(now() - start)
        start = now()
        for layer, x in alone_on.items():
            layer_step(layer, x, cotangents[layer], "training")
        alone.append(now() - start)
    total = sum(whole)
    print(f"{options.steps} steps, {1000 * total / options.steps:.2f} ms a step, {trainer.module.chosen_backend}")
    for part, value in seconds.items():
        print(f"{part:10}{100 * value / total:6.2f} %")
    print(f"{'together':10}{100 * sum(seconds.values()) / total:6.2f} %")
    ratio = statistics.median(ours / theirs for ours, theirs in zip(whole, alone, strict=True))
    print(f"a step takes {ratio:.3f} times the own forward and backward of its recurrent layers (median)")


if __name__ == "__main__":
    main()
