"""Files written by version 0.1.0 before its modules moved still load, and compute what they computed then.

`tests/old` has a checkpoint and its exports in every format of three small models, and the outputs of each checkpoint.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from momentum_cli.inference.opened import open_subject

OLD = Path(__file__).parents[1] / "old"
NAMES = ("checkpoint.safetensors", "model.safetensors", "model.torchscript", "model.onnx", "model.pt2")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("model", ["adam-gru", "momentum-dtriv", "sr-language"])
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_an_old_file_computes_what_it_did(model: str, name: str) -> None:
    if name == "model.onnx":
        pytest.importorskip("onnxruntime")
    expected = np.load(OLD / model / "expected.npz")
    with torch.inference_mode():
        outputs = open_subject(OLD / model / name).call(torch.from_numpy(expected["inputs"]), None)
    np.testing.assert_allclose(outputs.numpy(), expected["outputs"], rtol=1e-4, atol=1e-5)
