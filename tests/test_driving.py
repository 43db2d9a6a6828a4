"""docs/driving.md: its programs and commands, run in order."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import pytest
from page_commands import run_page

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "driving.md"


@pytest.mark.slow
def test_the_search_ends_with_a_program_that_forecasts_steering(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("onnx", "onnxruntime", "optuna", "scipy"):
        pytest.importorskip(package)
    monkeypatch.delenv("MOMENTUMRNN_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "examples" / "driving.py", tmp_path)
    said = run_page(PAGE, tmp_path)
    page = PAGE.read_text(encoding="utf-8")
    for start, file in (("    drive,time", "drives.csv"), ("    task:", "drives.yaml")):
        shown = re.search(rf"^{start}.*?\n\n", page, re.DOTALL | re.MULTILINE)
        assert shown is not None
        assert re.sub("^    ", "", shown[0].rstrip("\n"), flags=re.MULTILINE) in (tmp_path / file).read_text()
    # As the page says: every trial was made, and the best one is at least as good as the recipe.
    study = json.loads((tmp_path / "search" / "tune.json").read_text(encoding="utf-8"))
    scores = [trial["score"] for trial in study["trials"]]
    assert len(scores) == 20
    assert min(scores) <= scores[0]
    found = json.loads((tmp_path / "run" / "eval-test.json").read_text(encoding="utf-8"))
    assert found["baselines"][0]["name"] == "last value"
    assert found["mae"] < found["baselines"][0]["metrics"]["mae"] / 2
    assert (tmp_path / "run" / "forecast-test.png").read_bytes().startswith(b"\x89PNG")
    # The program and `predict` run the same file, the one by numpy alone.
    with open(tmp_path / "ahead.csv", newline="", encoding="utf-8") as file:
        row = next(row for row in csv.DictReader(file) if row["sequence"] == "d09")
    *errors, last = said["python steer.py"].splitlines()
    wanted = [float(row[f"steering[t+{step}]"]) for step in range(1, 11)]
    assert [float(word) for word in last.split()[2:]] == pytest.approx(wanted, abs=6e-3)
    for line in errors[1:]:
        model, naive = (float(number) for number in re.findall(r"by (\d+\.\d+)", line))
        assert model < naive
