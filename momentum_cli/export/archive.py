"""Telling exported files apart by what is in them, and finding damage before a parser meets it."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path

from momentum_cli.errors import DataError


def read(path: Path) -> bytes:
    """Return the content of a file.

    Raises:
        DataError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def check_zip(path: Path) -> bytes:
    """Return the content of a zip archive all of whose members match their CRC-32.

    Raises:
        DataError: It is cut short or damaged.
    """
    content = read(path)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            broken = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OSError) as error:
        raise DataError(f"{path} is cut short or damaged ({error}); copy or export it again") from error
    if broken is not None:
        raise DataError(f"{path} is damaged: {broken} does not match its checksum; copy or export it again")
    return content


def file_format(path: Path) -> str:
    """Return the format of an exported file: ``torchscript``, ``pt2``, ``aoti``, ``safetensors`` or ``onnx``.

    Raises:
        DataError: It is a file of another kind.
    """
    content = read(path)
    if content[:4] == b"PK\x03\x04":
        check_zip(path)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [name.split("/", 1)[-1] for name in archive.namelist()]
        if "constants.pkl" in names and any(name.startswith("code/") for name in names):
            return "torchscript"
        if any(name.startswith("data/aotinductor/") for name in names):
            return "aoti"
        if any(name.startswith("models/") for name in names):
            return "pt2"
        if "data.pkl" in names:
            raise DataError(
                f"{path} is a pickle of torch.save, which can run code when it is loaded, and is not opened; "
                "give a checkpoint or a file of momentumrnn export"
            )
    elif content[8:9] == b"{" and int.from_bytes(content[:8], "little") <= len(content):
        return "safetensors"
    elif content[:1] == b"\x80":
        raise DataError(f"{path} is a Python pickle, which can run code when it is loaded, and is not opened")
    elif content[:1] == b"\x08":
        return "onnx"
    raise DataError(
        f"{path} is cut short, damaged or of another kind; give a run folder, a checkpoint, or a TorchScript, ONNX, "
        "pt2 or safetensors file of momentumrnn export"
    )
