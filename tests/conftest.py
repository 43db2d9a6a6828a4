"""Tests run in several processes at once (`pytest -n auto`): each then computes on one thread, or starve each other."""

from __future__ import annotations

import base64
import functools
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

# Read by OpenMP when torch is first imported, which no test module does before this one.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # Before a test module imports Fabric itself, and with it half of the packages that are installed.
    with suppress(ImportError):  # kernels are tested where packages of trainings are missing, too
        from momentum_cli.training.launch import import_fabric

        import_fabric()
# A command that a test runs in this process must not change the memory that other tests measure here.
os.environ.setdefault("MOMENTUMRNN_KEEP_MEMORY", "0")

# A PNG of one white pixel.
BLANK = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsTj2FAAAAABJRU5ErkJggg==")


@pytest.fixture(scope="session", autouse=True)
def _blank_curves() -> Iterator[None]:
    """Leave the picture at the end of a training blank: to draw it takes twice as long as a small training."""

    def blank(source: Any, target: Any, path: Path, **options: Any) -> None:
        path.write_bytes(BLANK)

    with pytest.MonkeyPatch.context() as patch:
        with suppress(ImportError):  # as above
            patch.setattr("momentum_cli.training.run.curves", blank)
        yield


@pytest.fixture(scope="session", autouse=True)
def _one_command_line() -> Iterator[None]:
    """Build the command line once: to build it takes longer than most of its answers."""
    with pytest.MonkeyPatch.context() as patch:
        with suppress(ImportError):
            import typer.main

            patch.setattr("typer.testing._get_command", functools.cache(typer.main.get_command), raising=False)
        yield


@pytest.fixture
def drawn_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw the picture at the end of a training all the same."""
    from momentum_cli.pictures.curves import curves

    monkeypatch.setattr("momentum_cli.training.run.curves", curves)
