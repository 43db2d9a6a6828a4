"""Numbered folders, ``runs/NAME-001``, and what replacing or continuing one needs."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from momentum_cli.errors import DataError

_LONGEST_NAME = 80  # so that a number, and the names of files inside, still fit


def numbered(base: Path, name: str) -> Path:
    """Make ``base/NAME-NNN`` with the next number; two processes that ask at the same time get two folders.

    Args:
        base: Its parent, which is made too.
        name: Characters that do not belong in a file name become ``-``.
    """
    base.mkdir(parents=True, exist_ok=True)
    number = max((number for number, _ in _taken(base, name)), default=0) + 1
    while True:
        folder = base / f"{_stem(name)}-{number:03d}"
        with contextlib.suppress(FileExistsError):
            folder.mkdir()  # exclusive: if two processes try a number, one gets it and the other tries the next
            return folder
        number += 1


def earlier(base: Path, name: str) -> list[Path]:
    """Return the numbered folders of a name, the newest first."""
    return [path for _, path in sorted(_taken(base, name), reverse=True)]


def clear(folder: Path, files: Iterable[str], directories: Iterable[str]) -> None:
    """Delete the files of some patterns and some directories; anything else in the folder is the user's."""
    for pattern in files:
        for path in folder.glob(pattern):
            if path.is_file() or path.is_symlink():
                path.unlink()
    for name in directories:
        directory = folder / name
        if directory.is_symlink():
            directory.unlink()
        elif directory.is_dir():
            shutil.rmtree(directory)


def check_no_links(folder: Path, names: Iterable[str]) -> None:
    """Refuse links in place of files and directories in which a command changes what it finds.

    A folder from a stranger could lead it to files of the user in another place.

    Args:
        folder: A folder, which may be a link itself: the user has named it.
        names: Those in it that a command changes or deletes from.

    Raises:
        DataError: One is a link.
    """
    for name in names:
        if (folder / name).is_symlink():
            raise DataError(
                f"{folder / name} is a link, and nothing is written outside of {folder}; put there what it leads to"
            )


def emptied(folder: Path, first: str, directory: str, *, alone: bool = True) -> bool:
    """Return True if a folder holds at most what a process leaves that is killed over its first file.

    Args:
        folder: The folder, which is locked.
        first: Name of the file that is written first; its temporary files are deleted.
        directory: Name of a directory that may be there, if it is empty.
        alone: False if other processes use the folder, one of which may be writing that file; nothing is deleted then.
    """
    left = [path for path in folder.iterdir() if re.fullmatch(rf"\.{re.escape(first)}\.\w+\.tmp", path.name)]
    others = [path for path in folder.iterdir() if path not in left]
    if any(path.name != directory or not path.is_dir() or any(path.iterdir()) for path in others):
        return False
    for path in left if alone else ():
        path.unlink()
    return True


def first_difference(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> str:
    """Return the first key at which two recipes differ, with both values, or "" if they are equal."""
    for key in dict.fromkeys([*before, *now]):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            if found := first_difference(old, new, f"{prefix}{key}."):
                return found
        elif old != new:
            return f"{prefix}{key}: {old!r} there, {new!r} now"
    return ""


def _taken(base: Path, name: str) -> list[tuple[int, Path]]:
    pattern = re.compile(re.escape(_stem(name)) + r"-(\d+)")
    entries = base.iterdir() if base.is_dir() else ()
    return [(int(match[1]), path) for path in entries if (match := pattern.fullmatch(path.name))]


def _stem(name: str) -> str:
    return re.sub(r"[^\w.+@=-]+", "-", name)[:_LONGEST_NAME].strip(".-") or "run"
