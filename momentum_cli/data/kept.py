"""What was read or computed once, in folders of the user's cache that are complete or do not exist."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from momentum_cli.errors import DataError, system_error
from momentum_cli.temporary import temporary_folder


class UnwritableCache(DataError):
    """No folder can be made in the cache (exit 3, or 1 if the disk is full)."""

    def __init__(self, folder: Path, error: OSError) -> None:
        super().__init__(
            f"{folder}, where data that were read once are kept, cannot be written ({error.strerror or error}); "
            "give another cache folder in XDG_CACHE_HOME"
        )
        self.exit_code = system_error(error, folder).exit_code


def keep(kept: Path, fill: Callable[[Path], bool]) -> bool:
    """Make a folder of the cache completely or not at all.

    Args:
        kept: The folder.
        fill: Writes its files into the folder that it is given, and returns False if they are not to be kept.

    Returns:
        Whether the folder exists now.

    Raises:
        UnwritableCache: No folder can be made there; `fill` was not called.
        RunError: The disk is full.
        DataError: A file of the folder cannot be written.
    """
    with ExitStack() as stack:
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            folder = stack.enter_context(temporary_folder(kept))
        except OSError as error:
            raise UnwritableCache(kept.parent, error) from error
        try:
            if not fill(folder):
                return False
            try:
                folder.rename(kept)
            except OSError:
                # Another process may have been faster; it wrote the same.
                if not kept.is_dir():
                    raise
            return True
        except OSError as error:
            # Errors of other files, which are read meanwhile, name them.
            own = error.filename is None or Path(os.fsdecode(error.filename)).is_relative_to(folder)
            raise system_error(error, kept if own else "") from error
