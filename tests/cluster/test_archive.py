"""Run folders that come back from a worker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from momentum_cli.cluster.archive import machines_of, packed, unpack
from momentum_cli.errors import DataError, RecipeError
from momentum_cli.runs.lock import locked


def a_run(folder: Path, text: str) -> Path:
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "last.safetensors").write_text(text)
    for name in (".marker", "recipe.yaml", "result.json"):
        (folder / name).write_text(text)
    return folder


def content(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_comes_back_in_place_of_what_was_there_and_its_lock_holds(tmp_path: Path) -> None:
    home, new = a_run(tmp_path / "home", "old"), a_run(tmp_path / "new", "new")
    (home / "left.txt").write_text("old")
    with locked(home, "trial"):
        unpack(packed(new), home)
        with pytest.raises(RecipeError, match="another trial is running"), locked(home, "trial"):
            pass
    assert content(home) == content(new)
    assert {path.name for path in tmp_path.iterdir()} == {"home", "new"}


def test_a_kill_while_a_folder_is_filled_leaves_one_without_a_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, rename = a_run(tmp_path / "new", "new"), Path.rename
    archive = packed(new)
    for moment in range(4):
        home, left = a_run(tmp_path / f"home{moment}", "old"), [moment]

        def killed(path: Path, target: Path, left: list[int] = left) -> Path:
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
            return rename(path, target)

        monkeypatch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            unpack(archive, home)
        assert "result.json" not in content(home)
        # A checkpoint is there only with all that it needs.
        assert (home / "checkpoints").exists() == (moment == 3)


def test_a_file_outside_the_folder_is_not_written(tmp_path: Path) -> None:
    import io
    import tarfile

    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../evil.txt"))
    with pytest.raises(tarfile.OutsideDestinationError):
        unpack(stream.getvalue(), tmp_path / "home")
    assert {path.name for path in tmp_path.rglob("*")} == {"home"}


def test_machines_of_one_processor_and_two_names_are_two(tmp_path: Path) -> None:
    for number, host in enumerate(("a", "b", "a")):
        folder = tmp_path / f"run{number}"
        folder.mkdir()
        told = {"worker": f"tcp://{number}", "machine": {"host": host, "cpu": "same", "cores": 2}}
        (folder / "worker.json").write_text(json.dumps(told))
    (tmp_path / "run3").mkdir()
    assert [machine["host"] for machine in machines_of(tmp_path / f"run{n}" for n in range(4))] == ["a", "b"]


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"machine": null}', '{"machine": {"host": 1}}'])
def test_a_damaged_name_of_a_machine_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "worker.json").write_text(text)
    with pytest.raises(DataError, match=r"worker\.json is damaged"):
        machines_of([tmp_path])
