"""A signal while a module is imported, which C++ code might answer by aborting the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends signals")

# A plugin is imported before the command runs, which then imports torch and trains.
PLUGIN = """
import os, signal, sys, time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from momentum_cli.dynamics import Filter, FormDynamics

@dataclass(frozen=True)
class Plain(FormDynamics):
    equation: ClassVar[str] = "d = u"

    @property
    def form(self):
        return Filter(gain=1.0, decay=0.0)

DYNAMICS = {"plain": Plain}
sys.modules["__main__"]._PATIENCE = LONGEST
os.kill(os.getpid(), signal.NUMBER)
end = time.monotonic() + SECONDS
while time.monotonic() < end:
    pass
Path("imported").touch()
"""

# A program that waits in a call of the system when the import is over.
WAITING = """
import signal, sys, time
from momentum_cli import __main__ as program
from momentum_cli.errors import Stopped

program._PAUSE = 1.0  # long enough to arrive there
signal.signal(signal.SIGTERM, program._stop)
sys.path.insert(0, "")
try:
    import plugin

    time.sleep(1000)
except Stopped as stop:
    sys.exit(stop.number)
"""


def run(folder: Path, number: str, seconds: float, patience: float = 60) -> subprocess.CompletedProcess[str]:
    text = PLUGIN.replace("NUMBER", number).replace("SECONDS", str(seconds)).replace("LONGEST", str(patience))
    (folder / "plugin.py").write_text(text)
    command = [sys.executable, "-m", "momentum_cli", "--plugin", "plugin.py", "train", "digits", "--out", "run"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(("number", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_waits_for_the_end_of_an_import(tmp_path: Path, number: str, code: int) -> None:
    done = run(tmp_path, number, 0.5)
    assert done.returncode == code
    assert "error: interrupted" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "imported").exists()


def test_an_import_without_end_is_ended(tmp_path: Path) -> None:
    done = run(tmp_path, "SIGTERM", 1000, patience=0.5)
    assert (done.returncode, done.stdout, done.stderr) == (143, "", "error: interrupted\n")
    assert not (tmp_path / "imported").exists()


def test_a_signal_ends_what_the_program_waits_for_after_an_import(tmp_path: Path) -> None:
    (tmp_path / "plugin.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\n")
    done = subprocess.run([sys.executable, "-c", WAITING], cwd=tmp_path, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (15, b"", b"")


def test_several_signals_in_an_import_are_one(tmp_path: Path) -> None:
    (tmp_path / "plugin.py").write_text(
        "import os, signal, time\nfor _ in range(5):\n    os.kill(os.getpid(), signal.SIGTERM)\n    time.sleep(0.005)\n"
    )
    program = WAITING.replace("as stop:", "as stop:\n    time.sleep(1.5)")  # a second one would interrupt this
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (15, b"", b"")
