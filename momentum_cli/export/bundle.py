"""What travels inside every exported file beside the numbers: one JSON object, the same in every format.

A consumer needs nothing else: the model's options, names and shapes of inputs, outputs and states, the way from raw
data to the model's input, label names, the metric the model was chosen by, the licence of its data, versions.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from momentum_cli import __version__
from momentum_cli.cells.names import Cell
from momentum_cli.dynamics import DYNAMICS
from momentum_cli.errors import DataError
from momentum_cli.layers.recurrent import RecurrentLayer
from momentum_cli.layers.stack import RecurrentStack
from momentum_cli.models.language import LanguageModel
from momentum_cli.models.sequence import SequenceModel

if TYPE_CHECKING:
    from momentum_cli.training.trained import Loaded

FORMAT = "momentumrnn model"
FORMAT_VERSION = 1
KEY = "momentumrnn"
_REQUIRED: dict[str, tuple[str, ...]] = {
    "export": ("format", "stateful"),
    "model": (),
    "inputs": ("name", "shape", "dtype"),
    "outputs": ("name", "shape", "dtype"),
    "dataset": ("name", "input_size", "output_size", "output", "loss", "labels", "preprocessing", "licence"),
    "metrics": ("step",),
    "recipe": (),
    "versions": (),
}


@dataclass(frozen=True)
class Bundle:
    """The JSON object of an exported file.

    Args:
        data: Keys ``format``, ``format_version``, ``export`` (format, stateful, …), ``model`` (cell and options),
            ``inputs``, ``outputs``, ``state`` (name, names of the input and output, shape, dtype of each tensor),
            ``dataset`` (preprocessing, labels, licence, …), ``metrics``, ``recipe``, ``versions``.
    """

    data: dict[str, Any]

    @property
    def stateful(self) -> bool:
        """Whether the program takes and returns the state."""
        return bool(self.data["export"]["stateful"])

    @property
    def dataset(self) -> dict[str, Any]:
        """Description of the data: preprocessing, labels, output, loss, metric, licence."""
        return dict(self.data["dataset"])

    @property
    def state_names(self) -> list[str]:
        """Names of the tensors of the state, in order; empty unless stateful."""
        return [str(entry["name"]) for entry in self.data["state"]]

    def zero_state(self, batch_size: int) -> dict[str, Tensor]:
        """Return the state at the start of ``batch_size`` sequences, by name."""
        return {
            entry["name"]: torch.zeros(
                [batch_size if size == "batch" else size for size in entry["shape"]],
                dtype=torch.int64 if entry["dtype"] == "int64" else torch.float32,
            )
            for entry in self.data["state"]
        }

    def encode(self) -> str:
        """Return the JSON text."""
        return json.dumps(self.data, sort_keys=True, ensure_ascii=False)


def decode_bundle(text: str | bytes | None, path: Path, export_format: str) -> Bundle:
    """Read and check the JSON text of a file.

    Args:
        text: What the file holds under our key, or None when it has nothing.
        path: For messages.
        export_format: The format that the file was read as.

    Raises:
        DataError: It is not ours, damaged, of another version or of another format than it claims.
    """
    if text is None:
        raise DataError(f"{path} is a {export_format} file, but momentumrnn export did not write it")
    try:
        data = json.loads(text)
    except ValueError as error:
        raise DataError(f"{path} is damaged: its description is not JSON ({error}); export it again") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        found = data.get("format") if isinstance(data, dict) else type(data).__name__
        raise DataError(f"{path}: got the format {found!r}, allowed is {FORMAT!r}")
    if data.get("format_version") != FORMAT_VERSION:
        raise DataError(
            f"{path}: got format version {data.get('format_version')!r}, this program reads {FORMAT_VERSION}; "
            "use the version of momentumrnn that wrote it, or export the run again"
        )
    missing = [] if isinstance(data.get("state"), list) else ["state"]
    for section, keys in _REQUIRED.items():
        found = data.get(section)
        missing += [f"{section}.{key}" for key in keys if key not in found] if isinstance(found, dict) else [section]
    if missing:
        raise DataError(f"{path} is damaged: its description lacks {', '.join(missing)}; export it again")
    if data["export"].get("format") != export_format:
        raise DataError(f"{path} is a {export_format} file that claims to be {data['export'].get('format')!r}")
    return Bundle(data)


def describe_model(source: Loaded, export_format: str, *, stateful: bool, **options: Any) -> Bundle:
    """Return the description that goes into the exported file.

    Args:
        source: The model and its checkpoint.
        export_format: One of `FORMATS`.
        stateful: Whether the program takes and returns the state.
        options: More of what the file is, under ``export``.
    """
    model, layer, dataset = source.model, source.model.layer, source.checkpoint.data["dataset"]
    name = next(key for key, kind in DYNAMICS.items() if type(layer.dynamics) is kind)
    out: list[int | str] = ["batch", "time"] if model.output == "every" else ["batch"]
    progress = source.checkpoint.data["progress"]
    text = isinstance(model, LanguageModel)
    channels = [] if text else [layer.input_size]
    output_size = model.vocabulary_size if isinstance(model, LanguageModel) else model.head.out_features
    return Bundle(
        {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "export": {"format": export_format, "stateful": stateful, **options},
            "model": {
                "cell": source.recipe.model.cell,
                "recurrence": layer.recurrence.name,
                **({"recurrence_options": layer.options} if layer.options else {}),
                "dynamics": {"name": name, **dataclasses.asdict(layer.dynamics)},  # type: ignore[call-overload]
                **{key: getattr(layer, key) for key in ("input_size", "hidden_size", "num_layers", "bidirectional")},
                "bias": layer.bias,
                "output": model.output,
                "output_size": output_size,
                **({"language": describe_language(model)} if isinstance(model, LanguageModel) else {}),
            },
            "inputs": {
                "name": "inputs",
                "shape": ["batch", "time", *channels],
                "dtype": "int64" if text else "float32",
            },
            "outputs": {"name": "outputs", "shape": [*out, output_size], "dtype": "float32"},
            "state": state_entries(layer) if stateful else [],
            "dataset": dataset,
            "metrics": {"step": progress["step"], "best": progress.get("best"), "last": progress.get("last")},
            "recipe": source.recipe.dump(),
            "versions": {"momentumrnn": __version__, "torch": torch.__version__},
        }
    )


def describe_language(model: LanguageModel) -> dict[str, Any]:
    """Return what a bundle's ``model`` holds beside what every model has."""
    head = model.head
    adaptive = head if isinstance(head, nn.AdaptiveLogSoftmaxWithLoss) else None
    return {
        "hidden_sizes": [model.layer[number].hidden_size for number in range(len(model.layer))],
        "tied": model.tied,
        "cutoffs": adaptive.cutoffs[:-1] if adaptive else [],
        "div_value": adaptive.div_value if adaptive else 4.0,
        "outputs": "log-probabilities" if adaptive else "logits",
    }


def state_entries(layer: RecurrentLayer | RecurrentStack) -> list[dict[str, Any]]:
    """Return name, input, output, shape and dtype of each tensor of a layer's state; the batch is dimension 1."""
    return [
        {
            "name": name,
            "input": f"state_in_{name}",
            "output": f"state_out_{name}",
            "shape": [tensor.shape[0], "batch", *tensor.shape[2:]],
            "dtype": "int64" if tensor.dtype == torch.int64 else "float32",
        }
        for name, tensor in zip(layer.state_names, layer.zero_state(1), strict=True)
    ]


def build_layer_model(description: dict[str, Any]) -> SequenceModel | LanguageModel:
    """Build the model that a bundle's ``model`` describes, its parameters not yet set.

    Raises:
        DataError: The description is not one of ours.
    """
    from momentum_cli.cells.catalogue import LAYERS, build_cell_layer

    # The first of those with this recurrence: how an orthogonal matrix was trained does not matter any more.
    layers_of = {entry.recurrence.name: layer for layer, entry in reversed(LAYERS.items())}
    try:
        options = dict(description["dynamics"])
        name = options.pop("name")
        dynamics = DYNAMICS[name](**options)
        shared = {key: description[key] for key in ("bidirectional", "bias")}
        sizes = [description[key] for key in ("input_size", "hidden_size", "num_layers")]
        layer_name = layers_of[description["recurrence"]]
        own = LAYERS[layer_name].options(**description.get("recurrence_options", {}))
        cell, objects = Cell(name, layer_name), (dynamics, own)
        model: SequenceModel | LanguageModel
        if "language" in description:
            language = description["language"]
            widths = [description["input_size"], *language["hidden_sizes"]]
            layers = [build_cell_layer(cell, objects, d, h, **shared) for d, h in itertools.pairwise(widths)]
            more = {key: language[key] for key in ("tied", "cutoffs", "div_value")}
            model = LanguageModel(RecurrentStack(layers), description["output_size"], **more)
        else:
            layer = build_cell_layer(cell, objects, *sizes, **shared)
            model = SequenceModel(layer, description["output_size"], description["output"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"the description of the model is not one of momentumrnn's ({error!r})") from error
    return model.eval().requires_grad_(False)
