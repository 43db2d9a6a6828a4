"""A step of `momentumrnn train digits` against loops written by hand and against its layer alone.

    OMP_NUM_THREADS=1 python benchmarks/small_step.py

The loops have the layer, or `torch.nn.LSTM`, a linear head, cross-entropy, `clip_grad_norm_` and torch's Adam, and one
batch that stays the same. Contenders take turns; times are processor time, ratios are taken within a turn.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from momentum_cli import LSTM, HeavyBall
from momentum_cli.benchmark.speed.step_time import CLOCKS
from momentum_cli.benchmark.speed.step_time import step as layer_step
from momentum_cli.recipe.building import build_task
from momentum_cli.recipe.recipe import load_recipe
from momentum_cli.training.launch import launch
from momentum_cli.training.trainer import Trainer

STEPS, BATCH, INPUTS, HIDDEN, CLASSES = 8, 32, 8, 64, 10


def ours() -> nn.Module:
    """Return the layer of the recipe."""
    return LSTM(INPUTS, HIDDEN, dynamics=HeavyBall(momentum=0.6, step_size=1.0))


def train() -> Callable[[], object]:
    """Return the step of the command line."""
    recipe = load_recipe("digits", [])
    return Trainer(recipe, build_task(recipe).load(None), launch(recipe, 1, 1, "cpu")).step


def by_hand(layer: nn.Module, *, fused: bool = False) -> Callable[[], object]:
    """Return a training step as one would write it."""
    head = nn.Linear(HIDDEN, CLASSES)
    parameters = [*layer.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=0.01, fused=fused)
    x, y = torch.randn(STEPS, BATCH, INPUTS), torch.randint(0, CLASSES, (BATCH,))

    def step() -> float:
        output, _ = layer(x)
        loss = cross_entropy(head(output[-1]), y)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return step


def alone(layer: nn.Module) -> Callable[[], object]:
    """Return forward and backward of a layer."""
    x, cotangent = torch.randn(STEPS, BATCH, INPUTS), torch.randn(STEPS, BATCH, HIDDEN)
    return lambda: layer_step(layer, x, cotangent, "training")


def main() -> None:
    """Print milliseconds and the ratio to the step of the command line, one line per contender."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=500)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    contenders = {
        "momentumrnn train": train(),
        "by hand, our layer": by_hand(ours()),
        "by hand, nn.LSTM": by_hand(nn.LSTM(INPUTS, HIDDEN)),
        "by hand, nn.LSTM, fused Adam": by_hand(nn.LSTM(INPUTS, HIDDEN), fused=True),
        "our layer alone": alone(ours()),
        "nn.LSTM alone": alone(nn.LSTM(INPUTS, HIDDEN)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    now = CLOCKS["cpu"]
    for number in range(options.rounds + 20):
        for name, step in contenders.items():
            start = now()
            step()
            if number >= 20:  # the first ones allocate
                seconds[name].append(now() - start)
    first = seconds["momentumrnn train"]
    for name, found in seconds.items():
        low, median, high = statistics.quantiles([1000 * one for one in found], n=4)
        ratio = statistics.median(one / other for one, other in zip(found, first, strict=True))
        least = 1000 * min(found)
        print(f"{name:28} {median:6.2f} ms ({low:.2f}-{high:.2f}), least {least:.2f}; {ratio:.2f} of a step of train")


if __name__ == "__main__":
    main()
