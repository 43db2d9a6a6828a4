"""int8 weights in ONNX files: what is rounded, how far it takes the outputs, and where that is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from untrained import write_checkpoint

from momentum_cli.errors import RecipeError, TargetError
from momentum_cli.formats import export as module
from momentum_cli.formats.export import export, open_program
from momentum_cli.formats.parity import INT8_TOLERANCE

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def checkpoint(folder: Path, cell: str, hidden_size: int = 32) -> Path:
    return write_checkpoint(folder / f"{cell}.safetensors", f"model.cell={cell}", f"model.hidden_size={hidden_size}")


def operators(graph: Any) -> set[str]:
    found = {node.op_type for node in graph.node}
    bodies = [a.g for node in graph.node for a in node.attribute if a.HasField("g")]
    return found.union(*map(operators, bodies))


@pytest.mark.parametrize(
    ("cell", "stateful", "operator"),
    [
        ("momentum", True, "DynamicQuantizeLSTM"),
        ("adam-gru", False, "MatMulInteger"),
        pytest.param("sr-dtriv", True, "MatMulInteger", marks=pytest.mark.slow),
    ],
)
def test_int8_weights_compute_nearly_the_same(cell: str, stateful: bool, operator: str, tmp_path: Path) -> None:
    # The filter of sr is a matrix of 8 kB of float64, which is not rounded and outweighs a small layer.
    run = checkpoint(tmp_path, cell, 64 if cell == "sr-dtriv" else 32)
    plain = export(run, format="onnx", stateful=stateful, out=tmp_path / "plain.onnx", check_accuracy=False)
    result = export(run, format="onnx", stateful=stateful, quantize="int8", out=tmp_path / "int8.onnx")
    assert result["quantize"] == "int8"
    assert result["bytes"] < 0.75 * plain["bytes"]
    # Relative, because the state behind sr and an orthogonal matrix has no bound.
    assert plain["parity"]["max_rel"] < 1e-4 < result["parity"]["max_rel"] < INT8_TOLERANCE
    assert result["parity"]["tolerance"] == INT8_TOLERANCE
    program = open_program(tmp_path / "int8.onnx")
    described = program.bundle.data["export"]
    assert described["quantize"] == "int8"
    assert described["parity"] == {name: result["parity"][name] for name in ("max_abs", "max_rel")}
    assert result["test"]["samples"] == 360
    graph = onnx.load(tmp_path / "int8.onnx").graph
    assert operator in operators(graph)
    assert "MatMul" not in operators(graph) or cell != "adam-gru"
    x = torch.randn(2, 9, 8, generator=torch.Generator().manual_seed(0))
    one, two = (open_program(tmp_path / f"{name}.onnx").run(x)[0] for name in ("plain", "int8"))
    assert 0 < (one - two).abs().max() < 0.1 * max(1.0, float(one.abs().max()))
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["int8.onnx", "plain.onnx", run.name])


def test_what_has_no_int8_kernel_is_refused(tmp_path: Path) -> None:
    run = checkpoint(tmp_path, "momentum-gru")
    with pytest.raises(RecipeError, match=r"no int8 kernel for GRU; .* without --quantize"):
        export(run, format="onnx", quantize="int8", out=tmp_path / "gru.onnx")
    assert [p.name for p in tmp_path.iterdir()] == [run.name]


def test_rounding_that_goes_too_far_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INT8_TOLERANCE", 1e-5)
    with pytest.raises(TargetError, match="beyond tolerance"):
        export(checkpoint(tmp_path, "momentum"), format="onnx", quantize="int8", out=tmp_path / "far.onnx")
    assert not (tmp_path / "far.onnx").exists()


@pytest.mark.parametrize(("format", "quantize"), [("pt2", "int8"), ("onnx", "int4")])
def test_other_formats_and_widths_are_refused(format: str, quantize: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="--quantize must be"):
        export(tmp_path, format=format, quantize=quantize)
