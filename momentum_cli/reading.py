"""Reading files, regular ones only: a pipe may wait forever, and a device may have no end."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from momentum_cli.errors import DataError, system_error
from momentum_cli.messages import Said, refuse

_KINDS = (
    (stat.S_ISREG, "a regular file"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def kind_of(path: Path) -> str:
    """Return what a path refers to: "a regular file", "a folder", "a pipe", "a socket" or "a device".

    Raises:
        DataError: Nothing exists there, or its links form a loop.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise system_error(error, path) from error
    except ValueError as error:  # a NUL
        raise DataError(f"{str(path)!r} is not a path: {error}") from error
    return next((name for test, name in _KINDS if test(mode)), "a special file")


def what_is_at(path: Path) -> str | None:
    """Return `kind_of` a path, or None where nothing exists, a link to a missing file included.

    Raises:
        DataError: It is a circle of links, or cannot be examined.
    """
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError):
        pass
    return kind_of(path)


def check_regular(path: Path) -> Path:
    """Return the path if it refers to a regular file.

    Raises:
        DataError: It does not.
    """
    if (kind := kind_of(path)) != "a regular file":
        raise DataError(refuse(str(path), Said(kind), "be a regular file"))
    return path


def check_data(path: Path) -> Path:
    """Return the path if it refers to a regular file or a folder.

    Raises:
        DataError: It does not.
    """
    if (kind := kind_of(path)) not in ("a regular file", "a folder"):
        raise DataError(refuse(str(path), Said(kind), "be a regular file or a folder"))
    return path


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path with ``~`` replaced by the user's home folder; without such a user or folder it stays as it is."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text that anyone may have written.

    Raises:
        ValueError: It is not JSON, or nested so deeply that Python cannot read it.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def read_bytes(path: Path, limit: int | None = None) -> bytes:
    """Return the content of a regular file of at most `limit` bytes.

    Raises:
        DataError: It cannot be read, is not a regular file, or is larger.
        RunError: The machine is at its limit.
    """
    try:
        if limit is not None and (size := check_regular(path).stat().st_size) > limit:
            raise DataError(refuse(str(path), Said(f"{size:,}"), f"have at most {limit:,} bytes"))
        return check_regular(path).read_bytes()
    except OSError as error:
        raise system_error(error, path) from error


def read_text(path: Path, limit: int | None = None) -> str:
    """Return the text of a regular file in UTF-8; see `read_bytes`.

    Raises:
        DataError: It cannot be read, is not a regular file, is larger, or is not UTF-8.
        RunError: The machine is at its limit.
    """
    try:
        return read_bytes(path, limit).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: cannot be read: it is not UTF-8 text (byte {error.start + 1})") from error
