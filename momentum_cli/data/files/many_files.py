"""A table in several files: a folder of them, or those that a pattern such as `data/*.csv` names.

A folder called ``key=value`` adds the column ``key``, as Hive writes partitions, and the name of the file is the column
`FILE`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from momentum_cli.data.files.schema import format_of
from momentum_cli.errors import DataError

FILE = "(file)"
"""Name of the column that holds the name of the file, without its ending and below the folder."""


def is_pattern(path: str) -> bool:
    """Return whether a path is a pattern of several files."""
    return re.search(r"[*?\[]", path) is not None


def split_pattern(path: str) -> tuple[str, str]:
    """Return the folder in front of the first part that is a pattern, and the rest."""
    parts = Path(path).parts
    first = next((place for place, part in enumerate(parts) if is_pattern(part)), len(parts))
    return str(Path(*parts[:first])) if first else ".", str(Path(*parts[first:]))


def table_files(path: Path, format: str) -> list[Path]:
    """Return the files of a table, sorted; hidden ones, and those that begin with _, are none.

    Raises:
        DataError: There is none.
    """
    if is_pattern(str(path)) and not path.exists():
        folder, pattern = split_pattern(str(path))
        found = sorted(file for file in Path(folder).glob(pattern) if file.is_file())
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
    """Return the names of several files below the folder of all of them, for messages; [] for one file."""
    if len(files) < 2:
        return []
    folder = Path(os.path.commonpath([file.parent for file in files]))
    return [file.relative_to(folder).as_posix() for file in files]


def added_columns(file: Path, path: Path) -> dict[str, str]:
    """Return the columns that the place of a file adds: `FILE`, and those of folders called ``key=value``."""
    folder = path if path.is_dir() else Path(split_pattern(str(path))[0]) if is_pattern(str(path)) else path.parent
    relative = file.relative_to(folder)
    found = {FILE: str(relative).removesuffix("".join(relative.suffixes)).replace("\\", "/")}
    # Of a single file the folders above it may be partitions, too.
    for part in file.parts[:-1]:
        key, equals, value = part.partition("=")
        if equals and key:
            found[key] = value
    return found
