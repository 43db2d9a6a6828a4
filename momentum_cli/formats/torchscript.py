"""TorchScript: one file that torch alone loads, from Python or C++, for inference at any batch size and length.

``forward(inputs) -> outputs``, or stateful ``forward(inputs, state) -> (outputs, state)`` with the state as a
dictionary by name; ``zero_state(batch_size)``; ``prepare(raw) -> inputs`` for images and columns of numbers.
"""

from __future__ import annotations

import io
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from momentum_cli.errors import DataError, RecipeError
from momentum_cli.formats.archive import Content, check_zip
from momentum_cli.formats.bundle import KEY, Bundle, decode_bundle
from momentum_cli.formats.scripted_preparation import scripted_preparation
from momentum_cli.formats.vetting import Unlisted, vet_archive_of_script, vet_script
from momentum_cli.models.model import Model

SUFFIX = ".pt"
EXTRA = f"{KEY}.json"


class _Program(nn.Module):
    def __init__(self, model: Model, preprocessing: dict[str, Any], names: list[str]) -> None:
        super().__init__()
        self.model: Any = model.__prepare_scriptable__()
        self.names = list(names)
        self.preparation: Any = scripted_preparation(preprocessing)

    @torch.jit.export
    def prepare(self, raw: Tensor) -> Tensor:
        """Return the inputs (B, T, D) for raw images (B, height, width), or raw columns (B, T, D)."""
        return self.preparation(raw)  # type: ignore[no-any-return]


class _Whole(_Program):
    def forward(self, inputs: Tensor) -> Tensor:
        return self.model(inputs)[0]  # type: ignore[no-any-return]


class _Stateful(_Program):
    def forward(self, inputs: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        for name in state.keys():  # noqa: SIM118 - TorchScript's dictionaries have no other way
            if name not in self.names:
                raise ValueError(f"state '{name}' is unknown; the names are {self.names}")
        before = [state[name] for name in self.names]
        outputs, after = self.model(inputs, None, before)
        named: dict[str, Tensor] = {}
        for index in range(len(self.names)):
            named[self.names[index]] = after[index]
        return outputs, named

    @torch.jit.export
    def zero_state(self, batch_size: int) -> dict[str, Tensor]:
        """Return the state at the start of ``batch_size`` sequences."""
        zeros = self.model.zero_state(batch_size)
        named: dict[str, Tensor] = {}
        for index in range(len(self.names)):
            named[self.names[index]] = zeros[index]
        return named


def write(model: Model, bundle: Bundle, path: Path) -> None:
    """Write the model to ``path``; see `momentum_cli.formats.export`.

    Raises:
        RecipeError: The dynamics or the recurrence has no TorchScript form.
    """
    try:
        module = (_Stateful if bundle.stateful else _Whole)(model, bundle.dataset["preprocessing"], bundle.state_names)
    except TypeError as error:
        raise RecipeError(f"--format torchscript: {error}; export it as pt2 or safetensors") from error
    with warnings.catch_warnings():
        # `export` shows a line of its own instead.
        warnings.filterwarnings("ignore", message=".*torch.jit.*deprecated")
        scripted = torch.jit.script(module.eval())
        # Into memory first: on a full disk torch's own writer aborts the process.
        buffer = io.BytesIO()
        torch.jit.save(scripted, buffer, _extra_files={EXTRA: bundle.encode().encode()})
    path.write_bytes(buffer.getbuffer())


class TorchScriptProgram:
    """A loaded TorchScript file; see `Program`.

    Args:
        bundle: Its description.
        module: The scripted module.
    """

    def __init__(self, bundle: Bundle, module: Any) -> None:
        self.bundle = bundle
        self.module = module

    def run(self, inputs: Tensor, state: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Run the program, see `Program.run`."""
        self.bundle.check(inputs, state)
        with torch.inference_mode():
            if not self.bundle.stateful:
                return self.module(inputs), {}
            outputs, after = self.module(inputs, state or self.module.zero_state(len(inputs)))
            return outputs, after


def recognises(content: Content) -> bool:
    """Return True if a file is a TorchScript archive."""
    return "constants.pkl" in content.members and any(name.startswith("code/") for name in content.members)


def load(path: Path) -> TorchScriptProgram:
    """Load a file that `write` wrote.

    TorchScript's own reader runs no Python code, but a program can write files, so every operator is checked first.

    Raises:
        DataError: The file is damaged, not ours, or holds more than arithmetic on tensors.
    """
    content = check_zip(path)
    extra = {EXTRA: ""}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            vet_archive_of_script(archive.read, archive.namelist())
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*torch.jit.*deprecated")
            module = torch.jit.load(  # type: ignore[no-untyped-call]
                io.BytesIO(content), map_location="cpu", _extra_files=extra
            )
        vet_script(module)
    except Unlisted as error:
        raise DataError(f"{path} holds {error}, which may do more than compute, and is not opened") from error
    except (RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise DataError(f"{path} is not a readable TorchScript file ({first}); export it again") from error
    return TorchScriptProgram(decode_bundle(extra[EXTRA] or None, path, "torchscript"), module)
