"""The pictures: what is written in them (their SVG form keeps text as text), and that a failure is only a message."""

from __future__ import annotations

import math
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from momentum_cli.errors import DataError, RunError
from momentum_cli.pictures.confusion import confusion
from momentum_cli.pictures.curves import _series, _smoothed, curves
from momentum_cli.pictures.style import PALETTE
from momentum_cli.runs.metrics_log import MetricsLog


def run_rows(metric: str = "accuracy", epochs: int = 8, split: str = "validation") -> list[dict[str, Any]]:
    """A run with its best value (0.9 or 0.1) in epoch 6 of 8, of 50 steps each."""
    rows: list[dict[str, Any]] = []
    for step in range(1, 50 * epochs + 1):
        rows.append({"kind": "train", "step": step, "epoch": (step - 1) // 50 + 1, "loss": 2 * math.exp(-step / 100)})
        if step % 50 == 0:
            far = abs(step // 50 - 6) / 20
            value = 0.9 - far if metric == "accuracy" else 0.1 + far
            rows.append({"kind": "eval", "step": step, "epoch": step // 50, "split": split, "loss": 0.5, metric: value})
    return rows


def words(path: Path) -> list[str]:
    """The text in an SVG picture."""
    return [
        re.sub(r"<[^>]+>", "", text).strip() for text in re.findall(r"<text[^>]*>.*?</text>", path.read_text(), re.S)
    ]


def size(path: Path) -> tuple[int, int]:
    """Width and height that a PNG declares."""
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert content.endswith(b"IEND\xaeB`\x82")
    return struct.unpack(">II", content[16:24])  # type: ignore[return-value]


@pytest.mark.parametrize(("metric", "best"), [("accuracy", "best 90.00 %"), ("mse", "best 0.1000")])
def test_curves_name_target_best_value_and_epochs(tmp_path: Path, metric: str, best: str) -> None:
    curves(run_rows(metric), (metric, 0.85), tmp_path / "c.svg", title="momentum on digits, runs/$x$ [1]")
    text = words(tmp_path / "c.svg")
    target = "target 85.00 %" if metric == "accuracy" else "target 0.8500"
    for wanted in ("loss", metric, "train (smoothed)", "validation", "optimizer step", "epoch", target, best):
        assert wanted in text
    assert "momentum on digits, runs/$x$ [1]" in text  # not read as mathematics


def test_curves_from_a_run_folder(tmp_path: Path) -> None:
    with MetricsLog(tmp_path, ("accuracy",)) as log:
        for row in run_rows():
            log.append(row)
    curves(tmp_path, None, tmp_path / "curves.png")
    width, height = size(tmp_path / "curves.png")
    assert 1200 < width < 2000
    assert 500 < height < 900
    assert not list(tmp_path.glob("*.tmp"))


def test_non_finite_and_missing_values_are_left_out(tmp_path: Path) -> None:
    rows = run_rows()
    rows[3]["loss"] = math.nan
    rows[4]["loss"] = math.inf
    del rows[5]["loss"]
    curves(rows, ("accuracy", 0.85), tmp_path / "c.svg")
    steps, values = _series(rows, "train", None, "loss")
    assert steps == [step for step in range(1, 401) if step not in {rows[index]["step"] for index in (3, 4, 5)}]
    assert all(map(math.isfinite, _smoothed(values)))  # one NaN would blank the average from there on


@pytest.mark.parametrize(
    "rows",
    [
        [{"kind": "train", "step": 1, "epoch": 1, "loss": math.nan}],
        [{"kind": "train", "step": 1, "epoch": 1, "loss": 2.0}],
        [{"kind": "eval", "step": 0, "epoch": 0, "split": "test", "loss": 0.0, "accuracy": 1.0}],
        [{"kind": "eval", "step": 5, "epoch": 1, "split": "test", "accuracy": math.nan}],
    ],
    ids=["diverged", "one-step", "before-training", "no-value"],
)
def test_curves_of_runs_that_barely_began(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    curves(rows, ("accuracy", 0.9), tmp_path / "c.png")
    size(tmp_path / "c.png")


def test_smoothing_keeps_a_straight_line_and_averages_noise() -> None:
    line = [3.0 - 0.01 * index for index in range(500)]
    assert _smoothed(line) == pytest.approx(line)  # an average over the past alone would lag behind
    assert _smoothed([5.0, 1.0]) == [5.0, 1.0]
    noise = np.random.default_rng(0).normal(size=10_000)  # 10,000 points: each over 101
    assert np.std(_smoothed(noise.tolist())[50:-50]) == pytest.approx(1 / math.sqrt(101), rel=0.2)


def test_confusion_shows_counts_and_share(tmp_path: Path) -> None:
    confusion(torch.tensor([[50, 2, 0], [1, 30, 0], [0, 0, 0]]), ["cat", "dog", "$ow$"], tmp_path / "c.svg")
    text = words(tmp_path / "c.svg")
    assert "96.39 % of 83 correct" in text
    assert text.count("cat") == text.count("$ow$") == 2
    assert [word for word in text if word.isdigit()] == ["50", "2", "1", "30"]


@pytest.mark.parametrize("classes", [1, 10, 40, 100])
def test_confusion_of_many_classes_stays_a_picture_of_readable_size(tmp_path: Path, classes: int) -> None:
    matrix = np.eye(classes, dtype=int) * 7
    confusion(matrix.tolist(), None, tmp_path / "c.png", title="test")
    assert 300 < max(size(tmp_path / "c.png")) < 2000


@pytest.mark.parametrize(
    ("matrix", "labels", "message"),
    [
        ([[1, 2, 3], [4, 5, 6]], None, r"square.*\(2, 3\)"),
        ([], None, "square"),
        ([[1, 0], [0, 1]], ["a"], "1 labels.*2 classes"),
    ],
)
def test_a_wrong_matrix_is_explained(tmp_path: Path, matrix: Any, labels: Any, message: str) -> None:
    with pytest.raises(RunError, match=message):
        confusion(matrix, labels, tmp_path / "c.png")
    assert not list(tmp_path.iterdir())


def test_a_failure_is_a_message_and_leaves_the_old_picture(tmp_path: Path) -> None:
    old = tmp_path / "curves.png"
    old.write_bytes(b"old")
    with pytest.raises(RunError, match="no metrics yet"):
        curves([], None, old)
    with pytest.raises(RunError, match="could not draw"):
        curves([{"kind": "train", "step": 1, "loss": "x"}], None, old)
    with pytest.raises(DataError, match=r"curves\.png: No such file or directory"):
        curves(run_rows(), None, tmp_path / "missing" / "curves.png")
    with pytest.raises(RunError, match="could not draw"):
        curves(run_rows(), None, tmp_path / "curves.xyz")
    with pytest.raises(DataError):
        curves(tmp_path, None, old)
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]
    assert old.read_bytes() == b"old"


def test_drawing_touches_neither_pyplot_nor_the_settings_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nlines.linewidth: 7\n")
    program = """
import sys, pathlib, matplotlib
def settings():  # asking for "backend" would load pyplot
    return {name: matplotlib.rcParams[name] for name in matplotlib.rcParams if name != "backend"}
before = settings()
assert before["lines.linewidth"] == 7 and before["text.usetex"]
from momentum_cli.pictures.confusion import confusion
from momentum_cli.pictures.curves import curves
row = {"kind": "eval", "step": 1, "epoch": 1, "split": "test", "accuracy": 0.5}
curves([row], None, pathlib.Path("c.png"))
confusion([[1]], ["日本"], pathlib.Path("m.png"))
assert settings() == before
assert "matplotlib.pyplot" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    size(tmp_path / "c.png")


def test_the_palette_can_be_told_apart_without_colour_vision() -> None:
    """The three curves differ as seen with protanopia and deuteranopia (Viénot et al. 1999, matrices on linear RGB)."""
    kinds = {
        "protanopia": [[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]],
        "deuteranopia": [[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]],
    }
    colors = np.array([[int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)] for color in PALETTE[:3]]) ** 2.2
    for matrix in kinds.values():
        seen = np.clip(colors @ np.array(matrix).T, 0, 1) ** (1 / 2.2)
        for first in range(3):
            for second in range(first):
                assert np.abs(seen[first] - seen[second]).max() > 0.15
