"""Run a page of the documentation: write its programs to files, and run its commands in order."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from momentum_cli.cli import app

BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
EPOCHS = re.compile(r"(train\.epochs=|--budget-epochs )\d+")


def run_page(page: Path, folder: Path, *, whole: bool = True) -> dict[str, str]:
    """Run a page in the current folder.

    Args:
        page: A page whose programs begin with a comment, the name of their file.
        folder: The current folder.
        whole: Run it as it is; otherwise all trainings have one epoch, so that what they learn means nothing.

    Returns:
        What each ``python`` command printed, by the command.
    """
    said: dict[str, str] = {}
    for language, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language == "python":
            name = text.splitlines()[0].removeprefix("# ")
            (folder / name).write_text(text, encoding="utf-8")
            continue
        commands = text if whole else EPOCHS.sub(r"\g<1>1", text)
        for line in commands.replace("\\\n", " ").splitlines():
            program, *arguments = shlex.split(line)
            if program == "momentumrnn":
                # In this process: starting one for each command would take longer than all of them.
                result = CliRunner().invoke(app, arguments)
                assert result.exit_code == 0, f"{line}\n{result.output}\n{result.exception!r}"
                continue
            assert program == "python"
            done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
            said[line] = done.stdout
    return said
