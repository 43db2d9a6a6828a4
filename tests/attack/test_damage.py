"""Files with flipped bytes, cut short or empty: refused by name with exit 3 (2 for recipes), or read alike."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from attack_subjects import BENCH, FORMATS, SEARCH
from attacked import Warm

# File and the commands that read it; a damaged copy takes its place.
READERS: dict[str, list[list[str]]] = {
    "run/checkpoints/last.safetensors": [["eval", "run", "--out", "o"], ["train", "--resume", "run"]],
    "run/metrics.jsonl": [["report", "run", "--out", "report.html"], ["train", "--resume", "run"]],
    "run/result.json": [["report", "run", "--out", "report.html"]],
    "run/recipe.yaml": [["train", "--resume", "run"]],
    "run/environment.json": [["report", "run", "--out", "report.html"]],
    "bench/bench.json": [["report", "bench"]],
    "bench/runs.csv": [["report", "bench"]],
    "bench/plan.json": [BENCH],
    "bench/runs/small-lstm-seed0/result.json": [BENCH],
    "search/plan.json": [SEARCH, ["tune", "--join", "search"]],
    "search/study.journal": [SEARCH],
    "search/tune.json": [["report", "search"]],
    "table.csv": [["init", "table.csv", "--out", "o.yaml"], ["predict", "trun", "table.csv"]],
    "table.parquet": [["init", "table.parquet", "--out", "o.yaml"], ["predict", "trun", "table.parquet"]],
    "images.npz": [["predict", "drun", "images.npz"], ["init", "images.npz", "--out", "o.yaml"]],
    "small.yaml": [["validate", "small.yaml"]],
    **{file: [["eval", file], ["predict", file, "table.csv"]] for file in FORMATS.values()},
}
# After which a command hangs; on a busy machine a search takes half a minute.
SECONDS = 300
MANY = 500


def damaged(content: bytes, random_: random.Random) -> bytes:
    """Return content with a flipped bit, a changed or missing piece, or nothing."""
    kind = random_.choice(["bit", "byte", "piece", "cut", "cut", "doubled", "zeros", "empty"])
    at = random_.randrange(max(1, len(content)))
    if kind == "bit":
        changed = bytearray(content)
        changed[at] ^= 1 << random_.randrange(8)
        return bytes(changed)
    if kind == "byte":
        return content[:at] + random_.randbytes(1) + content[at + 1 :]
    if kind == "piece":
        return content[:at] + content[at + random_.randrange(1, 64) :]
    if kind == "doubled":
        return content[:at] + content[max(0, at - 64) :]
    if kind == "zeros":
        return content[:at] + bytes(len(content[at : at + 32])) + content[at + 32 :]
    return content[:at] if kind == "cut" else b""


def many(
    warm: Warm, subjects: Path, folder: Path, tries: int, seed: int, names: Sequence[str] = tuple(READERS)
) -> list[str]:
    """Damage files one at a time; return the wrong responses."""
    random_ = random.Random(seed)
    faults: list[str] = []
    names = [name for name in names if (subjects / name).exists()]
    shutil.copytree(subjects, folder)
    for count in range(tries):
        name = names[count % len(names)]
        path = folder / name
        path.write_bytes(damaged((subjects / name).read_bytes(), random_))
        for arguments in READERS[name]:
            ended = warm.run(*arguments, folder=folder, seconds=SECONDS)
            # Text that is still well-formed is different content, whose damage cannot be detected.
            # A search whose trials all fail, and a benchmark whose runs do, end with 1.
            found = ended.faults([0, 1, 2, 3, 4] if arguments[0] in ("bench", "tune") else [0, 2, 3, 4])
            faults += [f"{name} ({count}), {' '.join(arguments)}: {each}" for each in found]
        shutil.rmtree(folder)
        shutil.copytree(subjects, folder)
    print(f"damaged files: {tries} tried, {len(faults)} failed", *faults, sep="\n")
    return faults


@pytest.mark.timeout(280)
def test_a_damaged_file_is_refused_by_name(warm: Warm, subjects: Path, tmp_path: Path) -> None:
    # What benchmarks and searches continue from takes seconds each.
    quick = [name for name, commands in READERS.items() if BENCH not in commands and (subjects / name).exists()]
    assert many(warm, subjects, tmp_path / "damaged", len(quick), seed=0, names=quick) == []


@pytest.mark.slow
@pytest.mark.timeout(20 * MANY)
@pytest.mark.parametrize("part", range(4))
def test_many_damaged_files_are_refused_by_name(warm: Warm, every_subject: Path, tmp_path: Path, part: int) -> None:
    assert many(warm, every_subject, tmp_path / "damaged", MANY, seed=1 + part) == []
