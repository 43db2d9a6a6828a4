"""`momentumrnn summary`: the parts of the model of a recipe and the cost of a training step, before any training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from momentum_cli.errors import RecipeError
from momentum_cli.inspection.model.memory import estimate
from momentum_cli.inspection.model.operations import forward_operations, head_operations, training_operations
from momentum_cli.inspection.model.peak import measured_peak
from momentum_cli.progress import NullUi, Ui
from momentum_cli.recipe.building import build_sequence_model, build_task, model_section
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
        ``cell``, ``task``; ``length``, ``input_size``, ``output_size``, ``output``, ``batch_size``; ``layers`` (name,
        shape and number of each parameter) and ``parameters`` (their sum); ``state`` (name, shape and bytes of each
        tensor for one sequence) and ``state_bytes``; ``backend`` and ``asked_backend``; ``flops`` (``time_step``: the
        layer, forward, one sequence; ``head``: one output; ``training_step``: forward and backward of a batch);
        ``memory`` in bytes (`memory.Memory`, and with ``measure`` also ``measured``, None where unknown).

    Raises:
        DataError: The data of a task had to be loaded and are missing.
        RunError: The measurement failed.
    """
    shown: Ui = ui or NullUi()
    if section := model_section(recipe):
        raise RecipeError(
            f"summary does not support model.{section}: it counts a recurrent layer with a head; use momentumrnn train "
            "--dry-run, which measures a step and its memory"
        )
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
    state = [
        {"name": name, "shape": [*tensor.shape], "bytes": tensor.numel() * tensor.element_size()}
        for name, tensor in zip(layer.state_names, layer.zero_tensors(1), strict=True)
    ]
    return {
        "cell": recipe.model.cell,
        "task": recipe.task.name,
        "length": size.length,
        "input_size": size.input_size,
        "output_size": size.output_size,
        "output": size.output,
        "batch_size": batch,
        "layers": [
            {"name": name, "shape": [*parameter.shape], "parameters": parameter.numel()}
            for name, parameter in model.named_parameters()
        ],
        "parameters": sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
        "state": state,
        "state_bytes": sum(entry["bytes"] for entry in state),
        "backend": layer.backend_for((size.length, batch, size.input_size), training=True),
        "asked_backend": recipe.model.backend,
        "flops": {
            "time_step": forward_operations(model),
            "head": head_operations(model),
            "training_step": training_operations(model, size.length, batch),
        },
        "memory": memory,
    }
