"""Building the task, dynamics, layer, model and optimizer of a recipe."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from momentum_cli import kernels
from momentum_cli.cells.catalogue import LAYERS, build_cell_layer, cell_objects
from momentum_cli.cells.find import parse_cell
from momentum_cli.data import NO_PROGRESS, TASKS, Dataset, DownloadProgress, Task
from momentum_cli.data.files.naive import without_mase
from momentum_cli.dynamics.protocol import Dynamics
from momentum_cli.errors import RecipeError
from momentum_cli.layers.recurrent import RecurrentLayer
from momentum_cli.layers.stack import RecurrentStack
from momentum_cli.machine import require_memory
from momentum_cli.models.language import LanguageModel
from momentum_cli.models.model import Model
from momentum_cli.models.sequence import SequenceModel
from momentum_cli.models.translation.model import TranslationModel
from momentum_cli.models.translation.search import Search
from momentum_cli.optim import resolve
from momentum_cli.recipe.parameter_groups import parameter_groups
from momentum_cli.recipe.sections import BpttOptions, LanguageModelOptions, TranslationModelOptions

if TYPE_CHECKING:
    from momentum_cli.recipe.recipe import Recipe


def build_task(recipe: Recipe) -> Task:
    """Return the task of a recipe, not yet loaded."""
    return TASKS[recipe.task.name](**recipe.task.options)


def load_data(recipe: Recipe, data_dir: Path | None = None, progress: DownloadProgress = NO_PROGRESS) -> Dataset:
    """Return the data of a recipe, with the metrics that the recipe names in front of the task's.

    Args:
        recipe: Recipe of the run.
        data_dir: Folder of the data sets, or None for the default.
        progress: Receives the progress of downloads.

    Raises:
        DataError: The data are missing, damaged or wrong, or a metric is not defined for them.
    """
    dataset = build_task(recipe).load(data_dir, progress)
    dataset = replace(dataset, metrics=tuple(dict.fromkeys((*recipe.metrics, *dataset.metrics))))
    if "mase" not in dataset.metrics:
        return dataset
    return replace(dataset, warnings=(*dataset.warnings, *without_mase(dataset)))


def metric_names(recipe: Recipe) -> tuple[str, ...]:
    """Return the metrics of the evaluations of a recipe, the headline one first."""
    return tuple(dict.fromkeys((*recipe.metrics, *build_task(recipe).metrics)))


def build_dynamics(recipe: Recipe, cell: str | None = None) -> Dynamics:
    """Return the dynamics of a cell (by default `model.cell`) with its options from `cells`."""
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


def build_model(recipe: Recipe, input_size: int, output_size: int, output: str) -> Model:
    """Build the model of a recipe, initialised from torch's global generator.

    Args:
        recipe: Its sections select the entry of `MODELS`.
        input_size: D.
        output_size: Number of classes or values; for a language model the size of the vocabulary.
        output: ``"last"`` or ``"every"``.

    Raises:
        RecipeError: Options of the model do not fit the data.
        RunError: There is not enough memory.
    """
    _check_memory(recipe, output_size)
    model = MODELS[model_section(recipe)](recipe, input_size, output_size, output)
    model.reset_parameters(recipe.model.init, recipe.model.forget_bias)
    return model


def _check_memory(recipe: Recipe, output_size: int) -> None:
    """Refuse a model whose largest weights and their gradients alone are too large: recurrent ones and embeddings."""
    options = recipe.model
    gates = LAYERS[parse_cell(options.cell).layer].recurrence.gates
    matrices = options.num_layers * (2 if options.bidirectional else 1) * gates
    require_memory(2 * 4 * matrices * options.hidden_size**2, "model.hidden_size, model.num_layers")
    if section := model_section(recipe):
        width = getattr(options, section).embedding_size or options.hidden_size
        require_memory(2 * 4 * output_size * width, f"model.{section}.embedding_size")


def build_sequence_model(recipe: Recipe, input_size: int, output_size: int, output: str) -> SequenceModel:
    """Build a sequence model, the one without a section of its own; see `build_model`."""
    _check_memory(recipe, output_size)
    model = _sequence_model(recipe, input_size, output_size, output)
    model.reset_parameters(recipe.model.init, recipe.model.forget_bias)
    return model


def model_section(recipe: Recipe) -> str:
    """Return the key in `MODELS` of the model of a recipe."""
    return next((name for name in MODELS if name and getattr(recipe.model, name) is not None), "")


def _sequence_model(recipe: Recipe, input_size: int, output_size: int, output: str) -> SequenceModel:
    layer = build_layer(recipe, input_size)
    return SequenceModel(layer, output_size, output, recompute=recipe.train.recompute)  # type: ignore[arg-type]


def _language_model(recipe: Recipe, input_size: int, output_size: int, output: str) -> LanguageModel:
    """Return a language model; with a tied embedding, the last layer has its width."""
    options, bptt = recipe.model, recipe.train.bptt or BpttOptions()
    language = options.language or LanguageModelOptions()
    embedding = language.embedding_size or options.hidden_size
    inner = [options.hidden_size] * (options.num_layers - 1)
    sizes = [embedding, *inner, embedding if language.tied else options.hidden_size]
    cell, objects = parse_cell(options.cell), _cell_objects(recipe, options.cell)
    shared: dict[str, Any] = {"bias": options.bias, "backend": options.backend}
    layers = [build_cell_layer(cell, objects, d, h, **shared) for d, h in itertools.pairwise(sizes)]
    try:
        return LanguageModel(
            RecurrentStack(layers, language.hidden_dropout, language.weight_dropout),
            output_size,
            tied=language.tied,
            embedding_dropout=language.embedding_dropout,
            input_dropout=language.input_dropout,
            output_dropout=language.output_dropout,
            cutoffs=language.cutoffs,
            div_value=language.div_value,
            activation_penalty=bptt.ar,
            slowness_penalty=bptt.tar,
        )
    except ValueError as error:
        raise RecipeError(f"model.language: {error}") from error


def _translation_model(recipe: Recipe, input_size: int, output_size: int, output: str) -> TranslationModel:
    """Return a translation model; with a tied embedding, the readout has its width."""
    options = recipe.model
    own = options.translation or TranslationModelOptions()
    embedding = own.embedding_size or options.hidden_size
    readout = options.hidden_size if own.tied == "none" else embedding
    cell, objects = parse_cell(options.cell), _cell_objects(recipe, options.cell)
    shared: dict[str, Any] = {"bias": options.bias, "backend": options.backend, "dropout": options.dropout}
    sizes = options.hidden_size, options.num_layers
    try:
        return TranslationModel(
            build_cell_layer(cell, objects, embedding, *sizes, bidirectional=options.bidirectional, **shared),
            build_cell_layer(cell, objects, embedding + (readout if own.input_feeding else 0), *sizes, **shared),
            input_size,
            output_size,
            readout,
            tied=own.tied,
            input_feeding=own.input_feeding,
            embedding_dropout=own.embedding_dropout,
            input_dropout=own.input_dropout,
            memory_dropout=own.memory_dropout,
            output_dropout=own.output_dropout,
            label_smoothing=recipe.train.label_smoothing,
            search=Search(own.beam_size, own.length_penalty),
        )
    except ValueError as error:
        raise RecipeError(f"model.translation: {error}") from error


# By the section under `model` with the options of the model; "" for the model without one. Each takes a recipe, input
# size, output size and output, and returns a model that is not initialised.
MODELS: dict[str, Callable[[Recipe, int, int, str], Model]] = {
    "": _sequence_model,
    "language": _language_model,
    "translation": _translation_model,
}


def build_optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """Return the optimizer over the parameters of a model; a group may have another learning rate."""
    options = recipe.optimizer
    groups = parameter_groups(model, options.groups)
    return resolve(options.name)(groups, lr=options.lr, **options.options)  # type: ignore[call-arg]


def check_backends(module: nn.Module, device: torch.device) -> None:
    """Refuse a backend that was requested by name and cannot run a layer, before a run folder is made.

    Raises:
        RecipeError: A layer has such a backend.
        SettingError: An environment variable names no kernels of this machine.
    """
    kernels.check_environment()
    for layer in module.modules():
        if isinstance(layer, RecurrentLayer) and layer.backend != "auto":
            try:
                kernels.require(layer.backend, layer.work(device, torch.float32))
            except ValueError as error:
                raise RecipeError(f"model.backend: {error}") from error


def _cell_objects(recipe: Recipe, cell: str | None) -> tuple[Dynamics, Any]:
    wanted = parse_cell(cell or recipe.model.cell)
    return cell_objects(wanted, recipe.cells.get(wanted.name, {}))
