"""Tuning: the same points for every cell, the winner by steps, the cost reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_bench import RecordingUi, small_plan, write_recipe

from momentum_cli.benchmark.bench import bench
from momentum_cli.benchmark.running import runner
from momentum_cli.benchmark.running.runner import Setting
from momentum_cli.benchmark.running.tuning import COORDINATES, best_trial, points, trial, tune
from momentum_cli.benchmark.tables.comparison import tuning_table
from momentum_cli.errors import RecipeError


def test_points_are_the_same_every_time_and_cover_the_cube() -> None:
    first = points(16)
    assert first == points(16)
    assert first[:4] == points(4)
    for name in COORDINATES:
        # a (t, m, s)-net in base 2: 16 points, one in each sixteenth of every axis
        assert sorted(int(16 * point[name]) for point in first) == list(range(16))


def test_cells_share_the_values_of_the_options_that_they_share(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, "lstm,momentum,adam,sr,adam@fixed:beta2=0.5", "0")
    point = {"lr": 0.5, "momentum": 0.5, "step_size": 0.25, "beta2": 0.5, "restart_every": 0.2}
    tried = {entry.label: trial(entry, point) for entry in plan.comparisons[0].entries}
    options = {label: chosen for label, (_, chosen) in tried.items()}
    assert options["lstm"] == {"lr": 0.01}
    assert options["momentum"] == {"lr": 0.01, "momentum": 0.475, "step_size": options["adam"]["step_size"]}
    assert set(options["adam"]) == {"lr", "momentum", "step_size", "beta2"}
    assert options["sr"]["restart_every"] == round(1.5 * (64.5 / 1.5) ** 0.2)
    # what the user fixed is not searched
    assert "beta2" not in options["adam@fixed"]
    assert tried["adam@fixed"][0].recipe.cells["adam"]["beta2"] == 0.5
    assert tried["adam"][0].recipe.cells["adam"]["momentum"] == 0.475
    assert tried["adam"][0].recipe.optimizer.lr == 0.01


def outcome(steps: int | None, value: float | None, metric: str = "mse") -> dict[str, Any]:
    best = None if value is None else {"metric": metric, "value": value}
    return {"target": {"reached": steps is not None, "steps": steps, "value": 0.05}, "best": best}


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([outcome(8, 0.1), outcome(4, 0.2), outcome(None, 0.01)], 1),  # steps first
        ([outcome(None, 0.3), outcome(None, 0.1), outcome(None, 0.2)], 1),  # then the metric, an error
        ([outcome(None, 0.3, "accuracy"), outcome(None, 0.9, "accuracy")], 1),
        ([outcome(4, 0.3), outcome(4, 0.1)], 1),  # of equal steps the better metric
        ([outcome(4, 0.3), outcome(4, 0.3)], 0),  # the first of equals
        ([outcome(None, None), outcome(None, 0.5)], 1),
        ([outcome(None, None)], None),
        ([outcome(None, float("nan")), outcome(None, 0.5)], 1),
        ([outcome(None, 0.5), outcome(None, float("nan"))], 0),
    ],
)
def test_the_best_trial(outcomes: list[dict[str, Any]], expected: int | None) -> None:
    assert best_trial(outcomes) == expected


def test_winners_are_compared_and_the_cost_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "measure_memory", lambda runs, *rest: [None] * len(runs))
    monkeypatch.setattr("momentum_cli.benchmark.bench.draw_bench", lambda *arguments: None)
    monkeypatch.setattr("momentum_cli.benchmark.report.report.write_report", lambda *arguments: None)
    options: dict[str, Any] = {"cells": ["lstm,momentum"], "seeds": "0", "budget_steps": 8, "tuned": 3}
    content = bench([write_recipe(tmp_path)], **options, out=tmp_path / "out")
    rows = content["tuning"]["cells"]
    assert [row["label"] for row in rows] == ["lstm", "momentum"]
    assert [(row["trials"], row["steps"]) for row in rows] == [(3, 24), (3, 24)]
    assert content["tuning"]["seed"] == 1  # not one of the comparison's
    recipes = content["comparisons"][0]["recipes"]
    for row in rows:
        assert recipes[row["label"]]["optimizer"]["lr"] == row["chosen"]["lr"]
    assert recipes["momentum"]["cells"]["momentum"]["momentum"] == rows[1]["chosen"]["momentum"]
    table = tuning_table(content)
    assert table is not None
    assert table.rows[0][:4] == ["lstm", "small", "3", "0"]
    again = bench([write_recipe(tmp_path)], **options, out=tmp_path / "out")
    assert again["tuning"] == content["tuning"]


def test_the_test_set_does_not_choose(tmp_path: Path) -> None:
    from momentum_cli.benchmark.plan.planning import make_plan

    plan = make_plan(["digits"], cells=["lstm"], seeds="0", overrides=["task.validation=none"])
    with pytest.raises(RecipeError, match="the test set must not choose"):
        tune(plan, 2, Setting(tmp_path, None, "cpu", 1, RecordingUi()))
