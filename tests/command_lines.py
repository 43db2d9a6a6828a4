"""Command lines run in this process or in one of their own, and what they wrote."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from momentum_cli import cli
from momentum_cli.recipe.recipe import load_recipe


def run(*args: str) -> Result:
    return CliRunner().invoke(cli.app, list(args))


def one_object(text: str) -> dict[str, Any]:
    """Parse text that must be exactly one JSON object in one line."""
    assert text.endswith("\n")
    assert text.count("\n") == 1
    parsed = json.loads(text)
    assert isinstance(parsed, dict)
    return parsed


def process(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, "-m", "momentum_cli", *args]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)


def make_run(folder: Path, *overrides: str, age: float = 0.0) -> Path:
    folder.mkdir(parents=True)
    load_recipe("digits", overrides).save(folder / "recipe.yaml")
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "last.safetensors").touch()
    os.utime(folder, (time.time() - age,) * 2)
    return folder
