"""The whole export command on checkpoints: files, reports, parity that can fail, refusals; and eval of the files."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from untrained import write_checkpoint

from momentum_cli.cli.models import ExportFormat
from momentum_cli.errors import DataError, RecipeError, TargetError
from momentum_cli.formats import safetensors
from momentum_cli.formats.export import FORMATS, export, is_exported, open_program
from momentum_cli.formats.parity import SHAPES, TOLERANCE, check_parity
from momentum_cli.formats.program import Program
from momentum_cli.inference.evaluate import evaluate

FAST = ("torchscript", "onnx", "safetensors")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("run") / "momentum.safetensors", "model.hidden_size=12")


@pytest.fixture(scope="module")
def adam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = ("model.cell=adam-gru", "model.hidden_size=6", "model.num_layers=2")
    return write_checkpoint(tmp_path_factory.mktemp("run") / "adam.safetensors", *options)


def test_formats_of_the_command_line() -> None:
    assert [entry.value for entry in ExportFormat] == list(FORMATS)


@pytest.mark.parametrize("format", FAST)
@pytest.mark.parametrize("stateful", [False, True], ids=["whole", "stateful"])
def test_exported_file_scores_what_the_checkpoint_does(
    checkpoint: Path, format: str, stateful: bool, tmp_path: Path
) -> None:
    out = tmp_path / f"model{FORMATS[format].SUFFIX}"
    result = export(checkpoint, format=format, stateful=stateful, out=out)
    assert result["file"] == str(out)
    assert result["bytes"] == out.stat().st_size
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
    cases = result["parity"]["cases"]
    assert [(case["batch"], case["steps"]) for case in cases[:-1]] == list(SHAPES)
    assert cases[-1]["inputs"] == "test samples"
    assert 0.0 < result["parity"]["max_abs"] < TOLERANCE
    assert result["test"]["samples"] == 360
    assert result["test"]["file"] == result["test"]["checkpoint"]
    assert is_exported(out)
    scored = evaluate(out)
    assert scored["metrics"]["accuracy"] == evaluate(checkpoint)["metrics"]["accuracy"] == result["test"]["file"]
    assert scored["backend"] == format
    assert sum(map(sum, scored["confusion"])) == 360


@pytest.mark.parametrize("format", FAST)
def test_description_travels_in_the_file(checkpoint: Path, format: str, tmp_path: Path) -> None:
    out = tmp_path / "model.bin"
    export(checkpoint, format=format, stateful=True, out=out, check_accuracy=False)
    bundle = open_program(out).bundle
    assert bundle.data["export"] == {"format": format, "stateful": True}
    assert bundle.data["model"]["dynamics"] == {"name": "momentum", "momentum": 0.6, "step_size": 1.0}
    assert bundle.dataset["labels"] == list("0123456789")
    assert bundle.dataset["preprocessing"]["scale"] == 1 / 16
    assert "CC BY 4.0" in bundle.dataset["licence"]
    assert set(bundle.data["versions"]) == {"momentumrnn", "torch"}
    assert [(entry["name"], entry["shape"]) for entry in bundle.data["state"]] == [
        ("h", [1, "batch", 12]),
        ("c", [1, "batch", 12]),
        ("velocity_l0", [1, "batch", 9]),
    ]


@pytest.mark.parametrize("format", FAST)
def test_nonlinear_stack_in_chunks(adam: Path, format: str, tmp_path: Path) -> None:
    result = export(adam, format=format, stateful=True, out=tmp_path / "model", check_accuracy=False)
    assert max(case["chunks"] for case in result["parity"]["cases"]) > 5
    program = open_program(tmp_path / "model")
    x = torch.rand(3, 12, 8)
    whole, end = program.run(x)
    state = None
    for part in x.split(1, dim=1):
        outputs, state = program.run(part.contiguous(), state)
    torch.testing.assert_close(outputs, whole, atol=1e-5, rtol=1e-4)
    assert state is not None
    for name, tensor in end.items():
        torch.testing.assert_close(state[name], tensor, atol=1e-5, rtol=1e-4)


class Wrong:
    """A program with an error in it."""

    def __init__(self, program: Program, error: str) -> None:
        self.bundle = program.bundle
        self.program = program
        self.error = error

    def run(self, inputs: torch.Tensor, state: Any = None) -> Any:
        if self.error == "forgets its state":
            state = None
        if self.error == "fixed batch" and len(inputs) == 5:
            return self.program.run(inputs[:1], None if state is None else state)
        outputs, state = self.program.run(inputs, state)
        if self.error == "slightly off":
            outputs = outputs + 3e-4
        if self.error == "not a number":
            outputs = outputs * float("nan")
        return outputs, state


@pytest.mark.parametrize("error", ["forgets its state", "fixed batch", "slightly off", "not a number"])
def test_a_wrong_program_is_not_written(
    checkpoint: Path, error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "model.safetensors"
    export(checkpoint, format="safetensors", out=out, check_accuracy=False)
    before = out.read_bytes()
    right = safetensors.load
    monkeypatch.setattr(safetensors, "load", lambda path: Wrong(right(path), error))
    stateful = error == "forgets its state"
    with pytest.raises(TargetError) as caught:
        export(checkpoint, format="safetensors", stateful=stateful, out=out)
    assert caught.value.exit_code == 4
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
    assert out.read_bytes() == before


def test_only_an_export_is_written_over(checkpoint: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("what was there before")
    for out, message in (
        (notes, "is not an exported model"),
        (checkpoint, "is not an exported model"),
        (tmp_path, "folder"),
    ):
        with pytest.raises(RecipeError, match=message):
            export(checkpoint, format="safetensors", out=out, check_accuracy=False)
    assert notes.read_text() == "what was there before"


def test_parity_prints_every_case(checkpoint: Path, tmp_path: Path) -> None:
    from momentum_cli.training.trained import load_model

    out = tmp_path / "model.safetensors"
    export(checkpoint, format="safetensors", out=out, check_accuracy=False)
    with pytest.raises(TargetError) as caught:
        check_parity(Wrong(open_program(out), "slightly off"), load_model(checkpoint).model, None)
    lines = str(caught.value).splitlines()
    assert len(lines) == 1 + len(SHAPES)
    assert all("3.0e-04 absolute" in line and "beyond tolerance" in line for line in lines[1:])


def test_what_makes_no_sense_is_refused(checkpoint: Path, adam: Path, tmp_path: Path) -> None:
    both = write_checkpoint(tmp_path / "both.safetensors", "model.bidirectional=true", "model.hidden_size=4")
    out = tmp_path / "out"
    for run, options, message in (
        (both, {"format": "onnx", "stateful": True}, "bidirectional"),
        (adam, {"format": "safetensors", "as_torch_lstm": True}, "Adam is not linear"),
        (checkpoint, {"format": "onnx", "aoti": True}, "--aoti must be used with --format pt2"),
        (checkpoint, {"format": "onnx", "as_torch_lstm": True}, "must be used with --format safetensors"),
        (checkpoint, {"format": "onxx"}, "onnx"),
        (checkpoint, {"format": "onnx", "which": "first"}, "best, last or the number of a step"),
    ):
        with pytest.raises(RecipeError, match=message) as caught:
            export(run, out=out, check_accuracy=False, **options)  # type: ignore[arg-type]
        assert caught.value.exit_code == 2
        assert not out.exists()
    with pytest.raises(RecipeError, match=r"--out must end in \.onnx with --format onnx"):
        export(checkpoint, format="onnx", out=tmp_path / "m.pt", check_accuracy=False)
    with pytest.raises(DataError, match="no such run"):
        export(tmp_path / "nothing", format="onnx")


def test_torchscript_deprecation_is_one_line_of_ours(checkpoint: Path, tmp_path: Path) -> None:
    from momentum_cli.progress import NullUi

    class Notes(NullUi):
        def __init__(self) -> None:
            self.texts: list[str] = []

        def note(self, text: str, level: Any = "info") -> None:
            self.texts.append(text)

    # pytest turns every warning into an error, so torch's own cannot have come through.
    notes = Notes()
    export(checkpoint, format="torchscript", out=tmp_path / "m.pt", check_accuracy=False, ui=notes)
    assert sum("deprecated" in text for text in notes.texts) == 1


def test_plain_torch_weights_need_no_momentum(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """nn.LSTM layers of torch and the two numbers of the filter give the model, in chunks, without this package."""
    import runpy

    import numpy as np

    options = (
        "model.num_layers=2",
        "model.hidden_size=5",
        "cells.momentum.momentum=0.8",
        "cells.momentum.step_size=0.5",
    )
    run = write_checkpoint(tmp_path / "run.safetensors", *options)
    out = tmp_path / "plain.safetensors"
    result = export(run, format="safetensors", as_torch_lstm=True, out=out)
    assert result["test"]["file"] == result["test"]["checkpoint"]
    x = torch.rand(2, 11, 8)
    np.save(tmp_path / "x.npy", x.numpy())
    example = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "plain_torch_lstm.py"))
    plain, state, outputs = example["PlainModel"](str(out)), None, None
    with torch.no_grad():
        for part in x.split([1, 3, 7], dim=1):
            outputs, state = plain(part, state)
    torch.testing.assert_close(outputs, open_program(out).run(x)[0], atol=1e-5, rtol=1e-4)


def test_loaded_files_know_what_they_are(checkpoint: Path, tmp_path: Path) -> None:
    assert not is_exported(checkpoint)
    out = tmp_path / "x.safetensors"
    export(checkpoint, format="safetensors", out=out, check_accuracy=False)
    with pytest.raises(DataError, match="must be 'momentumrnn checkpoint', got 'momentumrnn model'"):
        export(out, format="onnx")
    header = json.loads(open_program(out).bundle.encode())
    assert header["format_version"] == 1


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "kind",
    ["/dev/full", "/dev/null", "/dev/zero", "/dev/stdout", "pipe", "socket", "folder", "circle", "/proc/version"],
)
def test_an_output_that_is_no_regular_file_is_refused_before_any_work(kind: str, format: str, tmp_path: Path) -> None:
    """Opening a pipe would wait forever, and /dev/full or /dev/zero has no end to read."""
    path = tmp_path / "out"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(os.path.relpath(path))
    elif kind == "folder":
        path.mkdir()
        (path / "notes.txt").touch()
    elif kind == "circle":
        path.symlink_to(path.name)
    elif not Path(kind).exists():
        pytest.skip(f"no {kind} here")
    for given in [path] if kind in ("pipe", "socket", "folder", "circle") else [Path(kind), path]:
        if given is path and not path.is_symlink() and not path.exists():
            path.symlink_to(kind)
        before = os.lstat(given)
        with pytest.raises(RecipeError, match="--out") as raised:
            export(tmp_path / "no-run", out=given, format=format)
        assert raised.value.exit_code == 2
        assert os.lstat(given)[:4] == before[:4]
