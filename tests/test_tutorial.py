"""docs/tutorial.md: its programs and commands, run in order as they stand there."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from page_commands import run_page

PAGE = Path(__file__).parents[1] / "docs" / "tutorial.md"


def test_every_command_of_the_tutorial_runs_and_gives_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    monkeypatch.delenv("MOMENTUMRNN_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    said = run_page(PAGE, tmp_path)
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
