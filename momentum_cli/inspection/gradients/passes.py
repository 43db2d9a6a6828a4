"""The pass of a model over a batch through which gradients are followed, by the kind of the model.

Axes: B batch, T time, D input, S tokens of a source.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from momentum_cli.data import NOT_SCORED, Batch, Dataset
from momentum_cli.data.translation.task import vocabularies
from momentum_cli.layers.recurrent import RecurrentLayer
from momentum_cli.models.model import Model
from momentum_cli.models.sequence import SequenceModel
from momentum_cli.models.translation.model import TranslationModel

SENTENCES = 4
"""Sentences whose attention is shown."""


@dataclass(frozen=True)
class Pass:
    """A forward pass that has not run yet.

    Args:
        layer: The layer that reads the input.
        inputs: (B, T, D) float64, a leaf of which a gradient is wanted: samples, or embedded tokens.
        run: Returns the outputs that the loss judges.
    """

    layer: RecurrentLayer
    inputs: Tensor
    run: Callable[[], Tensor]


@dataclass(frozen=True)
class Kind:
    """What an inspection does with a kind of model.

    Args:
        begin: Returns the pass of a float64 model over a batch.
        attention: Returns the attention in some sentences, see `attention_maps`; None for models without.
    """

    begin: Callable[[Model, Batch], Pass]
    attention: Callable[[Model, Dataset, Batch], list[dict[str, Any]]] | None = None


def sequence_pass(model: Model, batch: Batch) -> Pass:
    """Return the pass of a model that reads samples."""
    inputs = batch.inputs.double().requires_grad_()
    return Pass(cast(SequenceModel, model).layer, inputs, lambda: model(inputs, batch.lengths)[0])


def translation_pass(model: Model, batch: Batch) -> Pass:
    """Return the pass of a translation model: its encoder reads embedded tokens, and references are judged."""
    translating = cast(TranslationModel, model)
    inputs = translating.embed_source(batch.inputs).detach().transpose(0, 1).contiguous().requires_grad_()
    return Pass(translating.encoder, inputs, lambda: translating.forced(batch, inputs))


def attention_maps(model: Model, dataset: Dataset, batch: Batch) -> list[dict[str, Any]]:
    """Return where a translation model looks while it reads the references of the first sentences of a batch.

    Returns:
        For each sentence ``source`` and ``target`` (pieces of text, the end included) and ``weights``: for each piece
        of the target one number in [0, 1] for each piece of the source, 1 in sum.
    """
    source, target = vocabularies(dataset.preprocessing)
    count = min(SENTENCES, len(batch.inputs))
    lengths = None if batch.lengths is None else batch.lengths[:count]
    few = Batch(batch.inputs[:count], batch.targets[:count], lengths)
    with torch.no_grad():
        weights = cast(TranslationModel, model).attention(few)
    maps = []
    for row in range(count):
        written = few.targets[row][few.targets[row] != NOT_SCORED]
        read = few.inputs[row] if lengths is None else few.inputs[row, : int(lengths[row])]
        maps.append(
            {
                "source": source.pieces(read.tolist()),
                "target": target.pieces(written.tolist()),
                "weights": [[round(x, 4) for x in line] for line in weights[row, : len(written), : len(read)].tolist()],
            }
        )
    return maps


# By the section of the recipe that describes the model, as in `momentum_cli.recipe.building.MODELS`.
KINDS = {"": Kind(sequence_pass), "translation": Kind(translation_pass, attention_maps)}
