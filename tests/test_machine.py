"""What a process says of its memory, and of the source that it runs in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from momentum_cli import machine

BLOCK = 64 << 20


def test_the_peak_stays_and_can_be_forgotten() -> None:
    if machine.resident_bytes() is None or not machine.forget_peak():
        pytest.skip("this system does not tell the peak since a moment")
    before = machine.resident_bytes()
    assert before is not None
    block = bytearray(b"1") * BLOCK
    del block
    peak, now = machine.peak_resident_bytes(), machine.resident_bytes()
    assert peak is not None
    assert now is not None
    assert peak >= before + BLOCK // 2
    assert now < before + BLOCK // 2
    machine.forget_peak()
    assert (machine.peak_resident_bytes() or 0) < before + BLOCK // 2


def test_a_child_does_not_begin_with_the_peak_of_its_parent() -> None:
    block = bytearray(b"1") * (4 * BLOCK)
    code = "from momentum_cli.machine import peak_resident_bytes; print(peak_resident_bytes())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    del block
    assert int(done.stdout) < 4 * BLOCK


def test_a_strangers_repository_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, trap = tmp_path / "theirs", tmp_path / "ran"
    folder.mkdir()
    monkeypatch.chdir(folder)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", "init", "-q"], check=True)
    (folder / "file").write_text("content")
    (folder / ".gitattributes").write_text("file filter=trap\n")
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "first"], check=True)
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {trap}\ncat\n")
    program.chmod(0o755)
    for key in ("core.fsmonitor", "filter.trap.clean", "filter.trap.smudge", "filter.trap.process"):
        subprocess.run(["git", "config", key, str(program)], check=True)
    (folder / ".git" / "hooks" / "post-index-change").write_text(program.read_text())
    (folder / ".git" / "hooks" / "post-index-change").chmod(0o755)
    os.utime(folder / "file", (1, 1))  # git must compare the content
    assert machine.environment()["git"]["changed"] is False
    (folder / "file").write_text("other text")
    assert machine.environment()["git"]["changed"] is True
    assert not trap.exists()
    # The trap works: git itself falls into it.
    subprocess.run(["git", "status"], check=False, capture_output=True)
    assert trap.exists()


def test_the_password_of_a_database_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    given = ["momentumrnn", "tune", "--join", "postgresql+psycopg://me:p@ss:w@host:5432/db", "--out=sqlite:////a:b/c"]
    monkeypatch.setattr("sys.argv", given)
    kept = machine.environment()["argv"]
    assert kept[3] == "postgresql+psycopg://me:***@host:5432/db"
    assert kept[4] == given[4]
