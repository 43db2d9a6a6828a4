"""Files and folders from strangers: nothing in them is run or unpickled, and no link leads out of a folder."""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import pickle
import secrets
import shutil
import stat
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attack_subjects import BENCH, FORMATS, SEARCH
from attacked import RECIPE, Warm, digest

from momentum_cli.errors import DataError
from momentum_cli.formats.export import open_program
from momentum_cli.runs.files import replacing

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links and devices of POSIX")


class Malice:
    """Makes a folder when it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.witness),)


def pickles(witness: Path) -> dict[str, bytes]:
    """Return every way in which a file may hold a pickle."""
    evil = Malice(witness)
    saved, array, arrays = io.BytesIO(), io.BytesIO(), io.BytesIO()
    torch.save({"model": evil}, saved)
    np.save(array, np.array([evil, evil], dtype=object))
    np.savez(arrays, images=np.array([evil, evil], dtype=object))
    old = io.BytesIO()
    torch.save({"model": evil}, old, _use_new_zipfile_serialization=False)
    return {
        **{f"protocol {number}": pickle.dumps(evil, number) for number in (0, 2, 5)},
        "torch": saved.getvalue(),
        "old torch": old.getvalue(),
        "npy": array.getvalue(),
        "npz": arrays.getvalue(),
        "yaml": f"task: !!python/object/apply:os.mkdir [{witness}]\n".encode(),
    }


# Every ending of a file that a command reads, and the commands that read files.
ENDINGS = (
    *("pt", "pth", "pkl", "ckpt", "safetensors", "onnx", "pt2", "npy", "npz", "csv", "parquet", "jsonl", "json"),
    *("yaml", "txt", "ts", "wav", "sph", "png", "csv.gz", "zip"),
)
COMMANDS: dict[str, list[str]] = {
    "eval": ["eval", "FILE"],
    "predict with": ["predict", "FILE", "images.npz"],
    "predict": ["predict", "drun", "FILE"],
    "predict a table": ["predict", "trun", "FILE"],
    "generate": ["generate", "FILE", "--prompt", "a"],
    "export": ["export", "FILE", "--format", "onnx", "--out", "o.onnx"],
    "inspect": ["inspect", "FILE", "--out", "o"],
    "train": ["train", "FILE", "--out", "o"],
    "resume": ["train", "--resume", "FILE"],
    "resume a run": ["train", "--resume", "RUN", "train.max_steps=30"],
    "init": ["init", "FILE", "--out", "o.yaml"],
    "describe": ["data", "describe", "FILE"],
    "data": ["train", "table.yaml", "task.path=FILE", "--out", "o"],
    "report": ["report", "FILE"],
    "bench": ["bench", "FILE", "--out", "o"],
    "show": ["recipes", "show", "FILE"],
}


def unpickled(warm: Warm, folder: Path, cases: Iterator[tuple[str, str, str]]) -> list[str]:
    """Give commands files that hold pickles; return the wrong responses.

    Args:
        warm: Runs the commands.
        folder: A copy of the subjects.
        cases: Kind of pickle, ending, and command.
    """
    witness = folder / "witness"
    contents = pickles(witness)
    faults, tried = [], 0
    for way, ending, name in cases:
        tried += 1
        path = folder / f"theirs.{ending}"
        path.write_bytes(contents[way])
        arguments = [word.replace("FILE", path.name) for word in COMMANDS[name]]
        if "RUN" in arguments:
            arguments[arguments.index("RUN")] = "theirs"
            shutil.copytree(folder / "run", folder / "theirs")
            (folder / "theirs" / "checkpoints" / "last.safetensors").write_bytes(contents[way])
        ended = warm.run(*arguments, folder=folder)
        found = ended.faults([0] if (ended.code, name) == (0, "show") else [2, 3])
        if witness.exists():
            found.append("ran code")
            witness.rmdir()
        faults += [f"{way} as .{ending}, {name}: {each}" for each in found]
        path.unlink()
        shutil.rmtree(folder / "theirs", ignore_errors=True)
    print(f"pickles: {tried} tried, {len(faults)} failed", *faults, sep="\n")
    return faults


def test_no_command_unpickles(warm: Warm, subjects: Path, tmp_path: Path) -> None:
    """Test each command, ending and kind of pickle at least once."""
    folder = tmp_path / "w"
    shutil.copytree(subjects, folder)
    ways = list(pickles(tmp_path / "none"))
    count = max(len(ENDINGS), len(COMMANDS))
    turns = (itertools.cycle(each) for each in (ways, ENDINGS, COMMANDS))
    assert unpickled(warm, folder, itertools.islice(zip(*turns, strict=False), count)) == []


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_no_command_unpickles_any_ending(warm: Warm, subjects: Path, tmp_path: Path) -> None:
    folder = tmp_path / "w"
    shutil.copytree(subjects, folder)
    assert unpickled(warm, folder, itertools.product(pickles(tmp_path / "none"), ENDINGS, COMMANDS)) == []


LINKED = [
    ["eval", "linked"],
    ["inspect", "linked"],
    ["export", "linked", "--format", "safetensors"],
    ["report", "linked"],
    ["report", "linked", "--out", "linked/report.html"],
    ["train", "--resume", "linked", "train.max_steps=30"],
    ["train", "small.yaml", "--out", "linked", "--overwrite"],
    ["init", "table.csv", "--out", "link.yaml"],
    ["recipes", "copy", "digits", "link.yaml"],
    ["predict", "trun", "table.csv", "--format", "csv", "--out", "link.yaml"],
    ["bench", "small.yaml", "--cells", "lstm", "--seeds", "0", "--out", "linkedbench", "--overwrite"],
]


def linked(warm: Warm, subjects: Path, tmp_path: Path, commands: list[list[str]]) -> list[str]:
    """Run commands in a run whose every file is a link to a file elsewhere, and return those that wrote there."""
    faults = []
    for count, arguments in enumerate(commands):
        folder, outside = tmp_path / f"w{count}", tmp_path / f"outside{count}"
        shutil.copytree(subjects, folder)
        shutil.copytree(subjects, outside)
        for name, source in (("linked", "run"), ("linkedbench", "bench")):
            shutil.copytree(subjects / source, folder / name)
            for path in [path for path in (folder / name).rglob("*") if path.is_file()]:
                path.unlink()
                path.symlink_to(outside / source / path.relative_to(folder / name))
            for more in ("eval.json", "report.html", "export", "metrics.png"):
                if not (folder / name / more).is_symlink():
                    (folder / name / more).symlink_to(outside / "small.yaml")
        (folder / "link.yaml").symlink_to(outside / "small.yaml")
        before = digest(outside)
        ended = warm.run(*arguments, folder=folder, seconds=120)
        found = ended.faults([0, 2, 3])
        if digest(outside) != before:
            found.append("wrote outside")
        faults += [f"{' '.join(arguments)}: {each}" for each in found]
    print(f"links: {len(commands)} tried, {len(faults)} failed", *faults, sep="\n")
    return faults


def test_links_in_a_folder_are_not_followed(warm: Warm, subjects: Path, tmp_path: Path) -> None:
    cheap = [arguments for arguments in LINKED if arguments[0] in ("eval", "predict", "recipes")]
    assert linked(warm, subjects, tmp_path, [*cheap, ["train", "--resume", "linked", "train.max_steps=30"]]) == []


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_links_in_a_folder_are_not_followed_by_any_command(warm: Warm, subjects: Path, tmp_path: Path) -> None:
    assert linked(warm, subjects, tmp_path, LINKED) == []


LONGER_BENCH, LONGER_SEARCH = [*BENCH, "--seeds", "0-1", "--clock", "steps"], [*SEARCH, "--trials", "3"]
# A directory or file of a folder, a command that would write in it, and its exit code.
LINKED_INSIDE = [
    ("run/checkpoints", ["train", "--resume", "run", "train.max_steps=30"], 3),
    ("run/tensorboard", ["train", "--resume", "run", "train.max_steps=30"], 3),
    ("run/checkpoints", ["train", "small.yaml", "--out", "run", "--overwrite"], 0),
    ("bench/runs", LONGER_BENCH, 3),
    ("bench/runs/small-lstm-seed0", LONGER_BENCH, 3),
    ("bench/runs", [*BENCH, "--overwrite"], 0),
    ("search/trials", LONGER_SEARCH, 3),
    ("search/trials/0000", LONGER_SEARCH, 3),
    ("search/study.journal", LONGER_SEARCH, 3),
    ("search/trials", [*SEARCH, "--overwrite"], 0),
]


def linked_inside(warm: Warm, subjects: Path, folder: Path, cases: Sequence[tuple[str, list[str], int]]) -> list[str]:
    """Continue or replace what has a link to another place in it; return those that changed that place."""
    faults = []
    for count, (name, arguments, code) in enumerate(cases):
        here, outside = folder / f"here{count}", folder / f"outside{count}"
        shutil.copytree(subjects, here)
        outside.mkdir()
        target = outside / Path(name).name
        if (here / name).exists():
            shutil.move(here / name, target)
        else:
            target.mkdir()
        if target.is_dir():
            (target / "best-000000001.safetensors").write_text("precious")
        (here / name).symlink_to(target)
        before = digest(outside)
        ended = warm.run(*arguments, folder=here, seconds=300)
        found = ended.faults([code])
        found += ["wrote outside"] if digest(outside) != before else []
        found += [f"not named: {ended.error[-300:]}"] if code and f"{name} is a link" not in ended.error else []
        faults += [f"{name}, {' '.join(arguments)}: {each}" for each in found]
    print(f"links inside: {len(cases)} tried, {len(faults)} failed", *faults, sep="\n")
    return faults


def test_a_run_whose_checkpoints_are_elsewhere_is_not_continued(warm: Warm, subjects: Path, tmp_path: Path) -> None:
    assert linked_inside(warm, subjects, tmp_path, LINKED_INSIDE[:1]) == []


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_nothing_is_written_through_a_link_inside(warm: Warm, every_subject: Path, tmp_path: Path) -> None:
    cases = [case for case in LINKED_INSIDE if (every_subject / case[0].partition("/")[0]).exists()]
    assert linked_inside(warm, every_subject, tmp_path, cases) == []


def test_a_temporary_name_cannot_be_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a link takes the name, another name is used; two simultaneous files never share one."""
    victim, target = tmp_path / "victim", tmp_path / "result.json"
    victim.write_text("precious")
    names = iter(["first", "second", "third"])
    monkeypatch.setattr(secrets, "token_hex", lambda count: next(names))
    (tmp_path / ".result.json.first.tmp").symlink_to(victim)
    (tmp_path / ".result.json.second.tmp").symlink_to(tmp_path / "absent")
    with replacing(target) as temporary:
        assert temporary.name == ".result.json.third.tmp"
        temporary.write_text("new")
    assert victim.read_text() == "precious"
    assert not (tmp_path / "absent").exists()
    assert target.read_text() == "new"


def test_temporary_names_are_unpredictable(tmp_path: Path) -> None:
    names = set()
    for _ in range(8):
        with replacing(tmp_path / "result.json") as temporary:
            names.add(temporary.name)
            assert str(os.getpid()) not in temporary.name
            assert stat.S_ISREG(temporary.lstat().st_mode)
    assert len(names) == 8


WRITERS = [
    ["predict", "trun", "table.csv", "--out", "OUT"],
    ["predict", "trun", "table.csv", "--format", "npz", "--out", "OUT"],
    ["init", "table.csv", "--out", "OUT"],
    ["init", "table.csv", "--out", "OUT", "--overwrite"],
    ["recipes", "copy", "digits", "OUT"],
    ["report", "bench", "--out", "OUT"],
    ["eval", "run", "--out", "OUT"],
    ["inspect", "run", "--out", "OUT"],
    ["train", "small.yaml", "--out", "OUT"],
    ["train", "small.yaml", "--out", "OUT", "--overwrite"],
    ["bench", "small.yaml", "--out", "OUT", "--overwrite"],
    *(["export", "run", "--format", name, "--out", "OUT"] for name in FORMATS),
]


def node(path: Path) -> int:
    """Make something other than a regular file, a device if permitted, and return its type."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except OSError:
        os.mkfifo(path)
    return stat.S_IFMT(path.lstat().st_mode)


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_device_is_not_replaced(warm: Warm, subjects: Path, tmp_path: Path, every: bool) -> None:
    """If root replaced /dev/null by a file, nothing on the machine would work any more."""
    folder = tmp_path / "w"
    shutil.copytree(subjects, folder)
    faults = []
    kind = node(folder / "null")
    commands = WRITERS if every else [words for words in WRITERS if "pt2" not in words][::2]
    for arguments in commands:
        ended = warm.run(*(word.replace("OUT", "null") for word in arguments), folder=folder)
        found = ended.faults([2, 3])
        if stat.S_IFMT((folder / "null").lstat().st_mode) != kind:
            found.append("replaced it")
            (folder / "null").unlink()
            node(folder / "null")
        faults += [f"{' '.join(arguments)}: {each}" for each in found]
    print(f"devices: {len(commands)} tried, {len(faults)} failed", *faults, sep="\n")
    assert faults == []


def test_a_device_is_not_replaced_by_the_writer_itself(tmp_path: Path) -> None:
    kind = node(tmp_path / "null")
    with pytest.raises(DataError, match="be a regular file"), replacing(tmp_path / "null"):
        pass
    assert stat.S_IFMT((tmp_path / "null").lstat().st_mode) == kind


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_members_of_archives_stay_inside(warm: Warm, subjects: Path, tmp_path: Path, every: bool) -> None:
    folder = tmp_path / "outer" / "w"
    shutil.copytree(subjects, folder)
    array = io.BytesIO()
    np.save(array, np.zeros((2, 8, 8)))
    evil = ("../../evil.npy", f"{tmp_path}/evil.npy", "a/../../evil.npy", "..\\evil.npy")
    tried, faults = 0, []
    for name, member in itertools.product(("theirs.npz", "theirs.zip", "model.pt"), evil if every else evil[:1]):
        source = folder / name
        if name == "model.pt":
            shutil.copyfile(subjects / name, source)
        with zipfile.ZipFile(source, "a" if name == "model.pt" else "w") as archive:
            archive.writestr(member, array.getvalue())
        for arguments in (["predict", "drun", name], ["init", name, "--out", "o.yaml"], ["eval", name]):
            tried += 1
            found = warm.run(*arguments, folder=folder).faults([0, 2, 3])
            faults += [f"{member} in {name}, {arguments[0]}: {each}" for each in found]
        source.unlink()
    faults += [f"wrote {path}" for path in tmp_path.rglob("*evil*")]
    print(f"members of archives: {tried} tried, {len(faults)} failed", *faults, sep="\n")
    assert faults == []


@pytest.mark.parametrize("where", ["weights.bin", "../weights.bin", "/dev/zero"])
def test_a_model_in_onnx_reads_no_other_file(subjects: Path, tmp_path: Path, where: str) -> None:
    """ONNX Runtime would take its weights from a file in the current folder."""
    onnx = pytest.importorskip("onnx")
    model = onnx.ModelProto()
    ours = (subjects / "model.onnx").read_bytes()
    model.ParseFromString(ours[:-35])
    weights = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    weights.ClearField("raw_data")
    weights.data_location = onnx.TensorProto.EXTERNAL
    weights.external_data.add(key="location", value=where)
    body = model.SerializeToString()
    # Its checksum is the right one: anyone can compute that.
    (tmp_path / "theirs.onnx").write_bytes(body + ours[-35:-32] + hashlib.sha256(body).digest())
    with pytest.raises(DataError, match=r"theirs\.onnx keeps numbers in another file, which is not opened"):
        open_program(tmp_path / "theirs.onnx")


def test_a_recipe_runs_no_code(warm: Warm, tmp_path: Path) -> None:
    """Neither YAML tags nor the plugins named in a recipe."""
    witness = tmp_path / "witness"
    (tmp_path / "evil.py").write_text(f"import os\nos.mkdir({str(witness)!r})\n", encoding="utf-8")
    texts = [
        f"{RECIPE}\nplugins: [evil.py]\n",
        f"{RECIPE}\nplugins: [{tmp_path}/evil.py]\n",
        f"{RECIPE}\nplugins: [evil]\n",
        *(
            f"{RECIPE}\nname: {tag} [{witness}]\n"
            for tag in ("!!python/object/apply:os.mkdir", "!!python/object/new:os.mkdir", "!os.mkdir")
        ),
        f"{RECIPE}\nname: !!python/name:os.mkdir\n",
        f"{RECIPE}\nname: !!python/module:evil\n",
    ]
    faults = []
    for text in texts:
        (tmp_path / "theirs.yaml").write_text(text, encoding="utf-8")
        for words in ("validate theirs.yaml", "train theirs.yaml --out o"):
            faults += warm.run(*words.split(), folder=tmp_path).faults([2, 3])
            if witness.exists():
                faults.append(f"ran code: {text}")
                witness.rmdir()
    print(f"recipes with code: {2 * len(texts)} tried, {len(faults)} failed", *faults, sep="\n")
    assert faults == []
