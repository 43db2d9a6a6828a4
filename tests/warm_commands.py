"""Commands in forks of one process that has imported everything once: thousands of them in minutes. Run as a script.

Reads a JSON list from each line of standard input: arguments, current folder, seconds, and the path of standard output
or "". Answers with a line of JSON: exit code (None: it hung), output, error, seconds. A child has its own session.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import tempfile
import time

import lightning_fabric
import matplotlib.figure
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet
import torch
import typer.main

import momentum_cli.benchmark.bench
import momentum_cli.cli
import momentum_cli.formats.export
import momentum_cli.inference.evaluate
import momentum_cli.inference.predict.predict
import momentum_cli.inspection.gradients.inspect
import momentum_cli.training.train
from momentum_cli.__main__ import main

LONGEST = 20_000


def run(arguments: list[str], folder: str, seconds: float, output: str) -> tuple[int | None, str, str, float]:
    """Run one command in a fork."""
    start = time.monotonic()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as error:
        pid = os.fork()
        if pid == 0:
            os.setsid()
            target = os.open(output, os.O_WRONLY) if output else out.fileno()
            for descriptor, file in ((0, os.open(os.devnull, os.O_RDONLY)), (1, target), (2, error.fileno())):
                os.dup2(file, descriptor)
            os.chdir(folder)
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
            os._exit(code)
        end, status = start + seconds, None
        while status is None and time.monotonic() < end:
            done, status_ = os.waitpid(pid, os.WNOHANG)
            status = status_ if done else None
            time.sleep(0.002)
        hung = status is None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        if hung:
            os.waitpid(pid, 0)
        texts = []
        for file in (out, error):
            file.seek(0)
            texts.append(file.read(LONGEST).decode("utf-8", "backslashreplace"))
    code_ = None if status is None else os.waitstatus_to_exitcode(status)
    return code_, texts[0], texts[1], time.monotonic() - start


if __name__ == "__main__":
    assert all((lightning_fabric, matplotlib.figure, pyarrow.csv, momentum_cli))
    torch.set_num_threads(1)
    # To build all commands takes longer than to run one.
    momentum_cli.cli.app = typer.main.get_command(momentum_cli.cli.app)  # type: ignore[assignment]
    for line in sys.stdin:
        print(json.dumps(run(*json.loads(line))), flush=True)
