"""Locks of folders: who is kept out, who waits, and that no two processes find a folder free."""

from __future__ import annotations

import contextlib
import fcntl
import threading
import time
from pathlib import Path

import pytest

from momentum_cli.errors import RecipeError
from momentum_cli.runs.lock import entered, is_locked, locked


def test_a_lock_keeps_others_out_and_ends(tmp_path: Path) -> None:
    assert is_locked(tmp_path) is False
    with locked(tmp_path, "training"):
        assert is_locked(tmp_path) is True
        for shared in (False, True):
            with pytest.raises(RecipeError, match="another trial is running"), locked(tmp_path, "trial", shared=shared):
                pass
    with locked(tmp_path, "training", shared=True), locked(tmp_path, "training", shared=True):
        assert is_locked(tmp_path) is False
    assert list(tmp_path.iterdir()) == []


def test_the_first_is_alone_until_it_admits_others(tmp_path: Path) -> None:
    with entered(tmp_path, "search", patience_seconds=30) as first:
        assert first.alone is True
        refused = pytest.raises(RecipeError, match="another search is running")
        with refused, entered(tmp_path, "search", patience_seconds=0):
            pass
        first.admit()
        with entered(tmp_path, "search", patience_seconds=0) as second:
            assert second.alone is False
    with entered(tmp_path, "search", patience_seconds=0) as third:
        assert third.alone is True


def test_others_wait_for_the_first(tmp_path: Path) -> None:
    found: list[bool | None] = []

    def come() -> None:
        with entered(tmp_path, "search", patience_seconds=30) as entry:
            found.append(entry.alone)

    with entered(tmp_path, "search", patience_seconds=30) as first:
        thread = threading.Thread(target=come)
        thread.start()
        time.sleep(0.1)
        assert found == []
        first.admit()
        thread.join()
    assert found == [False]


def test_nobody_comes_between_a_lock_and_its_sharing(tmp_path: Path) -> None:
    """The system makes an exclusive lock a shared one in one step, on which `Entry.admit` relies."""
    over = threading.Event()
    alone: list[int] = []

    def try_it() -> None:
        while not over.is_set():
            with contextlib.suppress(RecipeError), locked(tmp_path, "search"):
                alone.append(1)

    with entered(tmp_path, "search", patience_seconds=30) as entry:
        thread = threading.Thread(target=try_it)
        thread.start()
        assert entry._handle is not None
        for _ in range(20_000):
            entry.admit()
            fcntl.flock(entry._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        over.set()
        thread.join()
    assert alone == []


def test_without_locks_nobody_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError("no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(tmp_path, "training"), locked(tmp_path, "training"):
        assert is_locked(tmp_path) is None
    with entered(tmp_path, "search", patience_seconds=30) as entry:
        entry.admit()
        assert entry.alone is None
