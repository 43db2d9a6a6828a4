"""Cells of plugins in every format: exact at every size, and usable without the plugin."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from plugin_state import unregistered
from untrained import write_checkpoint

from momentum_cli.cells.plugins import LOADED, load_plugin
from momentum_cli.errors import DataError, RecipeError
from momentum_cli.formats.export import FORMATS, export, open_program
from momentum_cli.training.trained import load_model

TESTS = Path(__file__).parents[1]
PLUGINS = {
    "fading": TESTS / "fading_memory.py",
    "lazy": TESTS / "lazy_average.py",
    "signs": TESTS / "sign_momentum.py",
    "mgu": TESTS.parent / "examples" / "minimal_gated_unit.py",
}


@pytest.fixture(autouse=True)
def plugins() -> Iterator[None]:
    with unregistered():
        for path in PLUGINS.values():
            load_plugin(path)
        yield


@pytest.mark.parametrize("format", ["torchscript", "onnx", "safetensors", pytest.param("pt2", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("cell", "options", "stateful"),
    [
        ("fading", ["model.num_layers=2"], True),
        ("fading-gru", ["model.bidirectional=true"], False),
        ("fading-mgu", ["model.bias=false"], True),
        ("lazy", [], True),
        ("mgu", [], False),
        ("adam-mgu", ["cells.adam-mgu.eps=1e-3"], True),
        ("signs", [], True),
    ],
)
def test_parity(cell: str, options: list[str], stateful: bool, format: str, tmp_path: Path) -> None:
    if (cell, format) == ("signs", "torchscript"):
        pytest.skip("refused, see below")
    source = write_checkpoint(tmp_path / "run.safetensors", f"model.cell={cell}", "model.hidden_size=6", *options)
    out = tmp_path / f"model{FORMATS[format].SUFFIX}"
    result = export(source, format=format, stateful=stateful, out=out, check_accuracy=False)
    assert result["parity"]["max_abs"] < 1e-5
    # Longer than any case of the check: several blocks of the filter, and steps at which exp(-k/tau) is next to 0.
    x = torch.rand(3, 301, 8)
    expected = load_model(source).model.double()(x.double())[0]
    torch.testing.assert_close(open_program(out).run(x)[0].double(), expected.detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("cell", "format"), [("fading", "torchscript"), ("fading-mgu", "onnx"), ("signs", "pt2")])
def test_a_file_needs_no_plugin(cell: str, format: str, tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "run.safetensors", f"model.cell={cell}", "model.hidden_size=6")
    out = tmp_path / f"model{FORMATS[format].SUFFIX}"
    export(source, format=format, out=out, check_accuracy=False)
    x = torch.rand(2, 70, 8)
    np.save(tmp_path / "x.npy", x.numpy())
    code = (
        "import sys, json, numpy, torch\nfrom momentum_cli.formats.export import open_program\n"
        "from momentum_cli.cells.plugins import LOADED\n"
        "x = torch.from_numpy(numpy.load(sys.argv[2]))\n"
        "from pathlib import Path\nprint(json.dumps(open_program(Path(sys.argv[1])).run(x)[0].tolist()))\n"
        "assert not LOADED"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, str(out), str(tmp_path / "x.npy")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    expected = load_model(source).model(x)[0].detach()
    torch.testing.assert_close(torch.tensor(json.loads(done.stdout)), expected, rtol=1e-4, atol=1e-5)


def test_weights_alone_name_the_plugin_they_need(tmp_path: Path) -> None:
    for cell, name in (("fading", "fading_memory.py"), ("momentum-mgu", "minimal_gated_unit.py")):
        source = write_checkpoint(tmp_path / "run.safetensors", f"model.cell={cell}", "model.hidden_size=6")
        out = tmp_path / f"{cell}.safetensors"
        export(source, format="safetensors", out=out, check_accuracy=False)
        with unregistered():
            LOADED.clear()
            with pytest.raises(DataError, match=f"needs the plugin {name}, which is not loaded"):
                open_program(out)
        open_program(out)


@pytest.mark.parametrize(
    ("cell", "format", "options", "message"),
    [
        ("signs", "torchscript", {}, "no form for SignMomentum, which has only a step; export it as pt2"),
        ("signs", "safetensors", {"as_torch_lstm": True}, "SignMomentum is not linear"),
        ("mgu", "safetensors", {"as_torch_lstm": True}, "torch has no layer for the recurrence 'mgu'"),
    ],
)
def test_refusals(cell: str, format: str, options: dict[str, Any], message: str, tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "run.safetensors", f"model.cell={cell}", "model.hidden_size=6")
    with pytest.raises(RecipeError, match=message):
        export(source, format=format, out=tmp_path / "model.x", check_accuracy=False, **options)
    assert not (tmp_path / "model.x").exists()
