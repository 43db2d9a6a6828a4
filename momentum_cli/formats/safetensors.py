"""safetensors with a JSON description: parameters as data, for this package or for any other program.

With ``as_torch_lstm`` a linear dynamics is written as what it is: two numbers of a filter, and the weights of plain
`torch.nn.LSTM`, `GRU` or `RNN` layers that run on the filtered input.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from momentum_cli.cells.plugins import is_loaded, missing_plugin
from momentum_cli.dynamics.filter import Filter
from momentum_cli.errors import DataError, RecipeError
from momentum_cli.formats.archive import Content
from momentum_cli.formats.bundle import KEY, Bundle, decode_bundle
from momentum_cli.formats.forms import form_of, rebuild
from momentum_cli.formats.weights import plain_weights, suffixes
from momentum_cli.layers.recurrent import RecurrentLayer
from momentum_cli.models.model import Model
from momentum_cli.reading import parse_json
from momentum_cli.runs.checkpoint import checksum

SUFFIX = ".safetensors"


def write(model: Model, bundle: Bundle, path: Path) -> None:
    """Write the model to ``path``; see `momentum_cli.formats.export`.

    Raises:
        RecipeError: Plain weights were asked for, and the dynamics is not linear.
    """
    plain = bundle.data["export"].get("as_torch_lstm")
    tensors = plain_tensors(model) if plain else dict(model.state_dict())
    tensors = {name: tensor.detach().contiguous().clone() for name, tensor in sorted(tensors.items())}
    text = bundle.encode()
    header = {KEY: text, "checksum": checksum(tensors, text)}
    path.write_bytes(save(tensors, header))


def plain_tensors(model: Model) -> dict[str, Tensor]:
    """Return ``rnn.LAYER[_reverse].NAME`` with the names of a one-layer `torch.nn.LSTM`, and ``head.NAME``."""
    parts = form_of(model).plain
    if parts is None:
        raise RecipeError(
            f"--as-torch-lstm: a {type(model).__name__} is more than a torch layer and a head; export it as "
            "torchscript, onnx, pt2, or safetensors without that option"
        )
    layer, head = parts(model)
    if not isinstance(layer.dynamics.form, Filter):
        raise RecipeError(
            f"--as-torch-lstm: {type(layer.dynamics).__name__} is not linear, so no plain torch layer equals it; "
            "export it as torchscript, onnx, pt2, or safetensors without that option"
        )
    if layer.recurrence.torch_kernel is None:
        raise RecipeError(
            f"--as-torch-lstm: torch has no layer for the recurrence {layer.recurrence.name!r}; "
            "export it as onnx, pt2, or safetensors without that option"
        )
    tensors = {f"head.{name}": tensor for name, tensor in head.state_dict().items()}
    for number, ends in enumerate(suffixes(layer)):
        for suffix in ends:
            prefix = f"rnn.{number}" + ("_reverse" if suffix.endswith("reverse") else "")
            for name, tensor in plain_weights(layer, suffix)._asdict().items():
                if tensor is not None:
                    tensors[f"{prefix}.{name}_l0"] = tensor
    return tensors


def model_tensors(tensors: dict[str, Tensor], layer: RecurrentLayer) -> dict[str, Tensor]:
    """Invert `plain_tensors`: return the state_dict of the model around a layer."""
    form = layer.dynamics.form
    extended = layer.bias and isinstance(form, Filter) and not form.is_identity
    result = {}
    for name, tensor in tensors.items():
        if name.startswith("head."):
            result[name] = tensor
            continue
        _, number, parameter = name.split(".")
        end = "_reverse" if number.endswith("_reverse") else ""
        key = f"layer.{parameter.removesuffix('_l0')}_l{number.removesuffix('_reverse')}{end}"
        if extended and parameter == "weight_ih_l0":
            result[key], result[key.replace("weight", "bias")] = tensor[:, :-1], tensor[:, -1]
        elif not (extended and parameter == "bias_ih_l0"):
            result[key] = tensor
    return result


class EagerProgram:
    """A model of this package, run by its own layers; see `Program`.

    Args:
        bundle: Its description.
        model: The model, in evaluation mode.
    """

    def __init__(self, bundle: Bundle, model: Model) -> None:
        self.bundle = bundle
        self.model = model

    def run(self, inputs: Tensor, state: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Run the program, see `Program.run`."""
        self.bundle.check(inputs, state)
        names = self.bundle.state_names
        before = tuple(state[name] for name in names) if state else None
        with torch.inference_mode():
            outputs, after = self.model(inputs, None, before)
        return outputs, dict(zip(names, after, strict=True)) if names else {}


def describes_itself_as(path: Path) -> Any:
    """Return the format that the description in a safetensors file names, or None."""
    try:
        with safe_open(path, framework="pt") as file:
            return parse_json((file.metadata() or {})[KEY])["format"]
    except (SafetensorError, OSError, ValueError, KeyError, TypeError):
        return None


def recognises(content: Content) -> bool:
    """Return True if a file begins with the length of a JSON header that fits into it, and with that header."""
    return content.head[8:9] == b"{" and int.from_bytes(content.head[:8], "little") <= content.size


def load(path: Path) -> EagerProgram:
    """Load a file that `write` wrote. safetensors holds numbers only.

    Raises:
        DataError: The file is damaged or not ours, or the plugin that defines its cell is not loaded.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError, json.JSONDecodeError) as error:
        raise DataError(f"{path} is cut short or damaged ({error}); copy or export it again") from error
    bundle = decode_bundle(header.get(KEY), path, "safetensors")
    # The description is covered too: a flipped bit in an option is as wrong as one in a parameter.
    if header.get("checksum") != checksum(tensors, header[KEY]):
        raise DataError(f"{path} is damaged: its content does not match its checksum; copy or export it again")
    for name in bundle.data["recipe"].get("plugins", ()):
        if not is_loaded(name):
            raise DataError(f"{path} {missing_plugin(name)}")
    model = rebuild(bundle.data["model"])
    try:
        if bundle.data["export"].get("as_torch_lstm"):
            (layer,) = model.recurrent_layers()
            tensors = model_tensors(tensors, layer)
        model.load_state_dict(tensors)
    except (RuntimeError, ValueError, KeyError) as error:
        raise DataError(f"{path}: its tensors do not fit its description ({error})") from error
    return EagerProgram(bundle, model)
