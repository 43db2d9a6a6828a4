"""Export of the orthogonal and the coupled recurrence: parity in every format, B written out, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from untrained import write_checkpoint

from momentum_cli.errors import RecipeError
from momentum_cli.formats.export import FORMATS, export, open_program
from momentum_cli.formats.parity import TOLERANCE
from momentum_cli.training.trained import load_model

pytest.importorskip("onnxruntime")

FAST = ("torchscript", "onnx", "safetensors")
COUPLED = "cells.sr-coupled={step_size: 0.9, restart_every: 4}"


def checkpoint(folder: Path, cell: str, *options: str) -> Path:
    """A checkpoint of 7 units whose A is not zero and whose modReLU is continuous (b < 0)."""
    from momentum_cli.runs.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

    path = write_checkpoint(folder / f"{cell}.safetensors", f"model.cell={cell}", "model.hidden_size=7", *options)
    loaded = load_checkpoint(path)
    generator = torch.Generator().manual_seed(1)
    for name, tensor in loaded.tensors.items():
        if name.endswith("skew"):
            tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator))
        elif "dtriv" in cell and ".bias_hh" in name:
            tensor.copy_(-0.05 - 0.1 * torch.rand(tensor.shape, generator=generator))
    save_checkpoint(path, Checkpoint(loaded.tensors, loaded.data))
    return path


@pytest.mark.parametrize("format", [*FAST, pytest.param("pt2", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("cell", "options", "stateful"),
    [
        ("dtriv", ["model.bidirectional=true"], False),
        ("momentum-dtriv", ["model.num_layers=2"], True),
        ("sr-dtriv", [], True),
        ("adam-dtriv", ["cells.adam-dtriv.eps=1e-3"], True),
        ("sr-coupled", ["model.num_layers=2", COUPLED], True),
        ("sr-coupled", ["model.bidirectional=true", COUPLED], False),
    ],
)
def test_parity(cell: str, options: list[str], stateful: bool, format: str, tmp_path: Path) -> None:
    source = checkpoint(tmp_path, cell, *options)
    out = tmp_path / f"model{FORMATS[format].SUFFIX}"
    result = export(source, format=format, stateful=stateful, out=out, check_accuracy=False)
    scale = max(1.0, result["parity"]["max_abs"] / max(result["parity"]["max_rel"], 1e-30))
    assert result["parity"]["max_abs"] < TOLERANCE * scale
    program = open_program(out)
    x = torch.rand(2, 9, 8)
    expected = load_model(source).model(x)[0]
    torch.testing.assert_close(program.run(x)[0], expected.detach(), rtol=1e-4, atol=1e-4)


def test_the_file_holds_the_matrix_itself(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    source = checkpoint(tmp_path, "momentum-dtriv")
    layer: Any = load_model(source).model.layer
    out = tmp_path / "model.safetensors"
    export(source, format="safetensors", out=out, check_accuracy=False)
    tensors = load_file(out)
    assert not tensors["layer.orthogonal_hh_l0.skew"].any()
    torch.testing.assert_close(tensors["layer.orthogonal_hh_l0.base"], layer.orthogonal("_l0").matrix().detach())


@pytest.mark.parametrize(
    ("cell", "format", "options", "message"),
    [
        ("sr-coupled", "safetensors", {"as_torch_lstm": True}, "torch has no layer for the recurrence 'sr-coupled'"),
        ("momentum-dtriv", "safetensors", {"as_torch_lstm": True}, "torch has no layer for the recurrence 'modrelu'"),
    ],
)
def test_refusals(cell: str, format: str, options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=message):
        export(checkpoint(tmp_path, cell), format=format, out=tmp_path / "model.x", check_accuracy=False, **options)
    assert not (tmp_path / "model.x").exists()
