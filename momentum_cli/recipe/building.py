"""From a recipe to what it names: task, dynamics, layer, model, optimizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from momentum_cli import kernels
from momentum_cli.cells.catalogue import build_cell_layer, cell_objects
from momentum_cli.cells.find import parse_cell
from momentum_cli.data import TASKS, Task
from momentum_cli.dynamics.protocol import Dynamics
from momentum_cli.errors import RecipeError
from momentum_cli.layers.recurrent import RecurrentLayer
from momentum_cli.layers.stack import RecurrentStack
from momentum_cli.models.language import LanguageModel
from momentum_cli.models.sequence import SequenceModel
from momentum_cli.optim import resolve
from momentum_cli.recipe.parameter_groups import parameter_groups
from momentum_cli.recipe.sections import LanguageModelOptions

if TYPE_CHECKING:
    from momentum_cli.recipe.recipe import Recipe


def build_task(recipe: Recipe) -> Task:
    """Return the task of a recipe, not yet loaded."""
    return TASKS[recipe.task.name](**recipe.task.options)


def build_dynamics(recipe: Recipe, cell: str | None = None) -> Dynamics:
    """Return the dynamics of a cell, `model.cell` when none is named, with its options under `cells`."""
    return _cell_objects(recipe, cell)[0]


def build_layer(recipe: Recipe, input_size: int) -> RecurrentLayer:
    """Return the recurrent layer of `model` with the options of its cell, for inputs of `input_size` channels."""
    options = recipe.model
    return build_cell_layer(
        parse_cell(options.cell),
        _cell_objects(recipe, options.cell),
        input_size,
        options.hidden_size,
        options.num_layers,
        bias=options.bias,
        dropout=options.dropout,
        bidirectional=options.bidirectional,
        backend=options.backend,
    )


def build_model(recipe: Recipe, input_size: int, output_size: int, output: str) -> SequenceModel | LanguageModel:
    """Build the model of a recipe, initialised from torch's global generator.

    Args:
        recipe: What to build; with ``model.language`` a `LanguageModel`.
        input_size: D.
        output_size: Classes or values; of a language model the size of the vocabulary.
        output: ``"last"`` or ``"every"``.
    """
    if recipe.model.language is None:
        return build_sequence_model(recipe, input_size, output_size, output)
    model = build_language_model(recipe, output_size)
    model.reset_parameters(recipe.model.init, recipe.model.forget_bias)
    return model


def build_sequence_model(recipe: Recipe, input_size: int, output_size: int, output: str) -> SequenceModel:
    """Build the model of a recipe that is not one of language; see `build_model`."""
    model = SequenceModel(build_layer(recipe, input_size), output_size, output)  # type: ignore[arg-type]
    model.reset_parameters(recipe.model.init, recipe.model.forget_bias)
    return model


def build_language_model(recipe: Recipe, vocabulary_size: int) -> LanguageModel:
    """Return the language model of `model`, whose last layer has the size of a tied embedding; not initialised.

    Raises:
        RecipeError: The vocabulary is too small for the cutoffs.
    """
    options, language = recipe.model, recipe.model.language or LanguageModelOptions()
    embedding = language.embedding_size or options.hidden_size
    inner = [options.hidden_size] * (options.num_layers - 1)
    sizes = [embedding, *inner, embedding if language.tied else options.hidden_size]
    cell, objects = parse_cell(options.cell), _cell_objects(recipe, options.cell)
    shared: dict[str, Any] = {"bias": options.bias, "backend": options.backend}
    layers = [build_cell_layer(cell, objects, size, sizes[i + 1], **shared) for i, size in enumerate(sizes[:-1])]
    try:
        return LanguageModel(
            RecurrentStack(layers, language.hidden_dropout, language.weight_dropout),
            vocabulary_size,
            tied=language.tied,
            embedding_dropout=language.embedding_dropout,
            input_dropout=language.input_dropout,
            output_dropout=language.output_dropout,
            cutoffs=language.cutoffs,
            div_value=language.div_value,
        )
    except ValueError as error:
        raise RecipeError(f"model.language.{error}") from error


def build_optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """Return the optimizer over the parameters of a model; a group has a learning rate of its own if given one."""
    options = recipe.optimizer
    groups = parameter_groups(model, options.groups)
    return resolve(options.name)(groups, lr=options.lr, **options.options)  # type: ignore[call-arg]


def check_backends(module: nn.Module, device: torch.device) -> None:
    """Refuse a backend that was asked for by name and cannot serve, before a run folder is made.

    Raises:
        RecipeError: A layer has such a backend.
    """
    for layer in module.modules():
        if isinstance(layer, RecurrentLayer) and layer.backend != "auto":
            try:
                kernels.require(layer.backend, layer.work(device, torch.float32))
            except ValueError as error:
                raise RecipeError(f"model.backend: {error}") from error


def _cell_objects(recipe: Recipe, cell: str | None) -> tuple[Dynamics, Any]:
    wanted = parse_cell(cell or recipe.model.cell)
    return cell_objects(wanted, recipe.cells.get(wanted.name, {}))
