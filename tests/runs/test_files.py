"""Files that are written completely or not at all, whenever their writer is killed."""

from __future__ import annotations

import math
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from strict_json import strict

from momentum_cli.errors import RunError
from momentum_cli.runs.files import replacing, write_json, write_text


@pytest.mark.skipif(os.name == "nt", reason="file modes")
def test_a_file_has_the_mode_of_any_new_file(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with replacing(tmp_path / "a") as temporary:
            temporary.write_text("a")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


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
