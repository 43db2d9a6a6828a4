"""The speed that `eval` reports."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from momentum_cli.inference.evaluate import evaluate
from momentum_cli.models.sequence import SequenceModel
from momentum_cli.recipe.recipe import parse_recipe
from momentum_cli.training.train import train

RECIPE = {
    "task": {"name": "adding", "length": 6, "train_size": 32, "validation_size": 16, "test_size": 40},
    "model": {"cell": "momentum", "hidden_size": 4},
    "optimizer": {"name": "adam", "lr": 0.01},
    "train": {"max_steps": 1, "batch_size": 16, "eval_batch_size": 20, "seed": 0},
}


def test_the_speed_does_not_count_the_first_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two passes go before the first reading of the clock, and the 40 sequences in two batches before the second."""
    run = tmp_path / "run"
    train(parse_recipe(RECIPE), out=run)
    happened: list[str] = []
    forward = SequenceModel.forward

    def counted(*given: Any, **options: Any) -> Any:
        happened.append("pass")
        return forward(*given, **options)

    def read() -> float:
        happened.append("clock")
        return time.perf_counter()

    monkeypatch.setattr(SequenceModel, "forward", counted)
    monkeypatch.setattr("momentum_cli.inference.evaluate.time", SimpleNamespace(perf_counter=read))
    found = evaluate(run)
    assert happened[:6] == ["pass", "pass", "clock", "pass", "pass", "clock"]
    assert found["samples_per_second"] == pytest.approx(40 / found["seconds"])
