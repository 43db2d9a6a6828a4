"""The streaming examples, run as programs on raw files: their answers are those of `predict`."""

from __future__ import annotations

import importlib
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from untrained import write_checkpoint

from momentum_cli import load
from momentum_cli.errors import DataError
from momentum_cli.formats.export import FORMATS, export
from momentum_cli.inference.predict.predict import predict

EXAMPLES = Path(__file__).parents[2] / "examples"
PROGRAMS = (
    "onnx_speech.py",
    "onnx_streaming.py",
    "plain_torch_lstm.py",
    "pt2_streaming.py",
    "torchscript_streaming.py",
)

RECIPE = """
task: {{name: files, path: {path}, sequence: id, order: step, features: [p, q], target: {target},
  missing: forward_fill, {kind}}}
model: {{hidden_size: 8}}
optimizer: {{name: sgd, lr: 0.1}}
train: {{epochs: 1}}
"""


def run(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture(scope="module", params=["kind: classification", "kind: forecasting, window: 5, horizon: 2"])
def sensors(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the recipe and the data of a model of two sensors, and a file of one more sequence."""
    folder = tmp_path_factory.mktemp("sensors")
    steps = 6 if "classification" in request.param else 40
    lines = ["id,step,p,q,label"]
    for number in range(31):
        for step in range(steps):
            p, q = 1013.25 + math.sin(number + step), 20 * math.cos(number * step)
            lines.append(f"{number},{step},{p:.4f},{q:.4f},{'slow' if number % 2 else 'fast'}")
        if number == 29:
            (folder / "all.csv").write_text("\n".join(lines))
            del lines[1:]
    # Empty cells take the value before them, also the one before the window.
    for row in (-6, -5, -2):
        first, step, _, *rest = lines[row].split(",")
        lines[row] = ",".join([first, step, "", *rest])
    (folder / "one.csv").write_text("\n".join(lines))
    target = "label" if "classification" in request.param else "q"
    text = RECIPE.format(path=folder / "all.csv", target=target, kind=request.param)
    (folder / "recipe.yaml").write_text(text)
    return folder


@pytest.mark.parametrize("format", ["torchscript", "onnx", pytest.param("pt2", marks=pytest.mark.slow)])
def test_raw_rows_of_sensors_have_the_answer_of_predict(sensors: Path, format: str, tmp_path: Path) -> None:
    for package in ("onnx", "onnxruntime") if format == "onnx" else ():
        pytest.importorskip(package)
    checkpoint = write_checkpoint(tmp_path / "run.safetensors", recipe=str(sensors / "recipe.yaml"))
    model = tmp_path / f"model{FORMATS[format].SUFFIX}"
    export(checkpoint, format=format, stateful=True, out=model, check_accuracy=False)
    predict(checkpoint, [str(sensors / "one.csv")], out=tmp_path / "answer.jsonl")
    expected = json.loads((tmp_path / "answer.jsonl").read_text())
    said = run(f"{format}_streaming.py", model, sensors / "one.csv")
    assert said.returncode == 0, said.stderr
    if "label" in expected:
        assert said.stdout.split() == [expected["label"]]
    else:
        assert [float(word) for word in said.stdout.split()] == pytest.approx(expected["values"]["q"], rel=1e-4)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("id,p,q\na,1,2\nb,3,4\n", "holds several sequences, by its column id"),
        ("id;p;q\na;1;2\n", "columns between commas"),
        ("id,p,q\na,1,fast\n", "could not convert string to float: 'fast'"),
    ],
)
def test_a_file_that_the_examples_cannot_read_is_refused(
    text: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    read = importlib.import_module("described_data").read
    about = {"features": ["p", "q"], "schema": {"sequence": "id"}}
    (tmp_path / "rows.csv").write_text(text)
    with pytest.raises(SystemExit, match=re.escape(reason)):
        read(str(tmp_path / "rows.csv"), about)
    (tmp_path / "rows.csv").write_text("id,p,q\nb,3,4\nb,,6\n")
    np.testing.assert_array_equal(read(str(tmp_path / "rows.csv"), about), [[[3, 4], [np.nan, 6]]])
    with pytest.raises(SystemExit, match="has empty cells"):
        read(str(tmp_path / "rows.csv"), about | {"missing": "refuse"})
    np.testing.assert_array_equal(read(str(tmp_path / "rows.csv"), about | {"missing": "drop_step"}), [[[3, 4]]])


@pytest.mark.parametrize("format", ["torchscript", "onnx"])
def test_pieces_of_any_length_have_the_same_answers(format: str, tmp_path: Path) -> None:
    for package in ("onnx", "onnxruntime") if format == "onnx" else ():
        pytest.importorskip(package)
    checkpoint = write_checkpoint(tmp_path / "run.safetensors", "model.hidden_size=12")
    model = tmp_path / f"model{FORMATS[format].SUFFIX}"
    export(checkpoint, format=format, stateful=True, out=model, check_accuracy=False)
    np.save(tmp_path / "images.npy", np.random.default_rng(0).integers(0, 17, (20, 8, 8)).astype(np.uint8))
    predict(checkpoint, [str(tmp_path / "images.npy")], out=tmp_path / "answers.jsonl")
    expected = [json.loads(line)["label"] for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    for chunk in ("1", "3"):
        assert run(f"{format}_streaming.py", model, tmp_path / "images.npy", chunk).stdout.split() == expected


@pytest.mark.parametrize("program", PROGRAMS)
def test_without_arguments_a_program_says_how_it_is_called(program: str) -> None:
    if program.startswith("onnx"):
        pytest.importorskip("onnxruntime")
    said = run(program)
    assert said.returncode == 1
    assert f"python examples/{program} " in said.stderr
    assert "Traceback" not in said.stderr


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize(
    ("options", "made"), [("normalise_by: id", "normalise_by"), ("known_future: [p]", "known_future")]
)
def test_a_model_whose_inputs_are_made_from_a_file_is_refused(tmp_path: Path, options: str, made: str) -> None:
    """As many groups as columns and as steps, so that no shape would tell."""
    lines = ["id,step,p,q"]
    for number in range(2):
        lines += [f"{number},{step},{math.sin(step):.4f},{10.0 ** (1 + 2 * number) + step}" for step in range(60)]
    (tmp_path / "all.csv").write_text("\n".join(lines))
    kind = f"kind: forecasting, window: 2, horizon: 2, {options}"
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(path=tmp_path / "all.csv", target="q", kind=kind))
    checkpoint = write_checkpoint(tmp_path / "run.safetensors", recipe=str(tmp_path / "recipe.yaml"))
    (tmp_path / "rows.csv").write_text("p,q\n0.1,1000\n0.2,1001\n")
    with pytest.raises(DataError, match=f"made from a file .*{made}"):
        load(checkpoint).predict(np.array([[0.1, 1000.0], [0.2, 1001.0]]))
    for format in ("torchscript", "onnx"):
        for package in ("onnx", "onnxruntime") if format == "onnx" else ():
            pytest.importorskip(package)
        model = tmp_path / f"model{FORMATS[format].SUFFIX}"
        export(checkpoint, format=format, stateful=True, out=model, check_accuracy=False)
        said = run(f"{format}_streaming.py", model, tmp_path / "rows.csv")
        assert said.returncode == 1
        assert made in said.stderr
        assert "Traceback" not in said.stderr
    program = torch.jit.load(str(tmp_path / f"model{FORMATS['torchscript'].SUFFIX}"))
    with pytest.raises(torch.jit.Error, match="prepare: this file cannot"):
        program.prepare(torch.zeros(1, 2, 2))
