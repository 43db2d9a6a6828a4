"""docs/first-hour.md: its programs and commands, run in order."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest
from page_commands import run_page
from typer.testing import CliRunner

from momentum_cli.benchmark.running import runner
from momentum_cli.cli import app
from momentum_cli.inference.evaluate import evaluate

PAGE = Path(__file__).parents[1] / "docs" / "first-hour.md"


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_first_hour_ends_with_a_stream_that_equals_the_prediction(
    whole: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    monkeypatch.delenv("MOMENTUMRNN_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    if not whole:  # a process per cell, which takes longer than all commands
        monkeypatch.setattr(runner, "measure_memory", lambda runs, *rest: [None] * len(runs))
    said = run_page(PAGE, tmp_path, whole=whole)
    shown = re.search(r"^    task:\n(.*?)\n\n", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert shown is not None
    section = re.sub(r"^    ", "", shown.group(0).rstrip("\n"), flags=re.MULTILINE)
    assert section in (tmp_path / "stations.yaml").read_text(encoding="utf-8")
    with open(tmp_path / "forecasts.csv", newline="", encoding="utf-8") as file:
        north, south = csv.DictReader(file)
    forecast = [float(north[f"temperature[t+{step}]"]) for step in range(1, 7)]
    assert [float(word) for word in said["python stream.py"].split()] == pytest.approx(forecast, abs=2e-3)
    assert south["sequence"] == "south"
    # The page says that a model has to beat this guess; so does the one that it trains.
    assert (evaluate(tmp_path / "run")["mse"] < float(said["python naive.py"])) or not whole
    assert (tmp_path / "bench" / "report.html").is_file()
    # An empty cell in the last window: the stream reads what a prediction reads where the cell is filled.
    lines = (tmp_path / "stations.csv").read_text(encoding="utf-8").splitlines()
    gap = max(number for number, line in enumerate(lines) if line.startswith("north")) - 4
    for name, pressure in (("filled.csv", lines[gap - 1].rpartition(",")[2]), ("stations.csv", "")):
        lines[gap] = f"{lines[gap].rpartition(',')[0]},{pressure}"
        (tmp_path / name).write_text("\n".join([*lines, ""]), encoding="utf-8")
    assert CliRunner().invoke(app, ["predict", "run", "filled.csv", "--out", "filled_forecasts.csv"]).exit_code == 0
    with open(tmp_path / "filled_forecasts.csv", newline="", encoding="utf-8") as file:
        north = next(csv.DictReader(file))
    filled = [float(north[f"temperature[t+{step}]"]) for step in range(1, 7)]
    assert filled != pytest.approx(forecast, abs=2e-3)
    done = subprocess.run([sys.executable, "stream.py"], capture_output=True, text=True, check=True)
    assert [float(word) for word in done.stdout.split()] == pytest.approx(filled, abs=2e-3)
