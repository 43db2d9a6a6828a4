"""Types of models in the export formats: a table with one entry for each type."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from momentum_cli.cells.catalogue import LAYERS, build_cell_layer
from momentum_cli.cells.names import Cell
from momentum_cli.dynamics import DYNAMICS
from momentum_cli.errors import DataError, RecipeError
from momentum_cli.formats.bundle import Bundle
from momentum_cli.formats.onnx.language import write_language
from momentum_cli.formats.onnx.sequence import write_sequence
from momentum_cli.formats.pt2_language import LanguageScanModel
from momentum_cli.formats.pt2_scan import ScanModel
from momentum_cli.layers.recurrent import RecurrentLayer
from momentum_cli.layers.stack import RecurrentStack
from momentum_cli.models.language import LanguageModel
from momentum_cli.models.model import Model
from momentum_cli.models.sequence import SequenceModel

if TYPE_CHECKING:
    from momentum_cli.formats.onnx.writer import Writer


@dataclass(frozen=True)
class Form:
    """One type of model for export.

    Args:
        section: Key that only the description of this type has; "" for the type without one.
        describe: Returns the section ``model`` of a bundle for a model, except the name of the cell.
        rebuild: Returns a model for that section, with arbitrary parameters.
        trace: Returns a module that `torch.export` traces for a model and its bundle, see `ScanModel`.
        write_onnx: Writes the nodes from ``inputs`` to ``outputs`` and, if stateful, ``state_out_…``.
        plain: Returns the layer and the head of a model that has nothing else; None for other types.
    """

    section: str
    describe: Callable[[Any], dict[str, Any]]
    rebuild: Callable[[dict[str, Any]], Model]
    trace: Callable[[Any, Bundle], nn.Module]
    write_onnx: Callable[[Writer, Any, Bundle], None]
    plain: Callable[[Any], tuple[RecurrentLayer, nn.Module]] | None


def form_of(model: Model) -> Form:
    """Return the form of a model.

    Raises:
        RecipeError: Models of its type cannot be exported.
    """
    if type(model) not in FORMS:
        able = ", ".join(cls.__name__ for cls in FORMS)
        raise RecipeError(f"export does not support a {type(model).__name__}; it supports {able}")
    return FORMS[type(model)]


def rebuild(description: dict[str, Any]) -> Model:
    """Return the model described by the section ``model`` of a bundle, with parameters not yet set.

    Raises:
        DataError: The description is not one of momentumrnn.
    """
    named = {form.section: form for form in FORMS.values()}
    form = named[next((section for section in named if section in description), "")]
    try:
        model = form.rebuild(description)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"the description of the model is not one of momentumrnn's ({error!r})") from error
    return model.eval().requires_grad_(False)


def _describe_layer(layer: RecurrentLayer | RecurrentStack) -> dict[str, Any]:
    name = next(key for key, cls in DYNAMICS.items() if type(layer.dynamics) is cls)
    return {
        "recurrence": layer.recurrence.name,
        **({"recurrence_options": layer.options} if layer.options else {}),
        "dynamics": {"name": name, **dataclasses.asdict(layer.dynamics)},  # type: ignore[call-overload]
        **{key: getattr(layer, key) for key in ("input_size", "hidden_size", "num_layers", "bidirectional", "bias")},
    }


def _layer_builder(description: dict[str, Any]) -> Callable[..., RecurrentLayer]:
    """Return a function of sizes that builds the layers of a description."""
    # The first layer with this recurrence, because the training of an orthogonal matrix no longer matters.
    layers_of = {entry.recurrence.name: layer for layer, entry in reversed(LAYERS.items())}
    options = dict(description["dynamics"])
    name = options.pop("name")
    layer = layers_of[description["recurrence"]]
    objects = DYNAMICS[name](**options), LAYERS[layer].options(**description.get("recurrence_options", {}))
    shared = {key: description[key] for key in ("bidirectional", "bias")}
    return lambda *sizes: build_cell_layer(Cell(name, layer), objects, *sizes, **shared)


def _describe_sequence(model: SequenceModel) -> dict[str, Any]:
    return {**_describe_layer(model.layer), "output": model.output, "output_size": model.output_size}


def _rebuild_sequence(description: dict[str, Any]) -> SequenceModel:
    layer = _layer_builder(description)(*(description[key] for key in ("input_size", "hidden_size", "num_layers")))
    return SequenceModel(layer, description["output_size"], description["output"])


def _describe_language(model: LanguageModel) -> dict[str, Any]:
    adaptive = model.head if isinstance(model.head, nn.AdaptiveLogSoftmaxWithLoss) else None
    language = {
        "hidden_sizes": [model.layer[number].hidden_size for number in range(len(model.layer))],
        "tied": model.tied,
        "cutoffs": adaptive.cutoffs[:-1] if adaptive else [],
        "div_value": adaptive.div_value if adaptive else 4.0,
        "outputs": "log-probabilities" if adaptive else "logits",
    }
    described = {**_describe_layer(model.layer), "output": model.output, "output_size": model.output_size}
    return {**described, "language": language}


def _rebuild_language(description: dict[str, Any]) -> LanguageModel:
    language, build = description["language"], _layer_builder(description)
    widths = [description["input_size"], *language["hidden_sizes"]]
    layers = [build(d, h) for d, h in itertools.pairwise(widths)]
    more = {key: language[key] for key in ("tied", "cutoffs", "div_value")}
    return LanguageModel(RecurrentStack(layers), description["output_size"], **more)


FORMS: dict[type[Model], Form] = {
    SequenceModel: Form(
        section="",
        describe=_describe_sequence,
        rebuild=_rebuild_sequence,
        trace=ScanModel,
        write_onnx=write_sequence,
        plain=lambda model: (model.layer, model.head),
    ),
    LanguageModel: Form(
        section="language",
        describe=_describe_language,
        rebuild=_rebuild_language,
        trace=LanguageScanModel,
        write_onnx=write_language,
        plain=None,
    ),
}
