"""The run folder: nobody's files are lost, and what it says of where it was made."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from strict_json import strict

from momentum_cli.errors import RecipeError
from momentum_cli.machine import environment
from momentum_cli.runs.files import json_text
from momentum_cli.runs.folder import check_new_run_folder, is_run_folder, new_run_folder
from momentum_cli.runs.lock import locked

# The folder.


def test_folders_are_numbered_after_the_highest_one(tmp_path: Path) -> None:
    base = tmp_path / "runs"
    names = [new_run_folder(None, base, stem="digits-momentum").name for _ in range(2)]
    (base / "digits-momentum-041").mkdir()
    (base / "digits-momentum-gru-077").mkdir()  # another cell
    names.append(new_run_folder(None, base, stem="digits-momentum").name)
    assert names == ["digits-momentum-001", "digits-momentum-002", "digits-momentum-042"]
    assert new_run_folder(None, base, stem="../my recipe-a/b").parent == base


def test_processes_that_ask_at_once_get_different_folders(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from momentum_cli.runs import new_run_folder\n"
        "print(*[new_run_folder(None, pathlib.Path(sys.argv[1]), stem='a') for _ in range(50)], sep='\\n')"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    folders = [line for process in started for line in process.communicate(timeout=60)[0].splitlines()]
    assert len(folders) == len(set(folders)) == 150


def test_out_may_be_new_or_empty(tmp_path: Path) -> None:
    new = tmp_path / "a" / "b"
    assert new_run_folder(new, stem="x") == new
    assert is_run_folder(new)
    assert new_run_folder(new, stem="x") == new  # a run that wrote nothing yet
    (tmp_path / "empty").mkdir()
    assert new_run_folder(tmp_path / "empty", stem="x") == tmp_path / "empty"


def test_out_in_use_is_left_alone_and_the_remedy_named(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RecipeError, match=r"not empty.*thesis\.tex.*new folder"):
        new_run_folder(tmp_path, stem="x")
    with pytest.raises(RecipeError, match=r"not a run folder.*nothing was deleted"):
        new_run_folder(tmp_path, stem="x", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_overwrite_deletes_what_runs_write_and_nothing_else(tmp_path: Path) -> None:
    outside = tmp_path / "precious"
    outside.mkdir()
    (outside / "weights").write_text("w")
    run = new_run_folder(tmp_path / "run", stem="x")
    for name in ("recipe.yaml", "source.yaml", "metrics.csv", "metrics.jsonl", "result.json", "curves.png"):
        (run / name).write_text("old")
    (run / ".result.json.1.tmp").write_text("left by a kill")
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "last.safetensors").write_text("old")
    (run / "notes.md").write_text("mine")
    (run / "figures").mkdir()
    with pytest.raises(RecipeError, match=r"--overwrite.*--resume"):
        new_run_folder(run, stem="x")
    assert new_run_folder(run, stem="x", overwrite=True) == run
    assert sorted(path.name for path in run.iterdir()) == [".momentumrnn-run", "figures", "notes.md"]
    (run / "recipe.yaml").write_text("old")
    (run / "checkpoints").symlink_to(outside)
    new_run_folder(run, stem="x", overwrite=True)
    assert (outside / "weights").read_text() == "w"
    assert not (run / "checkpoints").exists()


def test_a_place_where_no_folder_can_be_made_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecipeError, match="is a file"):
        new_run_folder(tmp_path / "file", stem="x")
    with pytest.raises(RecipeError, match=r"cannot make a run folder.*--out"):
        new_run_folder(tmp_path / "file" / "run", stem="x")
    with pytest.raises(RecipeError, match=r"cannot make a run folder.*--out"):
        new_run_folder(None, tmp_path / "file", stem="x")


# The environment.


def test_environment_is_complete_and_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", "hunter2-secret")
    found = strict(json_text(environment()))
    assert "hunter2" not in json.dumps(found)
    assert found["packages"]["torch"] == torch.__version__.split("+")[0]
    assert found["threads"] == torch.get_num_threads()
    assert found["argv"] == sys.argv
    assert found["cpu"]["name"]
    assert len(found["devices"]) == torch.cuda.device_count()


def test_environment_names_the_commit_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert environment()["git"] is None
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c"]
    (tmp_path / "file").write_text("1")
    for arguments in (["init", "-q"], ["add", "file"], ["commit", "-qm", "x"]):
        subprocess.run([*git, *arguments], check=True, capture_output=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert environment()["git"] == {"commit": commit, "changed": False}
    (tmp_path / "file").write_text("2")
    assert environment()["git"] == {"commit": commit, "changed": True}


@pytest.mark.parametrize(("name", "reason"), [("n" * 300, "File name too long"), ("file/run", "Not a directory")])
def test_a_folder_that_cannot_be_made_is_refused_before_the_data_are_loaded(
    tmp_path: Path, name: str, reason: str
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RecipeError, match=rf"cannot make a run folder in .*: {reason}; name another folder with --out"):
        check_new_run_folder(tmp_path / name)


# Two at once.


def test_a_run_that_is_at_work_is_refused_before_the_data_are_loaded(tmp_path: Path) -> None:
    run = new_run_folder(tmp_path / "run", stem="x")
    with locked(run, "training"), pytest.raises(RecipeError, match="another training is running in this folder"):
        check_new_run_folder(run, overwrite=True)
    check_new_run_folder(run, overwrite=True)


def digest(folder: Path) -> dict[str, tuple[str, int]]:
    """Return what every file below a folder holds, and when it was changed."""
    return {
        str(path.relative_to(folder)): (path.read_bytes().hex() if path.is_file() else "", path.lstat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
    }


def test_a_run_that_is_at_work_is_not_touched_by_overwrite(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with contextlib.ExitStack() as held:
        new_run_folder(run, stem="x", held=held)
        (run / "recipe.yaml").write_text("mine")
        (run / "checkpoints").mkdir()
        (run / "checkpoints" / "last.safetensors").write_text("mine")
        before = digest(tmp_path)
        program = (
            "import sys, pathlib; from momentum_cli.runs import new_run_folder\n"
            "new_run_folder(pathlib.Path(sys.argv[1]), stem='x', overwrite=True)"
        )
        other = subprocess.run([sys.executable, "-c", program, str(run)], capture_output=True, text=True, check=False)
        assert "another training is running in this folder" in other.stderr
        assert digest(tmp_path) == before
    # The lock has ended with its holder.
    new_run_folder(run, stem="x", overwrite=True)
    assert not (run / "recipe.yaml").exists()
