"""Writing files completely or not at all, and JSON that every parser reads."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from momentum_cli.errors import DataError, RunError, system_error
from momentum_cli.messages import Said, refuse
from momentum_cli.reading import what_is_at
from momentum_cli.temporary import temporary_file


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file completely or not at all.

    Yields:
        An empty temporary file in the same folder. When the block ends without an error, its content is forced to the
        disk and renamed to `path` in one step; after an error it is deleted and `path` is unchanged.

    Raises:
        RunError: The disk is full.
        DataError: `path` cannot be written, or is a folder, a device or a pipe.
    """
    if (kind := what_is_at(path)) not in (None, "a regular file"):
        raise DataError(f"{path}: {refuse('what is replaced', Said(kind or ''), 'be a regular file')}")
    try:
        with temporary_file(path) as temporary:
            yield temporary
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
    except OSError as error:
        # Errors of other files, which the block reads, name them.
        own = error.filename is None or Path(os.fsdecode(error.filename)).parent == path.parent
        raise system_error(error, path if own else "") from error
    # The new name must survive a power failure too; not every file system can sync a folder.
    with contextlib.suppress(OSError):
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a text file (UTF-8) completely or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file completely or not at all; see `json_text`."""
    write_text(path, json_text(content, indent=2) + "\n")


def csv_cell(value: Any) -> Any:
    """Return a value for a cell of a CSV file: text that a spreadsheet would compute has an apostrophe in front.

    Names of classes, columns and files may be anyone's, and a spreadsheet runs ``=HYPERLINK(…)`` or ``@SUM(…)`` when it
    opens the file. Numbers stay as they are.
    """
    if not isinstance(value, str) or value[:1] not in ("=", "+", "-", "@", "\t", "\r"):
        return value
    with contextlib.suppress(ValueError):
        float(value)
        return value
    return f"'{value}"


def json_text(content: Any, indent: int | None = None) -> str:
    """Return `content` as JSON that every parser reads.

    JSON has no infinities and no NaN: these become the strings "Infinity", "-Infinity" and "NaN", which `float()` reads
    back. Paths become strings, tuples lists, and scalars of numpy and torch numbers.

    Raises:
        RunError: A value has no JSON form.
    """
    try:
        return escaped(json.dumps(_plain(content), indent=indent, allow_nan=False, ensure_ascii=False))
    except (TypeError, ValueError) as error:
        raise RunError(f"cannot write as JSON: {error}") from error


_BEYOND_ASCII = re.compile(r"[^\n -~]")


def escaped(text: str) -> str:
    """Return JSON with ``\\u…`` for what could drive a terminal or has no bytes in UTF-8; the values stay the same.

    Names of files and labels hold such characters: control characters above ASCII, changes of direction, and lone
    surrogates, which stand for bytes of a path that are not UTF-8.
    """
    return text if text.isprintable() else _BEYOND_ASCII.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    return json.dumps(character)[1:-1] if unicodedata.category(character) in {"Cc", "Cf", "Cs"} else character


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return _plain(value.item())
    return value
