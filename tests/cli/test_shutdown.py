"""A signal while Python shuts down, after the command is over."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Module globals are destroyed in the last part of the shutdown, after Python has given the signals back.
PROGRAM = """
import os, sys
from momentum_cli.__main__ import main

class Late:
    def __init__(self, number, kill=os.kill, pid=os.getpid()):
        self.send = lambda: kill(pid, number)

    def __del__(self):
        self.send()

late = Late(NUMBER)
sys.argv = ["momentumrnn", "recipes", "list"]
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
@pytest.mark.parametrize("number", [2, 15])
def test_a_finished_command_does_not_die_of_a_late_signal(number: int) -> None:
    program = PROGRAM.replace("NUMBER", str(number))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "digits" in done.stdout
