"""The description of a trained model in its exported file."""

from __future__ import annotations

from typing import Any

import torch

from momentum_cli import __version__
from momentum_cli.data.files.made import made_inputs
from momentum_cli.formats.bundle import FORMAT, FORMAT_VERSION, Bundle
from momentum_cli.formats.forms import form_of
from momentum_cli.models.model import Model
from momentum_cli.training.trained import Loaded


def describe_model(source: Loaded, export_format: str, *, stateful: bool, **options: Any) -> Bundle:
    """Return the description that goes into the exported file.

    Args:
        source: The model and its checkpoint.
        export_format: One of `FORMATS`.
        stateful: True if the program takes and returns the state.
        options: Further facts about the file, under ``export``.

    Raises:
        RecipeError: Models of this type cannot be exported.
    """
    model, progress = source.model, source.checkpoint.data["progress"]
    free = ["batch", "time"] if model.output == "every" else ["batch"]
    return Bundle(
        {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "export": {"format": export_format, "stateful": stateful, **options},
            "model": {"cell": source.recipe.model.cell, **form_of(model).describe(model)},
            "inputs": {"name": "inputs", "shape": model.inputs.shape, "dtype": model.inputs.dtype},
            "outputs": {"name": "outputs", "shape": [*free, model.output_size], "dtype": "float32"},
            "state": state_entries(model) if stateful else [],
            "dataset": _with_made_inputs(source.checkpoint.data["dataset"]),
            "metrics": {"step": progress["step"], "best": progress.get("best"), "last": progress.get("last")},
            "recipe": source.recipe.dump(),
            "versions": {"momentumrnn": __version__, "torch": torch.__version__},
        }
    )


def _with_made_inputs(dataset: dict[str, Any]) -> dict[str, Any]:
    """Return the description of data, with the inputs that a reader of raw values could not make."""
    of_files = dataset["preprocessing"].get("kind") == "files"
    return dataset | {"made_inputs": made_inputs(dataset["preprocessing"]) if of_files else []}


def state_entries(model: Model) -> list[dict[str, Any]]:
    """Return name, input, output, shape and dtype of each tensor of the state; the batch is dimension 1."""
    return [
        {
            "name": name,
            "input": f"state_in_{name}",
            "output": f"state_out_{name}",
            "shape": [tensor.shape[0], "batch", *tensor.shape[2:]],
            "dtype": "int64" if tensor.dtype == torch.int64 else "float32",
        }
        for name, tensor in zip(model.state_names, model.zero_state(1), strict=True)
    ]
