"""Numbered folders: which number is next, which are earlier, and what replacing one deletes."""

from __future__ import annotations

from pathlib import Path

from momentum_cli.runs.numbered import clear, earlier, emptied, first_difference, numbered


def test_the_next_number_follows_the_largest(tmp_path: Path) -> None:
    base = tmp_path / "runs"
    assert [numbered(base, "a b").name for _ in range(2)] == ["a-b-001", "a-b-002"]
    (base / "a-b-007").mkdir()
    (base / "a-b-c-009").mkdir()
    assert numbered(base, "a b").name == "a-b-008"
    assert [path.name for path in earlier(base, "a b")] == ["a-b-008", "a-b-007", "a-b-002", "a-b-001"]
    assert earlier(tmp_path / "none", "a") == []
    assert numbered(base, "..").name == "run-001"
    assert len(numbered(base, "x" * 300).name) == 84


def test_only_what_is_named_is_deleted(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "inner").mkdir(parents=True)
    folder = tmp_path / "f"
    (folder / "trials").mkdir(parents=True)
    (folder / "trials" / "x").write_text("1")
    (folder / "link").symlink_to(outside)
    for name in ("a.png", "b.csv", "mine.txt"):
        (folder / name).write_text("1")
    (folder / "d.png").mkdir()
    clear(folder, ("*.png", "b.csv"), ("trials", "link", "none"))
    assert sorted(path.name for path in folder.iterdir()) == ["d.png", "mine.txt"]
    assert (outside / "inner").is_dir()


def test_the_first_difference_names_its_key_and_both_values() -> None:
    assert first_difference({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}) == "a.c: 2 there, 3 now"
    assert first_difference({"a": 1}, {"a": 1, "b": None}) == ""
    assert first_difference({"a": 1}, {}) == "a: 1 there, None now"


def test_what_a_kill_over_the_first_file_left_is_no_content(tmp_path: Path) -> None:
    left = tmp_path / ".plan.json.a1_b2c3d.tmp"
    left.touch()
    (tmp_path / "runs").mkdir()
    assert emptied(tmp_path, "plan.json", "runs", alone=False)
    assert left.exists()  # another process may be writing it
    assert emptied(tmp_path, "plan.json", "runs")
    assert not left.exists()
    for mine in ("notes.txt", ".mine.tmp", "runs/a"):
        (tmp_path / mine).touch()
        left.touch()
        assert not emptied(tmp_path, "plan.json", "runs")
        assert left.exists()
        (tmp_path / mine).unlink()
