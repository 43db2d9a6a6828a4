"""Output paths are refused before the work begins, and the check leaves nothing behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from momentum_cli.errors import RecipeError
from momentum_cli.runs import output
from momentum_cli.runs.output import check_output_file, make_output_folder


def test_a_file_in_a_folder_that_is_there_is_allowed(tmp_path: Path) -> None:
    old = tmp_path / "old.txt"
    old.write_text("as it was")
    check_output_file(tmp_path / "new.txt")
    check_output_file(old)
    assert os.listdir(tmp_path) == ["old.txt"]
    assert old.read_text() == "as it was"


def test_a_file_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, message in (
        (tmp_path, r"--picture .* is a folder; name a file"),
        (tmp_path / "none" / "x", r"--picture .*x: no folder .*none; make it"),
        (tmp_path / "file" / "x", r"--picture .*x: .*file is not a folder"),
    ):
        with pytest.raises(RecipeError, match=message):
            check_output_file(path, "--picture")
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_is_made_or_refused(tmp_path: Path) -> None:
    make_output_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    make_output_folder(tmp_path / "a")
    (tmp_path / "file").touch()
    with pytest.raises(RecipeError, match=r"--out .*file is a file; name a folder"):
        make_output_folder(tmp_path / "file")
    with pytest.raises(RecipeError, match=r"--out .*x: cannot be made: .*; name a folder elsewhere"):
        make_output_folder(tmp_path / "file" / "x")
    assert os.listdir(tmp_path / "a" / "b") == []


def test_permissions_alone_do_not_decide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(**_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(output.tempfile, "TemporaryFile", read_only)
    with pytest.raises(RecipeError, match=r"cannot be written: Read-only file system; name a file elsewhere"):
        check_output_file(tmp_path / "x")
    with pytest.raises(RecipeError, match=r"cannot be written: Read-only file system; name a folder elsewhere"):
        make_output_folder(tmp_path)
