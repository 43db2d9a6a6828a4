"""The description inside every exported file: one JSON object, the same in every format.

A consumer needs nothing else: the model's options, names and shapes of inputs, outputs and states, the way from raw
data to the model's input, label names, the metric the model was chosen by, the licence of its data, versions.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from momentum_cli.errors import DataError
from momentum_cli.messages import Said, refuse
from momentum_cli.reading import parse_json

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
        """True if the program takes and returns the state."""
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

    def check(self, inputs: Tensor, state: dict[str, Tensor] | None) -> None:
        """Check the arguments of a call alike in every format: some runtimes take any state, or none, and crash.

        Args:
            inputs: Inputs of any batch size and length above 0.
            state: The state by name, or None.

        Raises:
            ValueError: A name, a shape or a type is not that of the description, a value is not finite, or a token does
                not exist.
        """
        described = self.data["inputs"]
        _check_tensor("inputs", inputs, described["shape"], described["dtype"], None)
        if inputs.dtype == torch.int64:
            count = self.data["model"]["output_size"]
            low, high = (int(bound) for bound in inputs.aminmax())
            if low < 0 or high >= count:
                raise ValueError(refuse("tokens", low if low < 0 else high, f"be from 0 to {count - 1}"))
        if state is None:
            return
        if sorted(state) != sorted(self.state_names):
            must = (
                f"have the names {', '.join(self.state_names)}"
                if self.stateful
                else "be left out: the program has none"
            )
            raise ValueError(refuse("state", Said(", ".join(state) or "none"), must))
        for entry in self.data["state"]:
            _check_tensor(f"state {entry['name']!r}", state[entry["name"]], entry["shape"], entry["dtype"], len(inputs))

    def encode(self) -> str:
        """Return the JSON text."""
        return json.dumps(self.data, sort_keys=True, ensure_ascii=False)


def _check_tensor(name: str, tensor: Tensor, shape: list[int | str], dtype: str, batch: int | None) -> None:
    """Check a tensor; a size given by a name is free, but for the batch when that is given."""
    sizes = [batch if size == "batch" and batch is not None else size for size in shape]
    words = f"({', '.join(map(str, sizes))})"
    fits = tensor.dim() == len(sizes) and all(
        got == size if isinstance(size, int) else got > 0 for got, size in zip(tensor.shape, sizes, strict=True)
    )
    if not fits:
        above = " with sizes above 0" if any(isinstance(size, str) for size in sizes) else ""
        raise ValueError(refuse(name, tuple(tensor.shape), f"have the shape {words}{above}"))
    if tensor.dtype != getattr(torch, dtype):
        raise ValueError(refuse(name, tensor.dtype, f"be {dtype}"))
    # Activations of ONNX Runtime turn a NaN into a number, which would look like a result.
    if not tensor.isfinite().all():
        raise ValueError(refuse(name, Said("NaN or infinity"), "be finite"))


def _is_state(entry: Any) -> bool:
    """Return True if an entry of ``state`` describes a tensor."""
    if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ("name", "input", "output")):
        return False
    shape = entry.get("shape")
    sizes = isinstance(shape, list) and all(type(size) is int or size == "batch" for size in shape)
    return sizes and entry.get("dtype") in ("float32", "int64")


def decode_bundle(text: str | bytes | None, path: Path, export_format: str) -> Bundle:
    """Read and check the JSON text of a file.

    Args:
        text: The content of the file under our key, or None if it has none.
        path: The file, for messages.
        export_format: The format that the file was read as.

    Raises:
        DataError: It is not ours, damaged, of another version or of another format than it claims.
    """
    if text is None:
        raise DataError(f"{path} is a {export_format} file, but momentumrnn export did not write it")
    try:
        data = parse_json(text)
    except ValueError as error:
        raise DataError(f"{path} is damaged: its description is not JSON ({error}); export it again") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        found = data.get("format") if isinstance(data, dict) else type(data).__name__
        raise DataError(refuse(f"{path}: format", found, f"be {FORMAT!r}"))
    if data.get("format_version") != FORMAT_VERSION:
        raise DataError(
            f"{path}: got format version {data.get('format_version')!r}, this program reads {FORMAT_VERSION}; "
            "use the version of momentumrnn that wrote it, or export the run again"
        )
    missing = [] if isinstance(data.get("state"), list) else ["state"]
    for section, keys in _REQUIRED.items():
        found = data.get(section)
        missing += [f"{section}.{key}" for key in keys if key not in found] if isinstance(found, dict) else [section]
    for number, entry in enumerate(data["state"] if not missing else ()):
        missing += [] if _is_state(entry) else [f"name, input, output, shape and dtype of tensor {number} of the state"]
    if missing:
        raise DataError(f"{path} is damaged: its description lacks {', '.join(missing)}; export it again")
    if data["export"].get("format") != export_format:
        raise DataError(f"{path} is a {export_format} file that claims to be {data['export'].get('format')!r}")
    return Bundle(data)
