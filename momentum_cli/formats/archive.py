"""The content of a file, to recognise its format and find damage before a parser reads it."""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from momentum_cli.errors import DataError
from momentum_cli.reading import read_bytes


def check_zip(path: Path) -> bytes:
    """Return the content of a zip archive after checking the CRC-32 of all members.

    Raises:
        DataError: It is cut short or damaged.
    """
    content = read_bytes(path)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            broken = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OSError) as error:
        raise DataError(f"{path} is cut short or damaged ({error}); copy or export it again") from error
    if broken is not None:
        raise DataError(f"{path} is damaged: {broken} does not match its checksum; copy or export it again")
    return content


@dataclass(frozen=True)
class Content:
    """The features of a file that identify its format.

    Args:
        head: Its first bytes.
        size: In bytes.
        members: Names in a zip archive, without their common folder; () for other files.
    """

    head: bytes
    size: int
    members: tuple[str, ...] = ()


def look_into(path: Path) -> Content:
    """Return the features that identify the format of a file.

    Raises:
        DataError: It cannot be read, is a damaged archive, or is a pickle, which could run code.
    """
    content = read_bytes(path)
    members: tuple[str, ...] = ()
    if content[:4] == b"PK\x03\x04":
        check_zip(path)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = tuple(name.split("/", 1)[-1] for name in archive.namelist())
    elif content[:1] == b"\x80" and content[8:9] != b"{":
        raise DataError(f"{path} is a Python pickle, which can run code when it is loaded, and is not opened")
    return Content(content[:64], len(content), members)
