"""Loading a model from a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from momentum_cli.data import Dataset
from momentum_cli.errors import DataError, RecipeError
from momentum_cli.models.model import Model
from momentum_cli.recipe.building import build_model
from momentum_cli.recipe.recipe import Recipe, parse_recipe
from momentum_cli.runs.checkpoint import Checkpoint, find_checkpoint, load_checkpoint


def describe(dataset: Dataset) -> dict[str, Any]:
    """Return the facts about its data that a user of the model needs, JSON-able."""
    steps = dataset.metric_steps
    return {
        "name": dataset.name,
        "input_size": dataset.input_size,
        "output_size": dataset.output_size,
        "output": dataset.output,
        "loss": dataset.loss,
        "metric": dataset.metric,
        "metric_steps": None if steps is None else [steps.start, steps.stop, steps.step],
        "labels": None if dataset.labels is None else list(dataset.labels),
        "preprocessing": dataset.preprocessing,
        "licence": dataset.licence,
    }


@dataclass(frozen=True)
class Loaded:
    """A trained model and its origin.

    Args:
        model: The model, in evaluation mode, on the CPU.
        recipe: The recipe of the training.
        checkpoint: The content of the file.
        path: The file.
    """

    model: Model
    recipe: Recipe
    checkpoint: Checkpoint
    path: Path


def load_model(run: Path, which: str = "best") -> Loaded:
    """Load a trained model.

    Args:
        run: A run folder or a checkpoint file.
        which: For a folder ``"best"``, ``"last"``, or the step of a checkpoint that was kept.

    Raises:
        DataError: There is no checkpoint, or it is damaged or something else.
    """
    path = find_checkpoint(run, which)
    checkpoint = load_checkpoint(path)
    try:
        recipe = parse_recipe(checkpoint.data["recipe"])
        data = checkpoint.data["dataset"]
        model = build_model(recipe, data["input_size"], data["output_size"], data["output"])
        model.load_state_dict(checkpoint.group("model"))
    except (KeyError, RuntimeError, RecipeError) as error:
        raise DataError(f"{path}: the checkpoint does not describe a model of this program: {error}") from error
    return Loaded(model.eval(), recipe, checkpoint, path)
