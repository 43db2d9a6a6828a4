"""Checkpoints with random parameters: a run without its training."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch

from momentum_cli.recipe.building import build_model, build_task
from momentum_cli.recipe.recipe import load_recipe
from momentum_cli.runs.checkpoint import Checkpoint, save_checkpoint
from momentum_cli.training.position import Progress
from momentum_cli.training.trained import describe


def write_checkpoint(path: Path, *overrides: str, recipe: str = "digits") -> Path:
    loaded = load_recipe(recipe, overrides)
    dataset = build_task(loaded).load(None)
    torch.manual_seed(0)
    model = build_model(loaded, dataset.input_size, dataset.output_size, dataset.output)
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    data = {"recipe": loaded.dump(), "dataset": describe(dataset), "progress": asdict(Progress())}
    save_checkpoint(path, Checkpoint(tensors, data))
    return path
