"""A target that the baseline sets: whose best it is, when it is known, and that a kill in between changes nothing."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_bench import made_up, small_plan, write_recipe

from momentum_cli.benchmark.bench import bench
from momentum_cli.benchmark.plan.planning import make_plan
from momentum_cli.benchmark.results.statistics import pooled
from momentum_cli.benchmark.results.summary import summarise
from momentum_cli.benchmark.running import runner
from momentum_cli.benchmark.running.contender import Contender
from momentum_cli.benchmark.tables.comparison import comparison_title, remarks
from momentum_cli.errors import Interrupted, RecipeError, RunError
from momentum_cli.recipe.recipe import load_recipe
from momentum_cli.training.train import train


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "measure_memory", lambda runs, *rest: [None] * len(runs))
    monkeypatch.setattr("momentum_cli.benchmark.bench.draw_bench", lambda *arguments: None)
    monkeypatch.setattr("momentum_cli.benchmark.report.report.write_report", lambda *arguments: None)


def values_of(content: dict[str, Any], label: str) -> list[dict[str, Any]]:
    return [run for run in content["comparisons"][0]["runs"] if run["label"] == label]


def test_the_median_that_is_easier_to_reach() -> None:
    assert pooled("accuracy", [0.9, 0.7, 0.8]) == 0.8
    assert pooled("accuracy", [0.9, 0.6, 0.8, 0.7]) == 0.7  # more is better: the lower one of the middle two
    assert pooled("mse", [0.9, 0.6, 0.8, 0.7]) == 0.8


@pytest.mark.parametrize("target", ["baseline", "baseline:pooled"])
def test_the_best_of_the_baseline_by_hand(tmp_path: Path, target: str) -> None:
    plan = small_plan(tmp_path, "lstm,momentum", "0-2", target=target, full=True)
    goals = {0: 0.3, 1: 0.1, 2: 0.2} if target == "baseline" else dict.fromkeys(range(3), 0.2)
    (comparison,) = plan.comparisons
    object.__setattr__(comparison, "goals", goals)
    # steps 4, 8, …; one second a step
    curves = {
        "lstm": [[0.5, 0.3], [0.4, 0.4, 0.1], [0.2, 0.5]],
        "momentum": [[0.3], [0.2, 0.09], [0.9, 0.25]],
    }
    results, points = made_up(plan, curves, {"lstm": 1.0, "momentum": 1.0})
    summary = summarise(plan, results, points, scored="steps")
    (found,) = summary["comparisons"]
    reached = {label: [run["to_target"]["steps"] for run in values_of(summary, label)] for label in curves}
    if target == "baseline":
        assert found["target"] == {
            "metric": "mse",
            "value": 0.2,
            "values": [0.3, 0.1, 0.2],
            "baseline": "lstm",
            "pooled": False,
        }
        assert reached == {"lstm": [8, 12, 4], "momentum": [4, 8, math.inf]}
        assert comparison_title(found) == "small: validation mse <= lstm's best of the same seed (0.1000 to 0.3000)"
    else:
        assert reached == {"lstm": [math.inf, 12, 4], "momentum": [math.inf, 4, math.inf]}
        assert comparison_title(found) == "small: validation mse <= lstm's median best over seeds (0.2000)"
        assert values_of(summary, "lstm")[0]["miss"] == "target not reached within 24 steps"
    assert not any("before the others" in line for line in remarks(summary))  # --full takes turns


def test_the_baseline_trains_first_and_the_others_stop_at_its_best(tmp_path: Path) -> None:
    options: dict[str, Any] = {"cells": ["momentum,gru"], "seeds": "0-1", "target": "baseline", "baseline": "gru"}
    recipe = write_recipe(tmp_path)
    content = bench([recipe], **options, out=tmp_path / "led")
    (found,) = content["comparisons"]
    leaders, others = values_of(content, "gru"), values_of(content, "momentum")
    assert found["target"]["values"] == [run["best"] for run in leaders]
    assert [run["stop_reason"] for run in leaders] == ["max_steps"] * 2
    assert all(run["reached"] and run["to_target"]["steps"] == run["best_step"] for run in leaders)
    for run in others:
        assert run["reached"] == (run["stop_reason"] == "target")
        assert (run["steps"] < 24) == run["reached"]
    assert any(line.startswith("gru was trained to the end of its budget before") for line in remarks(content))
    # In turns to the end of the budget the same evaluations come to the same numbers.
    whole = bench([recipe], **options, full=True, out=tmp_path / "whole")
    assert whole["comparisons"][0]["target"] == found["target"]
    missed = [run for run in values_of(whole, "momentum") if not run["reached"]]
    assert {run["miss"] for run in missed} <= {"target not reached within 24 steps"}
    key = [[run["to_target"]["steps"] for run in values_of(c, "momentum")] for c in (content, whole)]
    assert key[0] == key[1]


@pytest.mark.parametrize("at", [8, 14])
def test_a_stop_in_either_part_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    options: dict[str, Any] = {"cells": ["lstm,momentum"], "seeds": "0-1", "target": "baseline"}
    recipe = write_recipe(tmp_path)
    turn, turns = Contender.turn, iter(range(1, 99))

    def interrupted(self: Contender, stopped: Callable[[], bool]) -> bool:
        if next(turns) == at:  # the two runs of lstm take six turns each
            os.kill(os.getpid(), signal.SIGTERM)
        return turn(self, stopped)

    monkeypatch.setattr(Contender, "turn", interrupted)
    with pytest.raises(Interrupted):
        bench([recipe], **options, out=tmp_path / "out")
    monkeypatch.setattr(Contender, "turn", turn)
    again = bench([recipe], **options, out=tmp_path / "out")
    whole = bench([recipe], **options, out=tmp_path / "whole")
    keys = ("id", "target", "steps", "best", "test", "stop_reason")
    runs = [[{key: run[key] for key in keys} for run in c["comparisons"][0]["runs"]] for c in (again, whole)]
    assert runs[0] == runs[1]


def test_runs_to_the_end_of_the_budget_serve_every_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"cells": ["lstm,momentum"], "seeds": "0", "full": True, "out": tmp_path / "out"}
    recipe = write_recipe(tmp_path)
    bench([recipe], **options, target="0.02")
    monkeypatch.setattr(Contender, "turn", lambda *arguments: pytest.fail("nothing is left to train"))
    content = bench([recipe], **options, target="baseline")
    assert values_of(content, "lstm")[0]["reached"]
    with pytest.raises(RecipeError, match=r"stop_at_target: False there, True now"):
        bench([recipe], cells=["lstm,momentum"], seeds="0", target="0.02", out=tmp_path / "out")


def test_a_baseline_that_fails_sets_no_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverged(self: Contender, *arguments: object) -> bool:
        raise RunError("loss nan is not finite")

    monkeypatch.setattr(Contender, "turn", diverged)
    with pytest.raises(RunError, match=r"lstm-seed0 did not reach the end of its budget \(diverged: loss nan"):
        bench([write_recipe(tmp_path)], cells=["lstm,momentum"], seeds="0", target="baseline", out=tmp_path / "out")


def test_the_recipe_may_name_the_baseline(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, target="{metric: mse, baseline: gru}")
    plan = make_plan([recipe], cells=["lstm,gru"])
    assert plan.baseline == "gru"
    assert [run.label for group in plan.leading() for run in group] == ["gru"] * 3
    assert make_plan([recipe], cells=["lstm,gru"], full=True).leading() == []
    assert make_plan([recipe], cells=["lstm,gru"], target="0.1").leading() == []
    with pytest.raises(RecipeError, match=r"target\.baseline gru: it is not one of lstm, momentum"):
        make_plan([recipe], cells=["lstm,momentum"])
    with pytest.raises(RecipeError, match="would set several targets"):
        make_plan([recipe], cells=["gru"], lr_grid="0.1,1")
    with pytest.raises(RecipeError, match=r"target. must have a value, got baseline: gru; momentumrnn bench"):
        train(load_recipe(recipe), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("{metric: mse}", "target.value: missing; give a number, or baseline"),
        ("{metric: mse, value: 1, baseline: lstm}", "target.baseline: must be left out where target.value is given"),
        ("{metric: mse, value: 1, pooled: true}", "target.pooled: must be false without target.baseline"),
    ],
)
def test_contradictory_targets(tmp_path: Path, target: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe(write_recipe(tmp_path, target=target))
