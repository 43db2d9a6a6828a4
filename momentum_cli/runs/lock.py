"""One process at a time in a folder of results."""

from __future__ import annotations

import contextlib
import os
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
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RecipeError(f"{folder}: another {what} is running in this folder; name another --out") from error
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(handle)


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
