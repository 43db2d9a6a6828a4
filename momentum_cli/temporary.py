"""Temporary files and folders that no signal leaves behind: their name is known before they are made.

`tempfile` makes them first and then notes what there is to delete; a signal in between, whose handler raises an
exception, would leave them.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path


def temporary_file(target: Path, suffix: str = ".tmp") -> AbstractContextManager[Path]:
    """Make an empty file in the folder of `target`; at the end of the block it is deleted, unless it was renamed.

    It has the mode of any new file.

    Args:
        target: The path that it may get later.
        suffix: The end of its name.

    Raises:
        OSError: It cannot be made.
    """
    return _temporary(target, suffix, _make_file, lambda path: path.unlink(missing_ok=True))


def temporary_folder(target: Path | None = None) -> AbstractContextManager[Path]:
    """Make a folder that only the user can open; at the end of the block it is deleted, unless it was renamed.

    Args:
        target: The path that it may get later, in the same folder; None: it is made among the temporary files of the
            system.

    Raises:
        OSError: It cannot be made.
    """
    beside = Path(tempfile.gettempdir(), "momentumrnn") if target is None else target
    return _temporary(beside, ".tmp", lambda path: path.mkdir(0o700), lambda path: shutil.rmtree(path, True))


def _make_file(path: Path) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))


@contextlib.contextmanager
def _temporary(
    target: Path, suffix: str, make: Callable[[Path], object], delete: Callable[[Path], object]
) -> Iterator[Path]:
    path = Path()
    try:
        while not path.name:
            # A name has at most 255 bytes, and a character up to four.
            path = target.with_name(f".{target.name[:50]}.{secrets.token_hex(8)}{suffix}")
            try:
                # Made exclusively under an unpredictable name, because a link planted in its place would be followed.
                make(path)
            except FileExistsError:
                path = Path()
        yield path
    finally:
        if path.name:
            try:
                delete(path)
            except BaseException:  # a signal in the middle of a folder
                delete(path)
                raise
