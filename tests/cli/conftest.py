"""What the tests of commands share."""

from __future__ import annotations

from pathlib import Path

import pytest

RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Work in an empty folder as the only process of a training, without data."""
    for name in (*RANKS, "MOMENTUMRNN_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
