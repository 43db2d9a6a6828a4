"""SIGINT and SIGTERM at random moments of every command: exit code 130 or 143, no traceback, nothing left behind."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from attacked import RECIPE, attack, command, unfinished

SECONDS = 8.0
COMMANDS = {
    "train": ["train", "small.yaml", "train.max_steps=100000", "--out", "OUT"],
    "bench": ["bench", "small.yaml", "--cells", "lstm,momentum", "--seeds", "0", "--budget-steps", "100000"],
    "bench of two": ["bench", "small.yaml", "--seeds", "0-1", "--jobs", "2", "--budget-steps", "100000"],
    "eval": ["eval", "RUN"],
    "export": ["export", "RUN", "--format", "pt2", "--out", "OUT.pt2"],
    "inspect": ["inspect", "RUN", "--out", "OUT"],
    "recipes": ["recipes", "list"],
}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def handles(pid: int, number: signal.Signals) -> bool:
    """Return True if a process handles a signal."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


def stop(folder: Path, name: str, number: signal.Signals, seconds: float, to_group: bool, count: int) -> list[str]:
    """Stop a command some seconds after its start; return what is wrong with its exit.

    Args:
        folder: A new working folder.
        name: A key of `COMMANDS`.
        number: SIGINT or SIGTERM.
        seconds: Seconds after signals are first handled.
        to_group: True if its child processes get the signal too, as from a terminal.
        count: Number of the attempt.
    """
    folder.mkdir(parents=True)
    (folder / "small.yaml").write_text(RECIPE, encoding="utf-8")
    words = {"RUN": str(folder.parent / "run"), "OUT": f"out{count}", "OUT.pt2": f"out{count}.pt2"}

    def send(process: subprocess.Popen[str]) -> None:
        while process.poll() is None and not handles(process.pid, signal.SIGTERM):
            time.sleep(0.002)  # Python itself starts: no program can be asked about that
        time.sleep(seconds)
        with suppress(ProcessLookupError):
            if to_group:
                os.killpg(process.pid, number)
            else:
                process.send_signal(number)

    ended = attack(command(*(words.get(word, word) for word in COMMANDS[name])), folder, while_running=send)
    # A command that was already over is fine too.
    return [*ended.faults([0, 128 + number]), *(f"left {path}" for path in unfinished(folder))]


@pytest.fixture(scope="module")
def base(subjects: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stops")
    shutil.copytree(subjects / "run", folder / "run")
    return folder


def many(base: Path, tries: int, seed: int) -> tuple[int, list[str]]:
    random_ = random.Random(seed)
    faults = []
    for count in range(tries):
        name = list(COMMANDS)[count % len(COMMANDS)]
        number = random_.choice([signal.SIGINT, signal.SIGTERM])
        seconds = random_.choice([0.3, 1.0, SECONDS]) * random_.random()
        to_group = number is signal.SIGINT and random_.random() < 0.5
        found = stop(base / f"{seed}-{count}", name, number, seconds, to_group, count)
        faults += [f"{name}, {number.name} after {seconds:.2f} s, group {to_group}: {each}" for each in found]
    print(f"stops: {tries} tried, {len(faults)} failed")
    return tries, faults


@pytest.mark.timeout(600)
def test_a_command_stopped_at_random_ends_cleanly(base: Path) -> None:
    assert many(base, 4, seed=0)[1] == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_commands_stopped_at_random_end_cleanly(base: Path) -> None:
    assert many(base, 200, seed=1)[1] == []
