"""Folders of the cache: complete or not there, and what is said if they cannot be written."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from momentum_cli.data.kept import UnwritableCache, keep
from momentum_cli.errors import DataError, RunError


def fill(folder: Path) -> bool:
    (folder / "a").write_text("new", encoding="utf-8")
    return True


def test_it_is_kept_complete_or_not_at_all(tmp_path: Path) -> None:
    assert keep(tmp_path / "cache" / "k", fill)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["k"]
    assert (tmp_path / "cache" / "k" / "a").read_text(encoding="utf-8") == "new"
    assert not keep(tmp_path / "cache" / "other", lambda folder: not fill(folder))
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["k"]


def test_what_a_faster_process_has_kept_remains(tmp_path: Path) -> None:
    def late(folder: Path) -> bool:
        (tmp_path / "k").mkdir()
        (tmp_path / "k" / "a").write_text("first", encoding="utf-8")
        return fill(folder)

    assert keep(tmp_path / "k", late)
    assert [path.name for path in tmp_path.iterdir()] == ["k"]
    assert (tmp_path / "k" / "a").read_text(encoding="utf-8") == "first"


def test_a_name_that_is_taken_by_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "k").touch()
    with pytest.raises(DataError, match=r"/k: Not a directory"):
        keep(tmp_path / "k", fill)
    assert [path.name for path in tmp_path.iterdir()] == ["k"]


@pytest.mark.parametrize("named", [True, False])
def test_a_full_disk_is_told_with_the_path_of_the_cache(named: bool, tmp_path: Path) -> None:
    def full(folder: Path) -> bool:
        raise OSError(errno.ENOSPC, "No space left on device", *([str(folder / "a")] if named else []))

    with pytest.raises(RunError, match=r"/cache/k: No space left on device"):
        keep(tmp_path / "cache" / "k", full)
    assert list((tmp_path / "cache").iterdir()) == []


def test_an_error_of_the_data_names_the_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.csv: No such file"):
        keep(tmp_path / "cache" / "k", lambda folder: bool((tmp_path / "absent.csv").read_bytes()))


@pytest.mark.parametrize(("code", "exit_code"), [(errno.EROFS, 3), (errno.ENOSPC, 1)])
def test_a_cache_that_cannot_be_written_is_told(
    code: int, exit_code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: object, **options: object) -> None:
        raise OSError(code, "refused")

    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(UnwritableCache, match=r"cannot be written \(refused\); give another cache folder") as raised:
        keep(tmp_path / "cache" / "k", fill)
    assert raised.value.exit_code == exit_code
