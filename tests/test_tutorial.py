"""docs/tutorial.md: its programs and commands, run in order as they stand there."""

from __future__ import annotations

import csv
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from momentum_cli.cli import app

PAGE = Path(__file__).parents[1] / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def test_every_command_of_the_tutorial_runs_and_gives_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    monkeypatch.delenv("MOMENTUMRNN_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    said: dict[str, str] = {}
    for language, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        if language == "python":
            name = text.splitlines()[0].removeprefix("# ")
            (tmp_path / name).write_text(text, encoding="utf-8")
            continue
        for line in text.splitlines():
            program, *arguments = shlex.split(line)
            if program == "momentumrnn":
                # In this process: starting one for each command would take longer than all of them.
                result = CliRunner().invoke(app, arguments)
                assert result.exit_code == 0, f"{line}\n{result.output}\n{result.exception!r}"
                continue
            assert program == "python"
            done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
            said[line] = done.stdout
    options = (tmp_path / "gestures.yaml").read_text(encoding="utf-8")
    shown = re.search(r"^    task:\n(.*?)\n\n", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert shown is not None
    assert re.sub(r"^    ", "", shown.group(0).rstrip("\n"), flags=re.MULTILINE) in options
    assert (tmp_path / "samples.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "bench" / "report.html").is_file()
    with open(tmp_path / "labels.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["source", "row", "sequence", "label", "probability"]
    right = [row["label"] == ("circle", "line")[int(row["sequence"][1:]) % 2] for row in rows]
    assert len(right) == 80
    assert sum(right) >= 72
    records = [json.loads(line) for line in (tmp_path / "labels.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [record["label"] for record in records] == [row["label"] for row in rows]
    assert said["python consumer.py"].strip() == rows[0]["label"]
