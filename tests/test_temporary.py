"""Temporary files and folders: a signal at any moment leaves none."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest
from floors import FILES

from momentum_cli.temporary import temporary_file, temporary_folder

KINDS = pytest.mark.parametrize("make", [temporary_file, temporary_folder])
Make = Callable[[Path], AbstractContextManager[Path]]


def stopped_after(function: Callable[..., object]) -> Callable[..., object]:
    """Return a function that is interrupted right after its work."""

    def stopped(*arguments: object, **options: object) -> None:
        function(*arguments, **options)
        raise KeyboardInterrupt

    return stopped


@pytest.mark.parametrize(("name", "make"), [("close", temporary_file), ("mkdir", temporary_folder)])
def test_a_signal_right_after_it_was_made_leaves_nothing(
    name: str, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, name, stopped_after(getattr(os, name)))
    with pytest.raises(KeyboardInterrupt), make(tmp_path / "frames"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_signal_while_a_folder_is_deleted_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    delete = shutil.rmtree

    def stopped(path: Path, *options: object) -> None:
        monkeypatch.setattr(shutil, "rmtree", delete)
        (path / "a").unlink()
        raise KeyboardInterrupt

    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder(tmp_path / "frames"))
        (folder / "a").touch()
        (folder / "b").touch()
        monkeypatch.setattr(shutil, "rmtree", stopped)
        with pytest.raises(KeyboardInterrupt):
            stack.close()
    assert list(tmp_path.iterdir()) == []


@KINDS
def test_it_is_beside_its_target_and_deleted_after_an_error(make: Make, tmp_path: Path) -> None:
    made = []

    def fail() -> None:
        with make(tmp_path / "frames") as path:
            made.append(path)
            assert path.exists()
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert made[0].parent == tmp_path
    assert re.fullmatch(r"\.frames\.[0-9a-f]{16}\.tmp", made[0].name)
    assert list(tmp_path.iterdir()) == []


@KINDS
def test_what_was_renamed_is_not_deleted(make: Make, tmp_path: Path) -> None:
    with make(tmp_path / "frames") as path:
        path.rename(tmp_path / "frames")
    assert list(tmp_path.iterdir()) == [tmp_path / "frames"]


@pytest.mark.skipif(os.name == "nt", reason="file modes")
def test_a_folder_is_for_the_user_alone() -> None:
    with temporary_folder() as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_nothing_else_makes_temporary_files_with_a_name() -> None:
    others = re.compile(r"tempfile\.(mk|NamedTemporary|TemporaryDirectory|SpooledTemporary)")
    assert [str(path) for path in FILES if others.search(path.read_text(encoding="utf-8"))] == []
