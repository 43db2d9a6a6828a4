"""The model of a recipe, initialised."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from momentum_cli import kernels
from momentum_cli.errors import RecipeError
from momentum_cli.language_model import LanguageModel
from momentum_cli.layers.recurrent import RecurrentLayer
from momentum_cli.models import SequenceModel

if TYPE_CHECKING:
    from momentum_cli.recipe import Recipe


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
    model = recipe.build_language_model(output_size)
    model.reset_parameters(recipe.model.init, recipe.model.forget_bias)
    return model


def build_sequence_model(recipe: Recipe, input_size: int, output_size: int, output: str) -> SequenceModel:
    """Build the model of a recipe that is not one of language; see `build_model`."""
    model = SequenceModel(recipe.build_layer(input_size), output_size, output)  # type: ignore[arg-type]
    model.reset_parameters(recipe.model.init, recipe.model.forget_bias)
    return model


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
