"""A table in several files: those in a folder, or those that match a pattern such as `data/*.csv`.

A folder named ``key=value`` adds the column ``key``, as in Hive's partitions, and the name of the file is the column
`FILE`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from momentum_cli.data.files.schema import format_of
from momentum_cli.data.problems import ROW_BITS
from momentum_cli.errors import DataError

FILE = "(file)"
"""Name of the column with the name of the file, relative to the folder and without its ending."""


def is_pattern(path: str) -> bool:
    """Return True if a path is a pattern."""
    return re.search(r"[*?\[]", path) is not None


def split_pattern(path: str) -> tuple[str, str]:
    """Return the folder before the first part with a wildcard, and the rest."""
    parts = Path(path).parts
    first = next((place for place, part in enumerate(parts) if is_pattern(part)), len(parts))
    return str(Path(*parts[:first])) if first else ".", str(Path(*parts[first:]))


def matching_files(path: Path) -> list[Path]:
    """Return the sorted files that match a pattern."""
    folder, pattern = split_pattern(str(path))
    return sorted(file for file in Path(folder).glob(pattern) if file.is_file())


def table_files(path: Path, format: str) -> list[Path]:
    """Return the sorted files of a table, without hidden ones and those that begin with _.

    Raises:
        DataError: There are none.
    """
    if is_pattern(str(path)) and not path.exists():
        found = matching_files(path)
    elif path.is_dir():
        every = (file for file in path.rglob("*") if file.is_file())
        below = [file for file in every if not any(part[0] in "._" for part in file.relative_to(path).parts)]
        found = sorted(file for file in below if format_of(file) == format)
    else:
        return [path]
    if not found:
        raise DataError(f"{path}: no {format} files found")
    return found


def short_names(files: list[Path]) -> list[str]:
    """Return the names of several files relative to their common folder, for messages; [] for one file."""
    if len(files) < 2:
        return []
    folder = Path(os.path.commonpath([file.parent for file in files]))
    return [file.relative_to(folder).as_posix() for file in files]


def row_name(row: int, names: list[str]) -> str:
    """Return the name of a sequence that is a row, such as ``7``, or with several files ``b.csv:7``.

    Args:
        row: Its number, above `ROW_BITS` that of the file.
        names: As `short_names` returns them.
    """
    file, own = divmod(int(row), 1 << ROW_BITS)
    return f"{names[file]}:{own}" if names else str(own)


def added_columns(file: Path, path: Path) -> dict[str, str]:
    """Return the columns from the path of a file: `FILE`, and those of folders named ``key=value``."""
    folder = path if path.is_dir() else Path(split_pattern(str(path))[0]) if is_pattern(str(path)) else path.parent
    relative = file.relative_to(folder)
    found = {FILE: str(relative).removesuffix("".join(relative.suffixes)).replace("\\", "/")}
    # The folders above a single file may be partitions, too.
    for part in file.parts[:-1]:
        key, equals, value = part.partition("=")
        if equals and key:
            found[key] = value
    return found
