"""Trainers of a tiny model on ten sequences."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import torch
from lightning_fabric import Fabric

from momentum_cli.data import Dataset, Split
from momentum_cli.recipe.recipe import Recipe, parse_recipe
from momentum_cli.runs.checkpoint import Checkpoint
from momentum_cli.training.snapshot import restore, snapshot
from momentum_cli.training.trainer import Trainer

SECTIONS: dict[str, Any] = {
    "task": {"name": "digits"},
    "model": {"cell": "momentum", "hidden_size": 6, "backend": "reference"},
    "optimizer": {"name": "sgd", "lr": 0.1},
    "train": {"epochs": 2, "batch_size": 4, "seed": 3},
}


def recipe(metrics: Sequence[str] = (), **sections: dict[str, Any]) -> Recipe:
    merged = {k: {**SECTIONS.get(k, {}), **sections.get(k, {})} for k in {*SECTIONS, *sections}}
    return parse_recipe({"metrics": list(metrics), **merged})


def dataset(n: int = 10, validation: bool = True) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    split = Split(torch.randn(n, 5, 2, generator=generator), torch.arange(n) % 3)
    held = split if validation else None
    return Dataset("toy", split, held, split, 2, 3, "last", "cross_entropy", ("accuracy",), None)


def trainer(data: Dataset | None = None, metrics: Sequence[str] = (), **sections: dict[str, Any]) -> Trainer:
    return Trainer(recipe(metrics, **sections), data or dataset(), Fabric(accelerator="cpu", devices=1))


def interrupted(make: Callable[[], Trainer], at: int, steps: int = 6) -> tuple[Trainer, Trainer]:
    """Return a trainer after some steps, and one that took over from its checkpoint `at` a step.

    The checkpoint is what a file holds: plain tensors and JSON.
    """
    whole, first, second = make(), make(), make()
    for _ in range(steps):
        whole.step()
    for _ in range(at):
        first.step()
    saved = snapshot(first)
    torch.manual_seed(12345)
    restore(second, Checkpoint(saved.tensors, json.loads(json.dumps(saved.data))))
    for _ in range(steps - at):
        second.step()
    return whole, second


def parameters(one: Trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in one.module.parameters()])
