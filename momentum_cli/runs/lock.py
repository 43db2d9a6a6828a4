"""One process at a time in a folder of results."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from momentum_cli.errors import RecipeError

PLAN = "plan.json"
"""File that a benchmark and a search have in their folders, two levels above a run."""


@contextlib.contextmanager
def locked(folder: Path, what: str, *, shared: bool = False) -> Iterator[None]:
    """Keep other processes out of a folder; the lock ends with this process, even if it is killed, and leaves no file.

    Args:
        folder: An existing folder.
        what: The activity, for the message: "training".
        shared: Keep out only processes that want the folder for themselves.

    Raises:
        RecipeError: Another process holds the lock.
    """
    with _opened(folder) as handle:
        if _try(handle, shared=shared) is False:
            raise RecipeError(
                f"{folder}: another {what} is running in this folder; wait for its end, or use another folder"
            )
        yield


def is_locked(folder: Path) -> bool | None:
    """Return whether a process keeps others out of a folder; None on a file system without locks.

    Args:
        folder: An existing folder.
    """
    with _opened(folder) as handle:
        got = _try(handle, shared=True)
    return None if got is None else not got


class Entry:
    """The place of a process in a folder that several may use together, see `entered`.

    Args:
        handle: The folder, open and locked; None where there are no locks.
        alone: Whether nobody else uses the folder; None where there are no locks.
    """

    def __init__(self, handle: int | None, alone: bool | None) -> None:
        self._handle = handle
        self.alone = alone

    def admit(self) -> None:
        """Let others in, who from now on find that they are not alone."""
        # On Linux and the BSDs, macOS included, an exclusive lock becomes a shared one in one step, so that nobody
        # comes in between and finds the folder free.
        _try(self._handle, shared=True)


@contextlib.contextmanager
def entered(folder: Path, what: str, *, patience_seconds: float) -> Iterator[Entry]:
    """Use a folder together with others; the first process has it for itself until it calls `Entry.admit`.

    Whether the folder is free is the result of taking the lock: two processes that first asked and then took it could
    both find it free.

    Args:
        folder: An existing folder.
        what: The activity, for the message: "search".
        patience_seconds: How long to wait for a process that has the folder for itself, >= 0.

    Raises:
        RecipeError: A process kept the folder for itself all that time.
    """
    with _opened(folder) as handle:
        end = time.monotonic() + patience_seconds
        while True:
            alone = _try(handle, shared=False)
            if alone is not False or _try(handle, shared=True):
                break
            if time.monotonic() >= end:
                raise RecipeError(
                    f"{folder}: another {what} is running in this folder; wait for its end, or use another folder"
                )
            time.sleep(0.01)
        yield Entry(handle, alone)


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int | None]:
    """Open a folder for `_try`; None on systems without such locks."""
    try:
        import fcntl
    except ImportError:
        yield None
        return
    assert fcntl
    handle = os.open(folder, os.O_RDONLY)
    try:
        yield handle
    finally:
        os.close(handle)


def _try(handle: int | None, *, shared: bool) -> bool | None:
    """Return whether a lock was taken, without waiting for it; None where there are no locks."""
    if handle is None:
        return None
    import fcntl

    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return None
    return True


@contextlib.contextmanager
def outside_benchmark(run: Path) -> Iterator[None]:
    """Keep the benchmark of a run from starting; a benchmark locks its own folder, and not those of its runs.

    Args:
        run: The folder of any run, which need not exist.

    Raises:
        RecipeError: The run is one of a benchmark that is running.
    """
    folder = Path(os.path.realpath(run)).parent.parent
    if not (folder / PLAN).is_file():
        yield
        return
    with locked(folder, "benchmark", shared=True):
        yield


@contextlib.contextmanager
def waiting(folder: Path) -> Iterator[None]:
    """Let one process at a time into a block; the others wait. Systems without such locks let all in.

    Args:
        folder: An existing folder; its lock is that of a hidden file in it, apart from the lock of `locked`.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    with open(folder / ".waiting.lock", "a", encoding="utf-8") as file:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
