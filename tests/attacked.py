"""Commands under attack: run in their own process group, stopped or starved, with what they leave behind."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

RECIPE = """
task: {name: adding, length: 6, train_size: 96, validation_size: 64, test_size: 64}
model: {cell: momentum, hidden_size: 8}
optimizer: {name: adam, lr: 0.01}
train: {max_steps: 24, batch_size: 16, eval_every_n_steps: 4, seed: 0}
"""
# Messages of programs with an unhandled error.
BEWILDERED = ("Traceback", "looks like a bug", "Exception ignored", "terminate called", "Fatal Python error")


@dataclass
class Ended:
    """How a command ended.

    Args:
        code: Its exit code, negative for a signal; None when it hung and was killed.
        output, error: What it wrote.
        left: Processes of its group that outlived it by more than a second, killed since.
    """

    code: int | None
    output: str
    error: str
    left: list[str] = field(default_factory=list)

    def faults(self, codes: Iterable[int]) -> list[str]:
        """Return what is wrong with it.

        Args:
            codes: The correct exit codes.
        """
        found = [] if self.code in set(codes) else ["hung" if self.code is None else f"exit {self.code}"]
        found += [word for word in BEWILDERED if word in self.error]
        found += [f"left {each}" for each in self.left]
        if self.code not in (0, None) and not self.error.strip():
            found.append("no message")
        return [f"{each}: {self.error.strip()[-400:]}" for each in found]


def command(*arguments: object) -> list[str]:
    """Return the command line of momentumrnn with arguments."""
    return [sys.executable, "-m", "momentum_cli", *map(str, arguments)]


def attack(
    arguments: list[str],
    folder: Path,
    *,
    while_running: Callable[[subprocess.Popen[str]], Any] = lambda process: None,
    seconds: float = 120,
    **options: Any,
) -> Ended:
    """Run a command in a folder, act on it, and return how it ended.

    Args:
        arguments: The command line.
        folder: Its current folder.
        while_running: Acts on the running process; called in the foreground.
        seconds: Seconds after which it counts as hung.
        options: Options of `subprocess.Popen`.
    """
    options["env"] = {"OMP_NUM_THREADS": "1", **os.environ, **options.pop("env", {})}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL} | options
    process = subprocess.Popen(
        arguments, cwd=folder, text=True, errors="backslashreplace", start_new_session=True, **options
    )
    while_running(process)
    try:
        output, error = process.communicate(timeout=seconds)
        code: int | None = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, error = process.communicate()
        code = None
    end = time.monotonic() + 1
    while (left := _members(process.pid)) and time.monotonic() < end:
        time.sleep(0.05)
    if left:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return Ended(code, output or "", error or "", left)


class Warm:
    """Runs commands in forks of a process that has imported everything; a context manager.

    Args:
        prefix: Words in front of the command that starts it.
    """

    def __init__(self, prefix: Sequence[str] = ()) -> None:
        self._prefix = prefix

    def __enter__(self) -> Self:
        script = Path(__file__).with_name("warm_commands.py")
        self._process = subprocess.Popen(
            [*self._prefix, sys.executable, str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"OMP_NUM_THREADS": "1", **os.environ},
        )
        return self

    def __exit__(self, *error: object) -> None:
        self._process.stdin.close()  # type: ignore[union-attr]
        self._process.wait(60)
        self._process.stdout.close()  # type: ignore[union-attr]

    def run(self, *arguments: object, folder: Path, seconds: float = 60, output: str = "") -> Ended:
        """Run a command.

        Args:
            arguments: Arguments of momentumrnn.
            folder: Its current folder.
            seconds: Seconds after which it counts as hung.
            output: The path of its standard output, such as /dev/full; "" to return it.
        """
        return self._answers([arguments], folder, seconds, output)[0]

    def run_all(self, commands: Sequence[Sequence[object]], *, folder: Path, seconds: float = 60) -> list[Ended]:
        """Run many short commands one after the other, of which as many as possible share one fork.

        Args:
            commands: Arguments of each.
            folder, seconds: As in `run`.
        """
        ended: list[Ended] = []
        while len(ended) < len(commands):
            ended += self._answers(commands[len(ended) :], folder, seconds, "")
        return ended

    def shell(self, line: str) -> str:
        """Run a line of the shell where the commands run, and return its output."""
        return str(self._answer(line))

    def _answers(self, commands: Sequence[Sequence[object]], folder: Path, seconds: float, output: str) -> list[Ended]:
        words = [[str(each) for each in arguments] for arguments in commands]
        return [Ended(*answer) for answer in self._answer([words, str(folder), seconds, output])]

    def _answer(self, request: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def digest(folder: Path) -> str:
    """Return a hash of names, types and contents below a folder."""
    hashed = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        kind = stat.S_IFMT(path.lstat().st_mode)
        hashed.update(f"{path.relative_to(folder)} {kind}\0".encode())
        hashed.update(path.read_bytes() if kind == stat.S_IFREG else b"")
    return hashed.hexdigest()


def unfinished(folder: Path) -> list[str]:
    """Return the temporary files and folders remaining in a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob(".*") if path.suffix in (".tmp", ".part"))


def _members(group: int) -> list[str]:
    """Return the command lines of the processes of a group."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            fields = (path / "stat").read_text().rsplit(")", 1)[1].split()
            if int(fields[2]) == group and fields[0] != "Z":
                found.append((path / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")[:200])
    return found
