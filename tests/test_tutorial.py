"""docs/tutorial.md: its programs and commands, run in order."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from page_commands import run_page

from momentum_cli.benchmark.running import runner

PAGE = Path(__file__).parents[1] / "docs" / "tutorial.md"


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_every_command_of_the_tutorial_runs_and_gives_what_it_says(
    whole: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    monkeypatch.delenv("MOMENTUMRNN_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    if not whole:  # a process per cell, which takes longer than all commands
        monkeypatch.setattr(runner, "measure_memory", lambda runs, *rest: [None] * len(runs))
    said = run_page(PAGE, tmp_path, whole=whole)
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
    assert sum(right) >= 72 or not whole
    records = [json.loads(line) for line in (tmp_path / "labels.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [record["label"] for record in records] == [row["label"] for row in rows]
    assert said["python consumer.py"].strip() == rows[0]["label"]
    assert {path.name for path in (tmp_path / "forecast").glob("*-test.png")} == {
        "forecast-test.png",
        "horizon-test.png",
    }
    found = json.loads((tmp_path / "forecast" / "eval-test.json").read_text(encoding="utf-8"))
    assert found["baselines"][0]["name"] == "seasonal naive (24 steps)"
    if whole:  # As the page says: better than the day before, and about eight in ten hours inside.
        assert found["mae"] < found["baselines"][0]["metrics"]["mae"]
        assert 0.65 < found["coverage"][0]["coverage"] < 0.95
    with open(tmp_path / "tomorrow.csv", newline="", encoding="utf-8") as file:
        (day,) = csv.DictReader(file)
    assert (day["time[t+1]"], day["time[t+24]"]) == ("2024-03-01T00:00:00", "2024-03-01T23:00:00")
    assert float(day["load 0.1[t+1]"]) < float(day["load[t+1]"]) < float(day["load 0.9[t+1]"])
    assert (tmp_path / "forecast" / "report.html").is_file()
    assert (tmp_path / "tomorrow.png").read_bytes().startswith(b"\x89PNG")
