"""`momentumrnn summary`: the parts of the model of a recipe and the cost of a training step, before any training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from momentum_cli.data import Dataset
from momentum_cli.errors import RecipeError
from momentum_cli.inspection.model.memory import estimate
from momentum_cli.inspection.model.operations import forward_operations, head_operations, training_operations
from momentum_cli.inspection.model.peak import measured_peak
from momentum_cli.messages import Said, refuse
from momentum_cli.models.model import Model
from momentum_cli.progress import NullUi, Ui
from momentum_cli.recipe.building import build_model, build_sequence_model, build_task, load_data, model_section
from momentum_cli.recipe.recipe import Recipe


def summary(
    recipe: Recipe, *, measure: bool = False, data_dir: Path | None = None, ui: Ui | None = None
) -> dict[str, Any]:
    """Summarise the model of a recipe: parameters, state, operations and memory. Nothing is downloaded or written.

    Args:
        recipe: Recipe of the model.
        measure: Also measure the memory of a training step, in a separate process.
        data_dir: Folder of the data sets; used only by tasks whose options do not determine their sizes.
        ui: Where progress is shown; None shows nothing.

    Returns:
        ``cell``, ``task``; ``length``, ``input_size``, ``output_size``, ``output``, ``batch_size``, ``batch_unit``;
        ``layers`` (name, shape and number of each parameter) and ``parameters`` (their sum); ``state`` (name, shape and
        bytes of each tensor for one sequence) and ``state_bytes``; ``backend`` and ``asked_backend``; ``flops``
        (``time_step``: the layer, forward, one sequence; ``head``: one output; ``training_step``: forward and backward
        of a batch); ``memory`` in bytes (`memory.Memory`, and with ``measure`` also ``measured``, None where unknown).
        For language and translation models ``flops`` and ``memory`` are None.

    Raises:
        DataError: The data of a task had to be loaded and are missing.
        RunError: The measurement failed.
    """
    shown: Ui = ui or NullUi()
    if section := model_section(recipe):
        if measure:
            remedy = "momentumrnn train --dry-run measures a step and its memory"
            raise RecipeError(refuse("--measure", Said(f"a model with model.{section}"), "be left out for it", remedy))
        return _parts(recipe, load_data(recipe, data_dir, shown))
    task = build_task(recipe)
    size = task.sizes() or task.load(data_dir, shown).sizes
    batch = recipe.train.batch_size
    with torch.random.fork_rng(devices=[]):
        model = build_sequence_model(recipe, size.input_size, size.output_size, size.output)
        memory = estimate(recipe, size, batch).as_json()
    layer = model.layer
    if measure:
        shown.note("measuring one training step in a separate process")
        memory["measured"] = measured_peak(recipe, size, batch)
    return {
        "cell": recipe.model.cell,
        "task": recipe.task.name,
        "length": size.length,
        "input_size": size.input_size,
        "output_size": size.output_size,
        "output": size.output,
        "batch_size": batch,
        "batch_unit": "sequences",
        **_counted(model),
        "backend": layer.backend_for((size.length, batch, size.input_size), training=True),
        "asked_backend": recipe.model.backend,
        "flops": {
            "time_step": forward_operations(model),
            "head": head_operations(model),
            "training_step": training_operations(model, size.length, batch),
        },
        "memory": memory,
    }


def _parts(recipe: Recipe, dataset: Dataset) -> dict[str, Any]:
    """Return the summary of a model with a section of its own, whose operations and memory are not counted."""
    with torch.random.fork_rng(devices=[]):
        model = build_model(recipe, dataset.input_size, dataset.output_size, dataset.output)
    groups = dataset.train.training_groups(recipe.train.batch_size, recipe.train.seed, recipe.train.bptt)
    return {
        "cell": recipe.model.cell,
        "task": recipe.task.name,
        "length": groups.longest,
        "input_size": dataset.input_size,
        "output_size": dataset.output_size,
        "output": dataset.output,
        "batch_size": recipe.train.batch_size,
        "batch_unit": dataset.train.batch_unit,
        **_counted(model),
        "backend": model.backend_for(groups.longest, groups.rows, training=True),
        "asked_backend": recipe.model.backend,
        "flops": None,
        "memory": None,
    }


def _counted(model: Model) -> dict[str, Any]:
    """Return the parameters and the state of a model."""
    state = [
        {"name": name, "shape": [*tensor.shape], "bytes": tensor.numel() * tensor.element_size()}
        for name, tensor in zip(model.state_names, model.zero_state(1), strict=True)
    ]
    return {
        "layers": [
            {"name": name, "shape": [*parameter.shape], "parameters": parameter.numel()}
            for name, parameter in model.named_parameters()
        ],
        "parameters": sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
        "state": state,
        "state_bytes": sum(entry["bytes"] for entry in state),
    }
