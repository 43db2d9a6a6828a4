"""The sentence on a comparison: it turns round with the numbers and claims nothing that an interval does not show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_bench import made_up, small_plan

from momentum_cli.benchmark.plan.plan import Plan
from momentum_cli.benchmark.results.summary import summarise
from momentum_cli.benchmark.tables.conclusion import conclusion
from momentum_cli.recipe.recipe import load_recipe

SLOW, FAST, UNCLEAR, MISS = [[0.9, 0.1]] * 3, [[0.1]] * 3, [[0.1], [0.9, 0.9, 0.1], [0.9, 0.1]], [[0.9]] * 3


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return small_plan(tmp_path, "lstm,momentum,gru", "0-2", target="0.1")


def sentence(plan: Plan, **curves: Any) -> str:
    results, points = made_up(plan, curves, dict.fromkeys(curves, 1.0))
    summary = summarise(plan, results, points, scored="steps")
    found = conclusion(summary["comparisons"][0], summary)
    assert found is not None
    return found


def test_it_says_the_opposite_when_the_numbers_do(plan: Plan) -> None:
    start = "In optimizer steps to validation mse <= 0.1000, median of 3 seeds: "
    end = "; this holds for sequences of 6 steps, 8 hidden units and this target, and not beyond."
    assert sentence(plan, lstm=SLOW, momentum=FAST, gru=SLOW) == (
        f"{start}momentum (2.00× [2.00, 2.00]) is faster than lstm; "
        f"no clear difference between lstm and gru (1.00× [1.00, 1.00]){end}"
    )
    assert sentence(plan, lstm=FAST, momentum=SLOW, gru=SLOW) == (
        f"{start}momentum (0.50× [0.50, 0.50]) and gru (0.50× [0.50, 0.50]) are slower than lstm{end}"
    )
    assert (
        f"{start}gru (0.50× [0.50, 0.50]) is slower than lstm; no clear difference between lstm and momentum (0.50×"
        in sentence(plan, lstm=FAST, momentum=UNCLEAR, gru=SLOW)
    )


def test_misses_are_no_speed(plan: Plan) -> None:
    assert "momentum did not reach the target and lstm did; this" in sentence(plan, lstm=FAST, momentum=MISS, gru=FAST)
    assert ": momentum reached the target and lstm did not; neither lstm nor gru reached the target; this" in sentence(
        plan, lstm=MISS, momentum=FAST, gru=MISS
    )
    assert ": neither lstm nor momentum nor gru reached the target; this" in sentence(
        plan, lstm=MISS, momentum=MISS, gru=MISS
    )


def test_single_runs_that_reached_the_target_are_counted(plan: Plan) -> None:
    once = [[0.1], [0.9], [0.9]]
    assert ": momentum (in 1 of 3 runs) and gru did not reach the target and lstm did; this" in sentence(
        plan, lstm=FAST, momentum=once, gru=MISS
    )
    assert (
        ": momentum reached the target and lstm (in 1 of 3 runs) did not; neither lstm (in 1 of 3 runs) nor"
        in sentence(plan, lstm=once, momentum=FAST, gru=MISS)
    )


def test_two_seeds_show_no_difference(tmp_path: Path) -> None:
    found = sentence(small_plan(tmp_path, "lstm,momentum", "0-1", target="0.1"), lstm=SLOW[:2], momentum=FAST[:2])
    assert "faster" not in found
    assert "no clear difference between lstm and " in found
    assert "; 2 seeds cannot tell a difference from chance; this" in found


def test_digits_pixel_by_pixel_point_to_the_short_sequences(tmp_path: Path) -> None:
    path = tmp_path / "pixels.yaml"
    load_recipe("digits", ["task.pixels_per_step=1", "train.epochs=1"]).save(path)
    from momentum_cli.benchmark.plan.planning import make_plan

    plan = make_plan([str(path)], cells=["lstm,momentum"], target="0.1")
    found = sentence(plan, lstm=SLOW, momentum=FAST)
    assert "this holds for sequences of 64 steps (momentumrnn bench digits: the same images in 8), 64 hidden" in found


def test_without_a_target_or_a_second_cell_nothing_is_concluded(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, "lstm,momentum", "0-2")
    results, points = made_up(plan, {"lstm": SLOW, "momentum": FAST}, {"lstm": 1.0, "momentum": 1.0})
    summary = summarise(plan, results, points)
    (comparison,) = summary["comparisons"]
    assert conclusion({**comparison, "target": None}, summary) is None
    assert conclusion({**comparison, "cells": comparison["cells"][:1]}, summary) is None
