"""A contender in its own process, which takes a turn on request.

Differences between processes, such as an allocator that keeps its memory and one that does not, can thus be compared in
one interleaved run: one process works while the other waits.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from momentum_cli.errors import RunError


class Apart:
    """A process that runs `serve`; a context manager.

    Args:
        arguments: Arguments of the Python interpreter, such as ``["-m", "package.module", "option"]``.
        environment: Variables that differ from those of this process; None removes one.

    Raises:
        RunError: The process ended before it was ready.
    """

    def __init__(self, arguments: list[str], environment: Mapping[str, str | None]) -> None:
        variables = dict(os.environ)
        for name, value in environment.items():
            if value is None:
                variables.pop(name, None)
            else:
                variables[name] = value
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=variables,
        )
        self._answer()

    def turn(self) -> float:
        """Let the process take a turn, and return the seconds that it reports."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _answer(self) -> float:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            _, text = self._process.communicate()
            last = (text.strip().splitlines() or [f"exit code {self._process.returncode}"])[-1]
            raise RunError(f"the process of a contender ended: {last}")
        return float(line)


def serve(turn: Callable[[], float]) -> None:
    """Take a turn for each line of standard input until it ends, and print the result.

    Args:
        turn: Takes a turn and returns its seconds.
    """
    sys.stdout.write("0\n")
    sys.stdout.flush()
    for _ in sys.stdin:
        sys.stdout.write(f"{turn()!r}\n")
        sys.stdout.flush()
