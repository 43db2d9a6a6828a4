"""The .ts files of the UEA and UCR archives: a head of `@` lines, then one sequence per line.

A line has the channels, separated by colons, each a list of numbers separated by commas, and then the class or value.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from momentum_cli.data.files.compression import open_bytes
from momentum_cli.errors import DataError

LABEL = "label"
"""Name of the column of classes, or of values."""


def ts_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the line, counted from 1, and the content of each sequence: ``dim0``, ``dim1``, … and `LABEL`.

    Raises:
        DataError: The file is not a .ts file, or has a timestamp for each value.
    """
    labelled = data = False
    with open_bytes(path) as binary, io.TextIOWrapper(binary, encoding="utf-8-sig") as file:
        try:
            for number, raw in enumerate(file, start=1):
                line = raw.strip()
                if not line or line.startswith("#"):
                    continue
                if data:
                    yield number, _row(line, labelled)
                    continue
                words = line.lower().split()
                if words[0] == "@data":
                    data = True
                elif words[0] == "@timestamps" and words[1:] == ["true"]:
                    raise DataError(f"{path}: a .ts file with timestamps is not supported; remove them")
                elif words[0] in ("@classlabel", "@targetlabel"):
                    labelled = words[1:2] == ["true"]
                elif not words[0].startswith("@"):
                    raise DataError(
                        f"{path}: line {number}: expected a line of the header, such as @data, got {line[:40]!r}"
                    )
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from error
    if not data:
        raise DataError(f"{path}: not a .ts file: it has no @data line")


def _row(line: str, labelled: bool) -> dict[str, Any]:
    channels = line.split(":")
    label = channels.pop().strip() if labelled else None
    found: dict[str, Any] = {f"dim{index}": _values(text) for index, text in enumerate(channels)}
    return found | ({LABEL: label} if labelled else {})


def _values(text: str) -> list[str | None]:
    return [None if value.strip() == "?" else value for value in text.split(",")]
