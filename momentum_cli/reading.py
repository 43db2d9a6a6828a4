"""Reading files: regular ones only, since a pipe waits for ever and a device may have no end."""

from __future__ import annotations

import os
import stat
from pathlib import Path

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
    """Return what a path leads to: "a regular file", "a folder", "a pipe", "a socket" or "a device".

    Raises:
        DataError: It leads nowhere, or in a circle of links.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise system_error(error, path) from error
    except ValueError as error:  # a NUL
        raise DataError(f"{str(path)!r} is not a path: {error}") from error
    return next((name for test, name in _KINDS if test(mode)), "a special file")


def check_regular(path: Path) -> Path:
    """Return a path that leads to a regular file.

    Raises:
        DataError: It does not.
    """
    if (kind := kind_of(path)) != "a regular file":
        raise DataError(refuse(str(path), Said(kind), "be a regular file"))
    return path


def read_bytes(path: Path) -> bytes:
    """Return the content of a regular file.

    Raises:
        DataError: It cannot be read, or is no regular file.
        RunError: The machine is at its limit.
    """
    try:
        return check_regular(path).read_bytes()
    except OSError as error:
        raise system_error(error, path) from error


def read_text(path: Path) -> str:
    """Return the text of a regular file in UTF-8.

    Raises:
        DataError: It cannot be read, is no regular file, or is not UTF-8.
        RunError: The machine is at its limit.
    """
    try:
        return read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is damaged: it is not UTF-8 text (byte {error.start})") from error
