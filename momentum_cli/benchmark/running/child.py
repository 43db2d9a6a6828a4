"""The first lines of a child process, which make it end with its parent before it does anything else.

This module imports nothing that takes time: importing torch takes a second or more, and a child whose parent was killed
meanwhile would keep working for nobody.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from types import ModuleType
from typing import Any


@contextmanager
def without_main() -> Iterator[None]:
    """Hide the program from processes that are started inside the block.

    A started process runs the program's file again, to define what it may need. In a script that calls `bench` without
    ``if __name__ == "__main__"``, that would start the whole benchmark again, and nothing in it is needed.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def parcel(body: Callable[..., None], *arguments: Any) -> bytes:
    """Return the argument of `run`, whose unpacking imports the modules of the body."""
    return pickle.dumps((body, arguments))


def run(parcel: bytes, connection: Connection) -> None:
    """Run ``body(*arguments, connection)`` of a `parcel`; the target of a process."""
    _end_with_parent()
    body, arguments = pickle.loads(parcel)
    body(*arguments, connection)


def _end_with_parent() -> None:
    """End this process when its parent dies; that is safe, because its files are complete at any moment."""

    def watch() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
