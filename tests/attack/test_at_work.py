"""Commands that would replace or continue what another process is working on: refused, and not one byte changes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from attack_subjects import BENCH, SEARCH
from attacked import RECIPE, Warm, attack, command, digest

# Long enough to be caught at work.
STEPS = "train.max_steps=2000"
TRAIN = ["train", "small.yaml", "--out", "run"]
# What works; a file that it has when it is in the middle; and what is tried meanwhile.
AT_WORK: dict[str, tuple[list[str], str, list[list[str]]]] = {
    "train": (
        TRAIN,
        "run/metrics.jsonl",
        [
            [*TRAIN, "--overwrite"],
            ["train", "--resume", "run"],
            [*BENCH[:-1], "run", "--overwrite"],
            [*SEARCH[:-1], "run", "--overwrite"],
        ],
    ),
    "bench": (
        BENCH,
        "bench/runs/small-lstm-seed0/metrics.jsonl",
        [
            [*BENCH, "--overwrite"],
            BENCH,
            ["train", "small.yaml", "--out", "bench", "--overwrite"],
            ["train", "small.yaml", "--out", "bench/runs/small-lstm-seed0", "--overwrite"],
            ["train", "--resume", "bench/runs/small-lstm-seed0"],
        ],
    ),
    "tune": (
        SEARCH,
        "search/trials/0000/metrics.jsonl",
        [
            [*SEARCH, "--overwrite"],
            SEARCH,
            ["train", "small.yaml", "--out", "search/trials/0000", "--overwrite"],
            ["train", "--resume", "search/trials/0000"],
        ],
    ),
}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("what", AT_WORK)
def test_what_is_at_work_is_not_touched(warm: Warm, what: str, tmp_path: Path) -> None:
    if what == "tune":
        pytest.importorskip("optuna")
    works, sign, tried = AT_WORK[what]
    (tmp_path / "small.yaml").write_text(RECIPE, encoding="utf-8")
    faults: list[str] = []

    def meanwhile(process: subprocess.Popen[str]) -> None:
        end = time.monotonic() + 120
        while not (tmp_path / sign).exists():
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGSTOP)
        before = digest(tmp_path)
        for arguments in tried:
            ended = warm.run(*arguments, STEPS, folder=tmp_path, seconds=60)
            found = ended.faults([2])
            found += [] if "is running in" in ended.error else [f"another reason: {ended.error[-300:]}"]
            found += [] if digest(tmp_path) == before else ["changed something"]
            faults.extend(f"{' '.join(arguments)}: {each}" for each in found)
        os.killpg(process.pid, signal.SIGCONT)
        os.killpg(process.pid, signal.SIGTERM)

    ended = attack(command(*works, STEPS), tmp_path, while_running=meanwhile, seconds=600)
    faults += ended.faults([128 + signal.SIGTERM])  # it was unharmed until then
    print(f"at work, {what}: {len(tried)} tried, {len(faults)} failed", *faults, sep="\n")
    assert faults == []
