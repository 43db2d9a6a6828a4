"""The rows of a run: a kill at any moment leaves whole rows, and a damaged one is named."""

from __future__ import annotations

import csv
import math
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from strict_json import strict

from momentum_cli.errors import DataError, RunError
from momentum_cli.progress import Evaluation, StepInfo
from momentum_cli.runs.metrics_log import MetricsLog, read_metrics


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
