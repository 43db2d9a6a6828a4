"""Commands in forks of one process that has imported everything once: thousands of them in minutes. Run as a script.

Reads a JSON list from each line of standard input: commands (a list of arguments each), current folder, seconds for
each command, and the path of standard output or "". The commands run one after the other in one fork, which has its own
session. Answers with a line of JSON, a list for each command: exit code (None: it hung), output, error. A command that
hangs or ends the fork is the last one answered. A string is a line for the shell, answered with its output.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import signal
import subprocess
import sys
import tempfile
import time
from typing import IO

import matplotlib.figure
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet
import torch
import typer.main

import momentum_cli.cli
from momentum_cli.__main__ import main
from momentum_cli.benchmark.running import runner
from momentum_cli.training.launch import import_fabric

LONGEST = 20_000
Answer = tuple[int | None, str, str]


def run(commands: list[list[str]], folder: str, seconds: float, output: str) -> list[Answer]:
    """Run commands in one fork, as far as it gets."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as error, tempfile.TemporaryFile() as marks:
        pid = os.fork()
        if pid == 0:
            _child(commands, folder, output, out, error, marks)
        seen, end, status = 0, time.monotonic() + seconds, None
        while status is None and time.monotonic() < end:
            done, status_ = os.waitpid(pid, os.WNOHANG)
            status = status_ if done else None
            if (size := os.fstat(marks.fileno()).st_size) != seen:
                seen, end = size, time.monotonic() + seconds
            time.sleep(0.002)
        hung = status is None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        if hung:
            os.waitpid(pid, 0)
        marks.seek(0)
        ended = [json.loads(line) for line in marks]
        if len(ended) < len(commands):
            code = None if status is None else os.waitstatus_to_exitcode(status)
            ended.append((code, _size(out), _size(error)))
        starts = [(0, 0), *((out_end, error_end) for _, out_end, error_end in ended)]
        return [
            (code, _text(out, start[0], out_end), _text(error, start[1], error_end))
            for (code, out_end, error_end), start in zip(ended, starts, strict=False)
        ]


def _child(
    commands: list[list[str]], folder: str, output: str, out: IO[bytes], error: IO[bytes], marks: IO[bytes]
) -> None:
    """Run commands and end the process; note how each ended, and the bytes written until then."""
    os.setsid()
    target = os.open(output, os.O_WRONLY) if output else out.fileno()
    for descriptor, file in ((0, os.open(os.devnull, os.O_RDONLY)), (1, target), (2, error.fileno())):
        os.dup2(file, descriptor)
    os.chdir(folder)
    for arguments in commands:
        sys.argv = ["momentumrnn", *arguments]
        code = 1
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        try:
            sys.stdout.flush()
        except OSError:
            print("Exception ignored: standard output", file=sys.stderr)
        sys.stderr.flush()
        os.write(marks.fileno(), json.dumps([code, _size(out), _size(error)]).encode() + b"\n")
    os._exit(0)


def _size(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_size


def _text(file: IO[bytes], start: int, end: int) -> str:
    file.seek(start)
    return file.read(min(LONGEST, end - start)).decode("utf-8", "backslashreplace")


def _import_everything() -> None:
    """Import every module that this installation can, or each fork would import its own anew."""
    assert all((matplotlib.figure, pyarrow.csv))
    import_fabric()
    for module in pkgutil.walk_packages(momentum_cli.__path__, "momentum_cli."):
        with contextlib.suppress(ImportError):  # one of a package that is optional
            importlib.import_module(module.name)


if __name__ == "__main__":
    _import_everything()
    # A process per cell, which would import everything once more.
    runner.measure_memory = lambda runs, *rest: [None] * len(runs)  # type: ignore[assignment]
    torch.set_num_threads(1)
    # To build all commands takes longer than to run one.
    momentum_cli.cli.app = typer.main.get_command(momentum_cli.cli.app)  # type: ignore[assignment]
    for line in sys.stdin:
        request = json.loads(line)
        if isinstance(request, str):
            answer: object = subprocess.run(request, shell=True, check=True, capture_output=True, text=True).stdout
        else:
            answer = run(*request)
        print(json.dumps(answer), flush=True)
    os._exit(0)  # what was imported would take a busy machine a minute to clean up
