"""The best evaluation so far, also where its metric is not a number."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from momentum_cli.inference.evaluate import evaluate
from momentum_cli.recipe.recipe import parse_recipe
from momentum_cli.training.position import Progress
from momentum_cli.training.train import train


@pytest.mark.parametrize(
    ("values", "chosen"),
    [
        ([0.5, math.nan, 0.4, 0.6], 4),
        ([math.nan, 0.2, math.nan], 2),
        ([math.nan, math.nan, math.nan], 3),
        ([0.7, math.nan], 1),
    ],
)
def test_a_value_that_is_not_a_number_is_the_best_only_without_another_one(values: list[float], chosen: int) -> None:
    progress = Progress()
    for step, value in enumerate(values, start=1):
        progress.step = step
        progress.take({"accuracy": value, "loss": 1.0}, "validation", "accuracy")
    assert progress.best is not None
    assert progress.best["step"] == chosen


def test_a_run_whose_metric_is_never_a_number_keeps_its_last_model_and_says_so(tmp_path: Path) -> None:
    # Percentages of targets that are 0 are not defined.
    rows = [
        f"{n % 7},{n % 5},{0 if n % 3 == 1 else n % 5 + 1},{('train', 'validation', 'test')[n % 3]}" for n in range(60)
    ]
    (tmp_path / "t.csv").write_text("a,b,y,part\n" + "\n".join(rows) + "\n", encoding="utf-8")
    task = {
        "name": "files",
        "path": str(tmp_path / "t.csv"),
        "kind": "regression",
        "target": "y",
        "split_column": "part",
    }
    sections = {"model": {"hidden_size": 4}, "optimizer": {"name": "adam", "lr": 0.01}, "train": {"epochs": 3}}
    result = train(parse_recipe({"task": task, "metrics": ["mape"], **sections}), out=tmp_path / "run")
    assert math.isnan(result["best"]["value"])
    assert result["best"]["epoch"] == 3
    assert result["warnings"][-1].startswith(
        "mape is not defined on the validation split in any evaluation, so the last"
    )
    assert json.loads((tmp_path / "run/result.json").read_text(encoding="utf-8"))["best"]["value"] == "NaN"
    assert evaluate(tmp_path / "run")["mape"] == pytest.approx(result["test"]["mape"], rel=1e-5)
    again = parse_recipe({"task": task, "metrics": ["mse"], **sections})
    assert not any("not defined" in text for text in train(again, out=tmp_path / "other")["warnings"])
