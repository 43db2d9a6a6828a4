"""Trainers of a tiny model on ten sequences."""

from __future__ import annotations

from typing import Any

import torch
from lightning_fabric import Fabric

from momentum_cli.data import Dataset, Split
from momentum_cli.recipe.recipe import Recipe, parse_recipe
from momentum_cli.training.trainer import Trainer

SECTIONS: dict[str, Any] = {
    "task": {"name": "digits"},
    "model": {"cell": "momentum", "hidden_size": 6, "backend": "reference"},
    "optimizer": {"name": "sgd", "lr": 0.1},
    "train": {"epochs": 2, "batch_size": 4, "seed": 3},
}


def recipe(**sections: dict[str, Any]) -> Recipe:
    return parse_recipe({k: {**SECTIONS.get(k, {}), **sections.get(k, {})} for k in {*SECTIONS, *sections}})


def dataset(n: int = 10, validation: bool = True) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    split = Split(torch.randn(n, 5, 2, generator=generator), torch.arange(n) % 3)
    held = split if validation else None
    return Dataset("toy", split, held, split, 2, 3, "last", "cross_entropy", ("accuracy",), None)


def trainer(data: Dataset | None = None, **sections: dict[str, Any]) -> Trainer:
    return Trainer(recipe(**sections), data or dataset(), Fabric(accelerator="cpu", devices=1))


def parameters(one: Trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in one.module.parameters()])
