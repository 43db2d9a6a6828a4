"""The run folder: nobody's files are lost, and a kill at any moment leaves whole files and whole rows."""

from __future__ import annotations

import contextlib
import csv
import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from momentum_cli.errors import DataError, RecipeError, RunError
from momentum_cli.machine import environment
from momentum_cli.progress import Evaluation, StepInfo
from momentum_cli.runs.files import json_text, replacing, write_json, write_text
from momentum_cli.runs.folder import is_run_folder, new_run_folder
from momentum_cli.runs.metrics_log import MetricsLog, read_metrics


def strict(text: str) -> Any:
    """`text` read by a parser that knows no NaN and no Infinity, as those of other languages."""

    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


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


# Whole files.


def test_json_is_readable_by_every_parser(tmp_path: Path) -> None:
    content = {
        "loss": math.nan,
        "seconds": [math.inf, -math.inf, 0.1],
        "path": Path("a/b"),
        "scalar": np.float32(0.5),
        "tensor": torch.tensor(3),
        "text": "Müller →",
        1: None,
        "yes": True,
    }
    write_json(tmp_path / "x.json", content)
    read = strict((tmp_path / "x.json").read_text(encoding="utf-8"))
    assert read == {
        "loss": "NaN",
        "seconds": ["Infinity", "-Infinity", 0.1],
        "path": "a/b",
        "scalar": 0.5,
        "tensor": 3,
        "text": "Müller →",
        "1": None,
        "yes": True,
    }
    assert [float(value) for value in read["seconds"]] == content["seconds"]
    with pytest.raises(RunError, match="JSON"):
        write_json(tmp_path / "x.json", {"object": object()})
    assert strict((tmp_path / "x.json").read_text(encoding="utf-8")) == read


def test_a_name_may_be_as_long_as_the_system_allows(tmp_path: Path) -> None:
    path = tmp_path / ("ä" * 125 + ".yaml")
    with replacing(path) as temporary:
        temporary.write_text("x", encoding="utf-8")
    assert path.read_text(encoding="utf-8") == "x"


def test_an_error_while_writing_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text(f"half {1 / 0}" if temporary.write_text("half") else "")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert path.read_text() == "old"


def test_who_is_reading_the_old_file_gets_it_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"n": 1})
    with open(path, encoding="utf-8") as old:
        write_json(path, {"n": 2})
        assert strict(old.read()) == {"n": 1}  # replaced, not written over
    assert strict(path.read_text()) == {"n": 2}


def test_a_json_file_is_whole_at_every_moment_of_a_kill(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib, itertools; from momentum_cli.runs import write_json\n"
        "for n in itertools.count():\n"
        "    write_json(pathlib.Path(sys.argv[1]), {'n': n, 'fill': [n] * 20_000})\n"
    )
    path = tmp_path / "x.json"
    for delay in (0.05, 0.11, 0.23):
        process = subprocess.Popen([sys.executable, "-c", program, str(path)])
        deadline = time.monotonic() + 60
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(delay)
        process.kill()
        process.wait()
        content = strict(path.read_text())
        assert content["fill"] == [content["n"]] * 20_000


# The metrics.


def train_row(step: int) -> StepInfo:
    return StepInfo(step, step // 4 + 1, step % 4, 1.0 / step, 0.5 + step, 1e-3, 8 * step, 0.1 * step, None)


def write(log: MetricsLog, first: int, last: int) -> None:
    """The rows of the steps `first` to `last`, with an evaluation every fourth step."""
    for step in range(first, last + 1):
        log.train(train_row(step), wall_seconds=0.2 * step, samples_per_second=80.0)
        if step % 4 == 0:
            metrics = {"loss": 0.3 / step, "accuracy": 1 - 1 / step}
            log.evaluation(Evaluation(step, step // 4, 8 * step, "test", metrics, 0.1 * step, 0.2 * step, True, False))


def files(folder: Path) -> tuple[bytes, bytes]:
    return (folder / "metrics.jsonl").read_bytes(), (folder / "metrics.csv").read_bytes()


def test_both_files_hold_the_same_rows_to_the_last_bit(tmp_path: Path) -> None:
    with MetricsLog(tmp_path, ("loss", "accuracy")) as log:
        write(log, 1, 8)
    rows = read_metrics(tmp_path)
    assert [(row["kind"], row["step"]) for row in rows][3:6] == [("train", 4), ("eval", 4), ("train", 5)]
    assert rows[4]["accuracy"] == 1 - 1 / 4
    assert rows[6]["loss"] == 1 / 6
    assert [row["step"] for row in read_metrics(tmp_path, "eval")] == [4, 8]
    header = (tmp_path / "metrics.csv").read_text().splitlines()[0]
    assert header == (
        "kind,step,epoch,samples,split,loss,accuracy,grad_norm,lr,samples_per_second,train_seconds,wall_seconds"
    )
    (tmp_path / "metrics.jsonl").unlink()
    assert read_metrics(tmp_path) == rows


def test_non_finite_losses_survive_in_both_files(tmp_path: Path) -> None:
    with MetricsLog(tmp_path) as log:
        log.append({"kind": "train", "step": 1, "loss": math.nan, "grad_norm": math.inf})
    strict((tmp_path / "metrics.jsonl").read_text())
    for _ in range(2):
        (row,) = read_metrics(tmp_path)
        assert math.isnan(row["loss"])
        assert row["grad_norm"] == math.inf
        (tmp_path / "metrics.jsonl").unlink(missing_ok=True)


def test_a_row_is_on_the_disk_as_soon_as_it_is_written(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, ("accuracy",))
    write(log, 1, 1)
    assert len(read_metrics(tmp_path)) == 1  # nothing was flushed, synced or closed
    log.sync()
    log.close()
    log.close()


def test_resume_gives_the_files_of_a_run_that_was_never_cut(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    with MetricsLog(whole, ("accuracy",)) as log:
        write(log, 1, 20)
    with MetricsLog(cut, ("accuracy",)) as log:
        write(log, 1, 15)
    with MetricsLog(cut, ("accuracy",)) as log:
        log.resume(12)  # the checkpoint was written after the evaluation of step 12
        write(log, 13, 20)
    assert files(cut) == files(whole)


def test_an_evaluation_that_is_made_again_is_not_there_twice(tmp_path: Path) -> None:
    with MetricsLog(tmp_path, ("accuracy",)) as log:
        write(log, 1, 12)
        log.resume(12, keep_evaluation=False)
        rows = read_metrics(tmp_path)
        assert [row["step"] for row in rows if row["kind"] == "eval"] == [4, 8]
        assert rows[-1]["step"] == 12
        log.resume(0)
        assert read_metrics(tmp_path) == []


@pytest.mark.parametrize("torn", ["metrics.jsonl", "metrics.csv"])
def test_a_torn_last_line_is_repaired_wherever_it_was_torn(tmp_path: Path, torn: str) -> None:
    with MetricsLog(tmp_path, ("accuracy",)) as log:
        write(log, 1, 8)
    whole = files(tmp_path)
    rows = read_metrics(tmp_path)
    last = len((tmp_path / torn).read_bytes().splitlines(keepends=True)[-1])
    for missing in (*range(1, last, 4), last):
        for name, content in zip(("metrics.jsonl", "metrics.csv"), whole, strict=True):
            (tmp_path / name).write_bytes(content)
        with open(tmp_path / torn, "r+b") as file:
            file.truncate(len(whole[torn == "metrics.csv"]) - missing)
        # jsonl is written first: if it is torn the row was never acknowledged, if csv is torn the row is there
        kept = rows[:-1] if torn == "metrics.jsonl" else rows
        assert read_metrics(tmp_path) == kept
        MetricsLog(tmp_path, ("accuracy",)).close()
        assert read_metrics(tmp_path) == kept
        with open(tmp_path / "metrics.csv", newline="") as file:
            assert len(list(csv.DictReader(file))) == len(kept)


def test_no_acknowledged_row_is_lost_by_a_kill(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib, itertools; from momentum_cli.runs import MetricsLog\n"
        "log = MetricsLog(pathlib.Path(sys.argv[1]))\n"
        "for n in itertools.count(1):\n"
        "    log.append({'kind': 'train', 'step': n, 'loss': n / 7}); print(n, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    killer = threading.Timer(0.3, os.kill, (process.pid, signal.SIGKILL))
    acknowledged = 0
    for line in process.stdout:
        if not killer.is_alive() and acknowledged == 0:
            killer.start()
        acknowledged = int(line) if line.endswith("\n") else acknowledged
    process.wait()
    process.stdout.close()
    MetricsLog(tmp_path).close()
    rows = read_metrics(tmp_path)
    assert acknowledged <= len(rows) <= acknowledged + 1
    assert rows == [{"kind": "train", "step": n, "loss": n / 7} for n in range(1, len(rows) + 1)]


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    with MetricsLog(tmp_path) as log:
        write_rows = [{"kind": "train", "step": n} for n in (1, 2, 3)]
        for row in write_rows:
            log.append(row)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    (tmp_path / "metrics.jsonl").write_text("\n".join([lines[0], lines[1][:9], lines[2], ""]))
    with pytest.raises(DataError, match=r"metrics\.jsonl, line 2"):
        read_metrics(tmp_path)


@pytest.mark.parametrize("damage", [("step", "sUep"), ("kind", "kInd"), ("train", "tr`in")])
@pytest.mark.parametrize("name", ["metrics.jsonl", "metrics.csv"])
def test_a_row_that_does_not_tell_its_step_or_kind_is_damaged(
    name: str, damage: tuple[str, str], tmp_path: Path
) -> None:
    """One of an unknown kind would be left out of every reading without a word."""
    with MetricsLog(tmp_path) as log:
        log.append({"kind": "train", "step": 1, "loss": 0.5})
    if name == "metrics.csv":
        (tmp_path / "metrics.jsonl").unlink()
    path = tmp_path / name
    path.write_text(re.sub(rf"\b{damage[0]}\b", damage[1], path.read_text()))
    with pytest.raises(DataError, match=rf"{name}, line \d is damaged"):
        read_metrics(tmp_path)


def test_unknown_columns_are_refused(tmp_path: Path) -> None:
    with MetricsLog(tmp_path, ("accuracy",)) as log:
        with pytest.raises(RunError, match=r"no metrics column acuracy; the columns are.*accuracy"):
            log.append({"kind": "eval", "step": 1, "acuracy": 0.5})
        log.append({"kind": "eval", "step": 1, "accuracy": 0.5})
    with pytest.raises(DataError, match="accuracy"):
        MetricsLog(tmp_path, ("mse",))
    assert len(read_metrics(tmp_path)) == 1


def test_a_folder_without_metrics_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="neither"):
        read_metrics(tmp_path)


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


# Two at once.


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
