"""Full disks, read-only folders, pipes and devices in place of files, standard streams that are closed or full.

The full disk is a file system of a few kilobytes in memory, mounted in the test's own namespace; if the system does not
allow this, the test is skipped.
"""

from __future__ import annotations

import os
import random
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from attack_subjects import FORMATS
from attacked import Ended, Warm, attack, command, unfinished

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mounts, /dev/full and pipes of Linux")

WRITERS: dict[str, list[str]] = {
    "train": ["train", "small.yaml", "--out", "DISK/run"],
    "bench": ["bench", "small.yaml", "--cells", "lstm", "--seeds", "0", "--out", "DISK/bench"],
    "eval": ["eval", "run", "--out", "DISK/eval"],
    "predict": ["predict", "trun", "table.csv", "--out", "DISK/p.jsonl"],
    "predict npz": ["predict", "trun", "table.csv", "--format", "npz", "--out", "DISK/p.npz"],
    "init": ["init", "table.csv", "--out", "DISK/t.yaml"],
    "copy": ["recipes", "copy", "digits", "DISK/d.yaml"],
    "report": ["report", "bench", "--out", "DISK/report.html"],
    "inspect": ["inspect", "run", "--out", "DISK/inspect"],
    **{name: ["export", "run", "--format", name, "--out", f"DISK/{file}"] for name, file in FORMATS.items()},
}


NAMESPACE = ("unshare", "--mount", "--user", "--map-root-user")
PAGE = os.sysconf("SC_PAGE_SIZE")
# After which a command hangs; on a busy machine a slow one takes half a minute.
SECONDS = 300


def on_a_disk(
    roomy: Warm, arguments: list[str], subjects: Path, disk: Path, pages: int, *, read_only: bool = False
) -> tuple[Ended, list[str], int]:
    """Run a command whose output is on a small file system.

    Args:
        roomy: Runs commands in a namespace of its own, in which it may mount.
        arguments: Arguments, in which DISK stands for the file system.
        subjects: Current folder.
        disk: Mount point.
        pages: Pages of memory that are free on it.
        read_only: Make it read-only.

    Returns:
        How the command ended, the hidden files that it left, and the pages that its files take.
    """
    disk.mkdir(exist_ok=True)
    words = [word.replace("DISK", str(disk)) for word in arguments]
    # A size of 0 is no limit, so that one page is always taken.
    roomy.shell(
        f"mount -t tmpfs -o size={(pages + 1) * PAGE} none {disk} && head -c {PAGE} /dev/zero > {disk}/filled && "
        f"mount -o remount,{'ro' if read_only else 'rw'} {disk}"
    )
    ended = roomy.run(*words, folder=subjects, seconds=SECONDS)
    remains = roomy.shell(
        f"du -s -B {PAGE} {disk}; find {disk} -name '.*' ! -name .momentumrnn-run; umount {disk}; ls -A {disk}"
    )
    used, *left = remains.splitlines()
    return ended, [f"left {line}" for line in left], int(used.split()[0]) - 1


def too_small(roomy: Warm, name: str, subjects: Path, disk: Path, pages: int) -> list[str]:
    """Run a command of `WRITERS` on a file system too small for it; return what is wrong with how it ended."""
    ended, left, _ = on_a_disk(roomy, WRITERS[name], subjects, disk, pages)
    # Without a picture the numbers are there, and the display of the command says so.
    warned = re.search("^warning: .*No space left on device", ended.output, re.MULTILINE) is not None
    faults = ended.faults([0 if warned else 1]) + left
    if not warned and "No space left on device" not in ended.error:
        faults.append(f"not told: {ended.error[-300:]}")
    return faults


def can_mount() -> bool:
    """Return True if this system lets users mount a file system."""
    words = [*NAMESPACE, "sh", "-c", "mount -t tmpfs none /mnt"]
    return (
        shutil.which("unshare") is not None and subprocess.run(words, check=False, capture_output=True).returncode == 0
    )


def many(subjects: Path, folder: Path, names: list[str], random_: random.Random | None = None) -> list[str]:
    """Try commands on a disk with no free page; with `random_` also on a read-only one, and on disks with half of the
    pages that they need, nine tenths, and shares by chance."""
    faults, tried = [], 0
    with Warm(NAMESPACE) as roomy:
        for name in names:
            sizes = {0}
            if random_ is not None:
                ended, left, needed = on_a_disk(roomy, WRITERS[name], subjects, folder / f"{tried}-roomy", 16_384)
                assert (ended.code, left) == (0, []), ended.error
                assert needed > 0
                # One too few might be enough: seconds that are written down differ in length.
                sizes |= {needed // 2, needed * 9 // 10, *(int(needed * 0.95 * random_.random()) for _ in range(6))}
            for pages in sorted(sizes):
                tried += 1
                found = too_small(roomy, name, subjects, folder / f"disk{tried}", pages)
                faults += [f"{name}, {pages} pages free: {each}" for each in found]
            if random_ is not None:
                tried += 1
                ended, left, _ = on_a_disk(roomy, WRITERS[name], subjects, folder / f"disk{tried}", 15, read_only=True)
                faults += [f"{name}, read-only: {each}" for each in ended.faults([2, 3]) + left]
    print(f"full and read-only disks: {tried} tried, {len(faults)} failed", *faults, sep="\n")
    return faults


@pytest.mark.timeout(600)
@pytest.mark.skipif(not can_mount(), reason="this system does not let the test mount a small file system")
def test_a_full_disk_is_told_and_leaves_nothing(subjects: Path, tmp_path: Path) -> None:
    assert many(subjects, tmp_path, ["torchscript"]) == []


@pytest.mark.slow
@pytest.mark.timeout(14_400)
@pytest.mark.skipif(not can_mount(), reason="this system does not let the test mount a small file system")
def test_full_and_read_only_disks_are_told_and_leave_nothing(subjects: Path, tmp_path: Path) -> None:
    assert many(subjects, tmp_path, list(WRITERS), random.Random(2)) == []


def special(kind: str, path: Path) -> None:
    """Replace a file by something else."""
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "circle":
        path.symlink_to(path.name)
    elif kind == "folder":
        path.mkdir()
        (path / "other").touch()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(os.path.relpath(path))  # the whole path may be too long for a socket
    elif kind == "link to a pipe":
        os.mkfifo(path.with_name("pipe"))
        path.symlink_to("pipe")
    elif kind == "link to a folder":
        path.with_name("linked").mkdir()
        (path.with_name("linked") / "other").touch()
        path.symlink_to("linked")
    else:
        path.symlink_to(kind)


READERS: dict[str, list[list[str]]] = {
    "r.yaml": [["train", "r.yaml", "--out", "o"], ["validate", "r.yaml"], ["recipes", "copy", "r.yaml", "c.yaml"]],
    "table.csv": [["init", "table.csv", "--out", "t.yaml"], ["train", "table.yaml", "--out", "o"]],
    "x.npy": [["init", "x.npy", "--out", "t.yaml"], ["predict", "drun", "x.npy"]],
    "x.png": [["predict", "drun", "x.png"]],
    "model.onnx": [["eval", "model.onnx"], ["export", "run", "--format", "onnx", "--out", "model.onnx"]],
    "model.pt2": [["eval", "model.pt2"], ["export", "run", "--format", "pt2", "--out", "model.pt2"]],
    "p.jsonl": [["predict", "trun", "table.csv", "--out", "p.jsonl"]],
    "p.py": [["recipes", "list", "--plugin", "p.py"]],
    "run/checkpoints/last.safetensors": [["eval", "run"], ["train", "--resume", "run", "train.max_steps=30"]],
    "run/recipe.yaml": [["train", "--resume", "run", "train.max_steps=30"]],
    "run/metrics.jsonl": [["train", "--resume", "run", "train.max_steps=30"]],
    "run/result.json": [["report", "run", "--out", "report.html"]],
    "bench/plan.json": [["bench", "small.yaml", "--cells", "lstm,momentum", "--seeds", "0", "--out", "bench"]],
    "bench/bench.json": [["report", "bench"]],
}


def specials(warm: Warm, subjects: Path, folder: Path, kinds: list[str], names: list[str]) -> list[str]:
    faults, tried = [], 0
    for kind in kinds:
        for name in names:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(subjects, folder)
            special(kind, folder / name)
            for arguments in READERS[name]:
                tried += 1
                found = warm.run(*arguments, folder=folder, seconds=SECONDS).faults([2, 3])
                faults += [f"{kind} as {name}, {' '.join(arguments)}: {each}" for each in found]
    print(f"pipes, devices and folders in place of files: {tried} tried, {len(faults)} failed", *faults, sep="\n")
    return faults


@pytest.mark.timeout(600)
def test_a_pipe_is_no_file(warm: Warm, subjects: Path, tmp_path: Path) -> None:
    assert specials(warm, subjects, tmp_path / "w", ["pipe"], ["r.yaml", "table.csv", "model.onnx", "p.jsonl"]) == []


@pytest.mark.slow
@pytest.mark.timeout(14_400)
def test_what_is_no_file_is_not_opened(warm: Warm, every_subject: Path, tmp_path: Path) -> None:
    kinds = ["pipe", "/dev/zero", "/dev/full", "/dev/null", "/dev/urandom", "circle", "folder", "socket"]
    kinds += ["link to a pipe", "link to a folder"]
    assert specials(warm, every_subject, tmp_path / "w", kinds, list(READERS)) == []


PRINTERS = [["eval", "run"], ["recipes", "list"], ["recipes", "show", "digits"], ["summary", "small.yaml"], ["--help"]]


@pytest.mark.timeout(600)
def test_a_full_standard_output_is_told(warm: Warm, subjects: Path) -> None:
    faults = []
    for arguments in PRINTERS:
        ended = warm.run(*arguments, folder=subjects, output="/dev/full")
        faults += [f"{arguments}: {each}" for each in ended.faults([1])]
        if "standard output: No space left on device" not in ended.error:
            faults.append(f"{arguments}: {ended.error}")
    print(f"full standard outputs: {len(PRINTERS)} tried, {len(faults)} failed")
    assert faults == []


@pytest.mark.timeout(600)
def test_a_closed_standard_output_and_a_missing_folder_are_told(subjects: Path, tmp_path: Path) -> None:
    line = shlex.join(command("recipes", "list"))
    ended = attack(["sh", "-c", f"{line} >&-"], subjects)
    assert ended.faults([2]) == []
    assert "standard output is closed" in ended.error
    assert attack(["sh", "-c", f"{line} 2>&-"], subjects).code == 0
    gone = tmp_path / "gone"
    gone.mkdir()
    ended = attack(["sh", "-c", f"rmdir {gone}; {shlex.join(command('train', 'digits'))}"], gone)
    assert ended.faults([2, 3]) == []
    assert unfinished(subjects) == []
