"""Grids over options of cells: the command line, the runs and the reports."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from small_bench import made_up, small_plan, write_recipe

from momentum_cli.benchmark.bench import bench
from momentum_cli.benchmark.pictures.all import figures
from momentum_cli.benchmark.pictures.grid import draw_grid
from momentum_cli.benchmark.plan.grid import Axis, grid_points, parse_grid
from momentum_cli.benchmark.report.page import page
from momentum_cli.benchmark.report.sources import read_sources
from momentum_cli.benchmark.results.summary import summarise
from momentum_cli.benchmark.tables.grid import grid_remarks, grid_tables
from momentum_cli.benchmark.tables.text import summary_text
from momentum_cli.errors import RecipeError

GRID = "momentum=0,0.6; step_size=0.1,0.5,1"


def test_a_grid_is_read_sorted_and_multiplied_out() -> None:
    axes = parse_grid(" step_size = 1.0,1e-1 ;momentum=0.6,0; ")
    assert axes == (Axis("step_size", (0.1, 1.0)), Axis("momentum", (0.0, 0.6)))
    assert grid_points(axes) == [
        ("step_size=0.1", "momentum=0"),
        ("step_size=0.1", "momentum=0.6"),
        ("step_size=1", "momentum=0"),
        ("step_size=1", "momentum=0.6"),
    ]
    assert grid_points(()) == [()]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("momentum", "must be NAME=number"),
        ("momentum=0,x", "`momentum` must be numbers, got 'x'"),
        ("momentum=0,inf", "`momentum` must be numbers, got 'inf'"),
        ("momentum=0.5,0.50", "momentum=0.5 is given twice"),
        ("momentum=0;momentum=1", "momentum is given twice"),
        ("a=1;b=2;c=3", "must have one or two options, got 3"),
        (";", "must have one or two options, got 0"),
        ("train.batch_size=8,16", "train.batch_size is shared by everything compared"),
    ],
)
def test_what_is_no_grid(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse_grid(text)


@pytest.mark.parametrize(
    ("cells", "options", "message"),
    [
        ("momentum", {"grid": "momentun=0,0.5"}, "did you mean 'momentum'"),
        ("lstm,momentum", {"grid": "momentum=0,0.5"}, "of the cell lstm"),
        ("momentum:step_size=0.5", {"grid": "step_size=0.1,1"}, "step_size is given by --grid"),
        ("momentum", {"grid": "momentum=0,1"}, r"must be in \[0, 1\), got 1"),
        ("sr", {"grid": "restart_every=1,2.5"}, "restart_every: must be an integer, got 2.5"),
        ("momentum", {"grid": "momentum=0,0.5", "lr_grid": "0.1,1"}, "give one of the two"),
    ],
)
def test_grids_that_fit_no_cell(tmp_path: Path, cells: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        small_plan(tmp_path, cells, **options)


def test_every_point_is_an_entry_of_its_cell(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, "momentum", "0", grid=GRID)
    (comparison,) = plan.comparisons
    settings = [entry.recipe.cells["momentum"] for entry in comparison.entries]
    assert settings == [{"momentum": m, "step_size": s} for m in (0, 0.6) for s in (0.1, 0.5, 1)]
    assert comparison.entries[1].label == "momentum momentum=0,step_size=0.5"
    assert {entry.arm for entry in comparison.entries} == {"momentum"}
    assert len({run.id for run in plan.groups()[0]}) == 6
    # without --cells the recipe's own cell; whole numbers and dotted keys
    recipe = write_recipe(tmp_path, model="{cell: sr, hidden_size: 8}")
    from momentum_cli.benchmark.plan.planning import make_plan

    (comparison,) = make_plan([recipe], grid="restart_every=2,5; model.hidden_size=4,8").comparisons
    assert [entry.recipe.model.hidden_size for entry in comparison.entries] == [4, 8, 4, 8]
    assert [entry.recipe.cells["sr"]["restart_every"] for entry in comparison.entries] == [2, 2, 5, 5]


HIT4, HIT8, MISS = [0.5, 0.05], [0.5, 0.4, 0.05], [0.5, 0.4]


@pytest.fixture
def summary(tmp_path: Path) -> dict[str, Any]:
    plan = small_plan(tmp_path, "momentum", "0-2", grid=GRID, target="0.1")
    labels = [entry.label for entry in plan.comparisons[0].entries]
    runs = [[HIT8] * 3, [HIT4] * 3, [MISS] * 3, [HIT4, MISS, MISS], [HIT8, HIT8, MISS], [MISS, HIT4, MISS]]
    results, points = made_up(plan, dict(zip(labels, runs, strict=True)), dict.fromkeys(labels, 0.5))
    return summarise(plan, results, points) | {"folder": str(tmp_path), "tuning": None, "jobs": 1}


def test_what_is_reported_of_a_grid(summary: dict[str, Any]) -> None:
    (comparison,) = summary["comparisons"]
    (grid,) = comparison["grids"]
    assert grid["axes"] == [
        {"name": "momentum", "values": (0.0, 0.6)},
        {"name": "step_size", "values": (0.1, 0.5, 1.0)},
    ]
    assert [point["values"] for point in grid["points"]] == [[m, s] for m in (0, 0.6) for s in (0.1, 0.5, 1)]
    assert [point["hits"] for point in grid["points"]] == [3, 3, 0, 1, 2, 1]
    assert [point["steps"]["median"] for point in grid["points"]] == [12, 8, math.inf, math.inf, 12, math.inf]
    assert [point["reached"] for point in grid["points"]] == [True, True, False, False, True, False]
    assert grid["best"] == "momentum momentum=0,step_size=0.5"
    # the other tables show the best point alone
    assert [cell["label"] for cell in comparison["cells"]] == [grid["best"]]
    assert comparison["arms"] is None
    assert json.dumps(summary)


def test_the_tables_of_a_grid(summary: dict[str, Any]) -> None:
    metric, steps = grid_tables(summary["comparisons"][0])
    assert metric.columns == steps.columns == ["", "step_size=0.1", "step_size=0.5", "step_size=1"]
    assert metric.rows == [
        ["momentum=0", "0.05 3/3", "0.05 3/3", "0.4 0/3"],
        ["momentum=0.6", "0.283 1/3", "0.167 2/3", "0.283 1/3"],
    ]
    assert steps.rows == [["momentum=0", "12", "8", "∞"], ["momentum=0.6", "∞ (8–∞)", "12 (12–∞)", "∞ (8–∞)"]]
    assert "chosen by the same runs" in grid_remarks(summary)[0]
    for width in (80, 140):
        lines = list(summary_text(summary, width))
        assert any(line.startswith("momentum=0.6 ") and "0.283 1/3" in line for line in lines)
        assert max(map(len, lines[: lines.index(grid_remarks(summary)[0])])) <= width


def test_the_heat_map_of_a_grid(summary: dict[str, Any]) -> None:
    assert "grid" in figures(summary, {})
    assert "heat_map" not in figures(summary, {})
    figure = draw_grid(summary["comparisons"], 9.0)
    metric, steps = figure.axes
    assert [text.get_text() for text in metric.texts] == [
        *("0.05\n3/3", "0.05\n3/3", "0.4\n0/3"),
        *("0.28\n1/3", "0.17\n2/3", "0.28\n1/3"),
    ]
    assert [text.get_text() for text in steps.texts] == ["12", "8", "∞", "∞", "12", "∞"]
    assert [label.get_text() for label in metric.get_xticklabels()] == ["0.1", "0.5", "1"]
    assert [label.get_text() for label in metric.get_yticklabels()] == ["0", "0.6"]
    assert (metric.get_xlabel(), metric.get_ylabel()) == ("step_size", "momentum")
    # six squares and a frame around each of the three points that reach the target
    assert len(metric.patches) == 9
    assert len(steps.patches) == 6
    # few steps are light, many dark, and a miss is grey
    shades = [sum(square.get_facecolor()[:3]) for square in steps.patches]
    assert shades[1] > shades[0]
    assert steps.patches[2].get_facecolor() == (0.8, 0.8, 0.8, 1.0)


def test_a_grid_of_one_option_is_one_row(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, "momentum", "0", grid="momentum=0,0.6", target="0.1")
    labels = [entry.label for entry in plan.comparisons[0].entries]
    results, points = made_up(plan, {labels[0]: [HIT4], labels[1]: [HIT8]}, dict.fromkeys(labels, 0.5))
    (comparison,) = summarise(plan, results, points)["comparisons"]
    metric, steps = grid_tables(comparison)
    assert (metric.columns, metric.rows) == (["", "momentum=0", "momentum=0.6"], [["", "0.05 1/1", "0.05 1/1"]])
    assert steps.rows == [["", "8", "12"]]
    assert len(draw_grid([comparison], 4.0).axes) == 2


def test_a_grid_is_run_and_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("momentum_cli.benchmark.running.runner.measure_memory", lambda runs, *_: [None] * len(runs))
    recipe = write_recipe(tmp_path, train="{max_steps: 8, batch_size: 16, eval_every_n_steps: 4, seed: 0}")
    out = tmp_path / "bench"
    content = bench([recipe], cells=["momentum"], grid="momentum=0,0.6; step_size=0.5,1", seeds="0", out=out)
    (grid,) = content["comparisons"][0]["grids"]
    assert [point["runs"] for point in grid["points"]] == [1] * 4
    assert len({point["best"]["mean"] for point in grid["points"]}) == 4
    assert (out / "grid.png").is_file()
    assert "median steps to the target" in (out / "report.html").read_text(encoding="utf-8")
    # what was read back from the folder gives the same page
    assert "momentum=0.6" in page(read_sources([out]))
