"""pt2: a `torch.export` program with dynamic batch and time, or with ``aoti`` a package compiled by AOTInductor.

Reading a pt2 archive with torch can unpickle objects and evaluate expressions out of it. `load` looks through the
archive first and refuses one that holds anything but what our own files are made of; see
`momentum_cli.formats.vetting`.
"""

from __future__ import annotations

import io
import shutil
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from momentum_cli.errors import DataError, RecipeError
from momentum_cli.formats.archive import Content, check_zip
from momentum_cli.formats.bundle import KEY, Bundle, decode_bundle
from momentum_cli.formats.forms import form_of
from momentum_cli.formats.vetting import Unlisted, vet_members, vet_program
from momentum_cli.models.model import Model
from momentum_cli.reading import parse_json
from momentum_cli.temporary import temporary_folder

SUFFIX = ".pt2"
EXTRA = f"{KEY}.json"


def write(model: Model, bundle: Bundle, path: Path) -> None:
    """Write the model to ``path``; see `momentum_cli.formats.export`.

    Raises:
        RecipeError: AOTInductor was asked for and cannot compile here.
    """
    program = trace(model, bundle)
    if bundle.data["export"].get("aoti"):
        _compile(program, bundle, path)
    else:
        # Into memory first: on a full disk torch's own writer aborts the process.
        buffer = io.BytesIO()
        torch.export.save(program, buffer, extra_files={EXTRA: bundle.encode()})
        path.write_bytes(buffer.getbuffer())


def trace(model: Model, bundle: Bundle) -> torch.export.ExportedProgram:
    """Return the exported program; the sizes "batch" and "time" of its inputs are free."""
    batch, time = torch.export.Dim("batch", min=1), torch.export.Dim("time", min=1)
    # Sizes of 0 and 1 are specialised by the tracer, so the example has others.
    state = {entry["input"]: bundle.zero_state(3)[entry["name"]] for entry in bundle.data["state"]}
    return torch.export.export(
        form_of(model).trace(model, bundle).eval(),
        (model.inputs.zeros(3, 5),),
        state,
        dynamic_shapes={"inputs": {0: batch, 1: time}} | {name: {1: batch} for name in state},
        strict=False,
    )


def _compile(program: torch.export.ExportedProgram, bundle: Bundle, path: Path) -> None:
    from torch._inductor import aoti_compile_and_package
    from torch._inductor.exc import InvalidCxxCompiler

    with temporary_folder() as folder:
        package = folder / "model.pt2"
        try:
            aoti_compile_and_package(program, package_path=str(package))
        except InvalidCxxCompiler as error:
            raise RecipeError("--aoti needs a C++ compiler, and none was found; install g++ or clang++") from error
        with zipfile.ZipFile(package, "a", zipfile.ZIP_STORED) as archive:
            root = archive.namelist()[0].split("/", 1)[0]
            archive.writestr(f"{root}/extra/{EXTRA}", bundle.encode())
        shutil.copyfile(package, path)


class Pt2Program:
    """A loaded program; see `Program`.

    Args:
        bundle: Its description.
        call: Takes inputs and states by name and returns a dictionary.
    """

    def __init__(self, bundle: Bundle, call: Any) -> None:
        self.bundle = bundle
        self.call = call

    def run(self, inputs: Tensor, state: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Run the program, see `Program.run`."""
        self.bundle.check(inputs, state)
        names = self.bundle.state_names
        before = (state or self.bundle.zero_state(len(inputs))) if names else {}
        with torch.no_grad():
            result = self.call(inputs, **{f"state_in_{name}": before[name] for name in names})
        return result["outputs"], {name: result[f"state_out_{name}"] for name in names}


def recognises(content: Content) -> bool:
    """Return True if a file is an archive of `torch.export`, compiled or not."""
    return is_compiled(content) or any(name.startswith("models/") for name in content.members)


def is_compiled(content: Content) -> bool:
    """Return True if an archive holds machine code of AOTInductor."""
    return any(name.startswith("data/aotinductor/") for name in content.members)


def load(path: Path) -> Pt2Program:
    """Load a program that `write` wrote.

    Raises:
        DataError: The file is damaged, not ours, or holds something that could run code.
    """
    content = check_zip(path)
    extra = {EXTRA: ""}
    call = read(content, path, extra)
    return Pt2Program(decode_bundle(extra[EXTRA] or None, path, "pt2"), call)


def read(content: bytes, path: Path | str, extra: dict[str, Any] | None = None) -> Any:
    """Return the program of an archive as a module, which takes and returns what the exported one did.

    Args:
        content: The archive.
        path: Its name in messages.
        extra: Names of extra files, whose texts take the place of the values.

    Raises:
        DataError: It is damaged, or holds something that could run code.
    """
    vet(content, path)
    try:
        with warnings.catch_warnings():
            # torch 2.11 makes the parameters of the bytes that it read, and nothing writes to them.
            warnings.filterwarnings("ignore", message="The given buffer is not writable")
            return torch.export.load(io.BytesIO(content), extra_files=extra).module()
    except Exception as error:  # whatever the parser of a damaged archive meets
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(f"{path} is not a readable pt2 file ({first}); export it again") from error


def load_compiled(path: Path) -> Pt2Program:
    """Load a package that AOTInductor compiled. It is machine code: do this with files of your own only.

    Raises:
        DataError: The file is damaged, or not ours.
    """
    with zipfile.ZipFile(io.BytesIO(check_zip(path))) as archive:
        members = [name for name in archive.namelist() if name.endswith(f"/extra/{EXTRA}")]
        text = archive.read(members[0]) if members else None
    bundle = decode_bundle(text, path, "pt2")
    from torch._inductor import aoti_load_package

    try:
        package = aoti_load_package(str(path))
    except RuntimeError as error:
        first = str(error).strip().splitlines()[0]
        raise DataError(f"{path} cannot be loaded on this machine ({first}); export it here") from error
    return Pt2Program(bundle, package)


def vet(content: bytes, path: Path | str) -> None:
    """Check an archive before torch reads it.

    Raises:
        DataError: It is damaged, or holds something that could run code.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            vet_members(archive.namelist())
            for member in archive.namelist():
                name = member.split("/", 1)[-1]
                if name.endswith("_config.json"):
                    entries = parse_json(archive.read(member))["config"].items()
                    pickled = [key for key, entry in entries if entry["use_pickle"] is not False]
                    if pickled:
                        raise Unlisted(f"the pickled object {pickled[0]!r}")
                elif name.startswith("models/"):
                    vet_program(archive.read(member))
                elif name.startswith("data/sample_inputs/"):
                    _vet_examples(archive.read(member))
    except Unlisted as error:
        raise DataError(f"{path} holds {error}, which can run code when it is loaded, and is not opened") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is damaged: its program cannot be read ({error!r})") from error


def _vet_examples(content: bytes) -> None:
    try:
        torch.load(io.BytesIO(content), weights_only=True)
    except Exception as error:  # torch's own classes and whatever the unpickler meets
        raise Unlisted("example inputs that are not plain tensors") from error
