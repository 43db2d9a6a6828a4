"""Names that would control a terminal, in files, options and paths: commands show them with escapes."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from attacked import RECIPE, Ended, Warm

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals of POSIX")

# A title, a colour, the same colour in one byte of Latin-1, a change of direction.
EVIL = "n\x1b]0;owned\x07\x1b[31m\x9b31m\u202ex"
MARKS = ("\x1b]0;", "\x1b[31m\x9b", "\x07", "\x9b", "\u202e")
YAML_EVIL = json.dumps(EVIL)


@pytest.fixture(scope="module")
def base(warm: Warm, subjects: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The subjects, also with malicious names of columns, classes, tasks and files."""
    folder = tmp_path_factory.mktemp("names") / "base"
    shutil.copytree(subjects, folder)
    rows = "\n".join(f"{row % 7},{row * 0.5},{EVIL if row % 2 else 'v'}" for row in range(60))
    (folder / "evil.csv").write_text(f"{EVIL},b,y\n{rows}\n", encoding="utf-8")
    (folder / f"{EVIL}.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    np.savez(folder / "evil.npz", **{EVIL: np.zeros((2, 8, 8)), "other": np.zeros(3)})
    (folder / "key.yaml").write_text(f"{RECIPE}\n{YAML_EVIL}: 1\n", encoding="utf-8")
    (folder / "task.yaml").write_text(RECIPE.replace("adding", YAML_EVIL), encoding="utf-8")
    (folder / "cell.yaml").write_text(RECIPE.replace("momentum", YAML_EVIL), encoding="utf-8")
    language = re.sub("task:.*", f"task: {{name: language, path: {YAML_EVIL}}}".replace("\\", r"\\"), RECIPE)
    (folder / "path.yaml").write_text(language, encoding="utf-8")
    (folder / "comment.yaml").write_text(f"# {EVIL}\n{RECIPE}", encoding="utf-8")
    (folder / "error.py").write_text(f"raise RuntimeError({EVIL!r})\n", encoding="utf-8")
    (folder / "warning.py").write_text(f"import warnings\nwarnings.warn({EVIL!r})\nprint(1)\n", encoding="utf-8")
    for arguments in (
        ["init", "evil.csv", "--out", "evil.yaml"],
        ["train", "evil.yaml", "train.epochs=1", "--out", f"run{EVIL}"],
        ["export", f"run{EVIL}", "--format", "onnx", "--no-accuracy", "--out", "evil.onnx"],
    ):
        ended = warm.run(*arguments, folder=folder, seconds=200)
        assert ended.code == 0, ended.error
    shutil.copytree(folder / "bench", folder / "evilbench")
    for path in (folder / "evilbench").rglob("*.json"):
        path.write_text(path.read_text(encoding="utf-8").replace('"small', json.dumps(EVIL)[:-1] + "small"))
    return folder


WAYS: dict[str, list[str]] = {
    "unknown key": ["validate", "key.yaml"],
    "task": ["validate", "task.yaml"],
    "cell": ["validate", "cell.yaml"],
    "path of the data": ["train", "path.yaml", "--out", "o"],
    "key of an override": ["validate", "small.yaml", f"train.{EVIL}=1"],
    "value of an override": ["validate", "small.yaml", f"task.length={EVIL}"],
    "missing recipe": ["validate", f"{EVIL}.yaml"],
    "missing plugin": ["cells", "--plugin", f"{EVIL}.py"],
    "error of a plugin": ["cells", "--plugin", "error.py"],
    "traceback of a plugin": ["cells", "--plugin", "error.py", "--debug"],
    "warning of a plugin": ["cells", "--plugin", "warning.py"],
    "unknown command": [EVIL],
    "unknown option": ["train", f"--{EVIL}"],
    "value of an option": ["train", "small.yaml", "--devices", EVIL],
    "missing run": ["eval", f"{EVIL}run"],
    "folder of a run": ["eval", f"run{EVIL}"],
    "file of a model": ["eval", "evil.onnx"],
    "labels as JSON lines": ["predict", f"run{EVIL}", "evil.csv"],
    "labels as CSV": ["predict", f"run{EVIL}", "evil.csv", "--format", "csv"],
    "names in JSON": ["eval", f"run{EVIL}", "--json"],
    "column": ["init", "evil.csv", "--target", f"{EVIL}z", "--out", "o.yaml"],
    "columns of another file": ["predict", f"run{EVIL}", f"{EVIL}.csv"],
    "columns and classes of data": ["data", "describe", "evil.yaml"],
    "mistakes in data": ["data", "check", "evil.yaml", f"task.target={EVIL}z"],
    "arrays": ["predict", "drun", "evil.npz"],
    "unknown array": ["predict", "drun", "evil.npz", "--format", "csv"],
    "comment": ["recipes", "show", "comment.yaml"],
    "recipe with defaults": ["recipes", "show", "evil.yaml", "--resolved"],
    "file of a recipe": ["init", f"{EVIL}.csv", "--target", "b", "--out", f"{EVIL}.yaml"],
    "training": ["train", "evil.yaml", "train.epochs=1", "--out", f"again{EVIL}"],
    "report": ["report", "evilbench", "--out", f"{EVIL}.html"],
    "benchmark": ["bench", "small.yaml", "--cells", "lstm", "--seeds", "0", "--out", f"bench{EVIL}"],
}


def on_a_terminal(warm: Warm, arguments: list[str], folder: Path) -> Ended:
    """Run a command whose standard output is a terminal, and return its exit and the output."""
    master, slave = os.openpty()
    pieces: list[bytes] = []

    def read() -> None:
        try:
            while piece := os.read(master, 65536):
                pieces.append(piece)
        except OSError:  # nobody has the terminal open any more
            pass

    reader = threading.Thread(target=read)
    reader.start()
    try:
        ended = warm.run(*arguments, folder=folder, output=os.ttyname(slave), seconds=120)
    finally:
        os.close(slave)
        reader.join()
        os.close(master)
    return Ended(ended.code, b"".join(pieces).decode("utf-8", "surrogateescape"), ended.error)


def reached(ended: Ended) -> list[str]:
    """Return the malicious sequences that reached the terminal."""
    text = ended.output + ended.error
    return [repr(mark) for mark in MARKS if mark in text]


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_no_name_drives_the_terminal(warm: Warm, base: Path, every: bool) -> None:
    ways = {way: words for way, words in WAYS.items() if every or words[0] not in ("train", "bench", "report")}
    faults = []
    for way, arguments in ways.items():
        ended = on_a_terminal(warm, arguments, base)
        wrong = ended.faults([0, 1, 2, 3]) if "--debug" not in arguments else []
        faults += [f"{way}: {each}" for each in [*reached(ended), *wrong]]
        if "owned" not in ended.output + ended.error:
            faults.append(f"{way}: the name is not shown ({ended.code}): {(ended.output + ended.error)[-300:]!r}")
    print(f"names that drive a terminal: {len(ways)} tried, {len(faults)} failed", *faults, sep="\n")
    assert faults == []
