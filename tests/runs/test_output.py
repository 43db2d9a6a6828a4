"""Output paths are refused before the work begins, and the check leaves nothing behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from momentum_cli.data.dataset import cache_dir
from momentum_cli.errors import DataError, RecipeError, SettingError
from momentum_cli.reading import expanded
from momentum_cli.runs import output
from momentum_cli.runs.files import csv_cell, replacing
from momentum_cli.runs.metrics_log import read_metrics
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


def test_a_circle_of_links_is_refused_and_stays(tmp_path: Path) -> None:
    """Behind a link to nothing a file can be made; behind a circle nothing can be."""
    circle, dangling = tmp_path / "circle", tmp_path / "dangling"
    circle.symlink_to(circle.name)
    dangling.symlink_to("absent")
    with pytest.raises(RecipeError, match=r"--out .*circle: Too many levels of symbolic links.*name another file"):
        check_output_file(circle)
    with pytest.raises(DataError, match=r"circle: Too many levels of symbolic links"), replacing(circle):
        pass
    assert circle.is_symlink()
    check_output_file(dangling)
    with replacing(dangling) as temporary:
        temporary.write_text("new")
    assert dangling.read_text() == "new"


def test_metrics_that_lead_nowhere_are_not_passed_over(tmp_path: Path) -> None:
    """The CSV file may be older than what the link led to."""
    (tmp_path / "metrics.csv").write_text("kind,step\ntrain,1\n")
    (tmp_path / "metrics.jsonl").symlink_to("metrics.jsonl")
    with pytest.raises(DataError, match=r"metrics\.jsonl: Too many levels"):
        read_metrics(tmp_path)
    (tmp_path / "metrics.jsonl").unlink()
    assert read_metrics(tmp_path) == [{"kind": "train", "step": 1}]


@pytest.mark.parametrize("text", ["=1+2", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "-", "=x"])
def test_a_spreadsheet_computes_no_name(text: str) -> None:
    assert csv_cell(text) == f"'{text}"


@pytest.mark.parametrize("value", ["-0.5", "+1e-3", "-inf", "nan", "a=b", "", "3", -1, 2.5, None])
def test_numbers_and_other_text_stay_as_they_are(value: object) -> None:
    assert csv_cell(value) is value


def test_a_home_that_does_not_exist_is_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(self: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    assert expanded("~nobody-of-this-name/x") == Path("~nobody-of-this-name/x")
    monkeypatch.setattr(Path, "expanduser", none)
    monkeypatch.setattr(Path, "home", classmethod(none))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert expanded("~/x") == Path("~/x")
    with pytest.raises(SettingError, match="set XDG_CACHE_HOME"):
        cache_dir()
