"""A typed program of a user: mypy, strict, knows the types of what the library returns."""

from __future__ import annotations

from pathlib import Path

import pytest
from mypy import api

PROGRAM = """
import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence

from momentum_cli import (
    LSTM, Callback, HeavyBall, MomentumGRU, OrthogonalRNN, bench, dry_run, evaluate, export, load, load_recipe,
    predict, train,
)
from momentum_cli.optim import OPTIMIZERS, AHBAdam


class Stop(Callback):
    def on_note(self, text: str, level: str) -> None:
        raise RuntimeError(text)


def layers() -> Tensor:
    layer = LSTM(1, 2, dynamics=HeavyBall(0.6, 1.0))
    outputs, (h, c) = layer(torch.zeros(3, 1, 1))
    _, state = layer(torch.zeros(3, 1, 1))
    packed, _ = layer(pack_sequence([torch.zeros(3, 1)]), state)
    reveal_type(outputs)
    reveal_type(packed)
    reveal_type(MomentumGRU(1, 2))
    reveal_type(OrthogonalRNN(1, 2)(torch.zeros(3, 1, 1))[0])
    optimizer = AHBAdam(layer.parameters(), lr=1e-3)
    optimizer.step()
    assert "adam" in OPTIMIZERS
    return outputs


def verbs() -> None:
    recipe = load_recipe("digits")
    result = train(recipe, {"model.cell": "adam"}, callbacks=[Stop()])
    reveal_type(result.test)
    reveal_type(dry_run("digits").steps)
    reveal_type(evaluate(result).metrics)
    reveal_type(bench(["digits"], cells="lstm,adam").arms[0].speed_up)
    reveal_type(load(export(result, format="onnx")).predict(np.zeros((8, 8))).labels)
    reveal_type(load(result)(torch.zeros(1, 8, 8)))
    reveal_type(predict(result, "digit.png").predictions)
"""
REVEALED = [
    "torch._tensor.Tensor",
    "PackedSequence",
    "momentum_cli.layers.lstm_gru_rnn.GRU",
    "torch._tensor.Tensor",
    "dict[str, float] | None",
    "int | None",
    "dict[str, float]",
    "float",
    "list[str]",
    "torch._tensor.Tensor",
    "list[dict[str, Any]]",
]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_typed_program_is_checked_and_knows_the_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).parents[2]
    monkeypatch.setenv("MYPYPATH", str(root))
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    # Without a configuration file, so that nothing of this repository makes it easier for the program.
    options = ["--strict", "--config-file", "", "--cache-dir", str(tmp_path / "cache"), "--python-version", "3.11"]
    text, errors, code = api.run([*options, str(tmp_path / "program.py")])
    assert (errors, code) == ("", 0), text
    notes = [line.partition('"')[2].rstrip('"') for line in text.splitlines() if "Revealed type" in line]
    # A named tuple is revealed by its fields, and its name comes last.
    names = [note.replace("builtins.", "").replace("typing.", "").split("rnn.")[-1].rstrip("]") for note in notes]
    assert names == [name.split("rnn.")[-1].rstrip("]") for name in REVEALED]
