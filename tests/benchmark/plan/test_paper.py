"""Published tables: their recipes and cells, and that nothing unpublished is shown next to our numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_bench import made_up

from momentum_cli.benchmark.bench import bench
from momentum_cli.benchmark.plan import paper
from momentum_cli.benchmark.plan.paper import paper_recipes
from momentum_cli.benchmark.plan.plan import Plan
from momentum_cli.benchmark.plan.planning import make_plan
from momentum_cli.benchmark.results.summary import summarise
from momentum_cli.benchmark.tables.paper import paper_remarks, paper_table
from momentum_cli.benchmark.tables.text import summary_text
from momentum_cli.errors import RecipeError
from momentum_cli.recipe.building import build_layer, build_task
from momentum_cli.recipe.recipe import load_recipe
from momentum_cli.recipe.shipped import shipped_recipes

PAPER = sorted(name for name in shipped_recipes() if name.startswith("paper/"))


def test_tables_are_found_by_name() -> None:
    assert paper_recipes("table1") == ("paper/table1-mnist-256", "paper/table1-pmnist-128", "paper/table1-pmnist-256")
    assert paper_recipes("table4") == tuple(f"paper/table4-pmnist-{n}" for n in (170, 360, 512))
    assert paper_recipes("table1-pmnist-128") == ("paper/table1-pmnist-128",)
    with pytest.raises(RecipeError, match=r"--paper tabel1: unknown table 'tabel1'; did you mean 'table1'"):
        paper_recipes("tabel1")


# value in percent by recipe and cell, typed from the tables a second time
TABLE_1 = {
    "table1-mnist-256": {"lstm": 98.90, "momentum": 99.08, "adam": 99.09, "rmsprop": 99.15, "sr-coupled": 99.01},
    "table1-pmnist-256": {"lstm": 92.29, "momentum": 94.72, "adam": 95.05, "rmsprop": 95.38, "sr-coupled": 93.82},
    "table1-pmnist-128": {"lstm": 92.00, "momentum": 93.40},
    "table4-pmnist-170": {"dtriv": 95.21, "momentum-dtriv": 95.37},
    "table4-pmnist-360": {"dtriv": 96.45, "momentum-dtriv": 96.73},
    "table4-pmnist-512": {"dtriv": 96.62, "momentum-dtriv": 96.89},
}


@pytest.mark.parametrize("name", TABLE_1)
def test_published_recipes_follow_the_authors(name: str) -> None:
    recipe = load_recipe(f"paper/{name}")
    assert {cell: entry.value for cell, entry in recipe.published.items()} == pytest.approx(
        {cell: value / 100 for cell, value in TABLE_1[name].items()}
    )
    assert {(entry.metric, entry.split, entry.epochs) for entry in recipe.published.values()} == {
        ("accuracy", "test", 150)
    }
    assert recipe.model.hidden_size == int(name.rpartition("-")[2])
    assert recipe.model.init == "paper"
    assert build_task(recipe).validation == "none"  # type: ignore[attr-defined]  # a field of these tasks
    assert (recipe.train.epochs, recipe.train.batch_size, recipe.train.clip_grad_norm) == (150, 128, 1.0)
    assert recipe.target is None
    for cell in recipe.published:
        own = recipe.override(f"model.cell={cell}")
        assert build_layer(own, 1).hidden_size == recipe.model.hidden_size


def test_settings_of_the_orthogonal_cells() -> None:
    expected = {
        170: (1, 7e-4, 2e-4, 0.6, 0.9),
        360: ("infty", 7e-4, 5e-5, 0.3, 0.3),
        512: ("infty", 3e-4, 7e-5, 0.3, 0.3),
    }
    for size, setting in expected.items():
        recipe = load_recipe(f"paper/table4-pmnist-{size}")
        cell = recipe.cells["momentum-dtriv"]
        orthogonal = recipe.optimizer.groups["orthogonal"]["lr"]
        found = (cell["basis_every"], recipe.optimizer.lr, orthogonal, cell["momentum"], cell["step_size"])
        assert found == setting
        assert recipe.cells["dtriv"]["basis_every"] == setting[0]
        assert recipe.optimizer.options["alpha"] == 0.99


def test_a_table_is_a_plan_of_its_published_cells() -> None:
    plan = make_plan((), paper="table1", seeds="0", epochs=2)
    cells = {c.name: [entry.label for entry in c.entries] for c in plan.comparisons}
    assert cells["paper/table1-pmnist-128"] == ["lstm", "momentum"]
    assert cells["paper/table1-mnist-256"] == ["lstm", "momentum", "adam", "rmsprop", "sr-coupled"]
    assert (plan.full, plan.paper, plan.baseline) == (True, True, "lstm")
    assert {entry.recipe.train.epochs for c in plan.comparisons for entry in c.entries} == {2}
    # cells that are not published for a recipe are left out of it, and a recipe without any
    plan = make_plan((), paper="table1", cells=["adam,momentum"], seeds="0")
    cells = {c.name: [entry.label for entry in c.entries] for c in plan.comparisons}
    assert cells["paper/table1-pmnist-128"] == ["momentum"]
    plan = make_plan((), paper="table1", cells=["adam"], seeds="0")
    assert "paper/table1-pmnist-128" not in [c.name for c in plan.comparisons]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cells": ["gru"]}, "no number is published for gru"),
        ({"grid": "momentum=0,0.5"}, "cannot be combined with --grid"),
        ({"lr_grid": "0.1,1"}, "cannot be combined with --lr-grid"),
        ({"optimizers": ["adam"]}, "cannot be combined with --optimizers"),
        ({"overrides": ["model.hidden_size=64"]}, "cannot be combined with --paper"),
        ({"overrides": ["cells.momentum.momentum=0.9"]}, "cannot be combined with --paper"),
        ({"overrides": ["task.validation=5000"]}, "cannot be combined with --paper"),
    ],
)
def test_what_does_not_go_with_a_published_table(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        make_plan((), paper="table1", **options)
    with pytest.raises(RecipeError, match="remove digits"):
        make_plan(["digits"], paper="table1")
    with pytest.raises(RecipeError, match="no number is published for paper/figure6-mnist"):
        make_plan((), paper="figure6")


RECIPE = """
task: {name: adding, length: 6, train_size: 96, validation_size: 64, test_size: 64}
model: {cell: lstm, hidden_size: 8}
optimizer: {name: adam, lr: 0.01}
train: {max_steps: 24, batch_size: 16, eval_every_n_steps: 4, seed: 0}
target: {metric: mse, value: 0.1}
published:
  lstm: {metric: mse, value: 0.25, std: 0.125, seeds: 5, epochs: 150, split: validation, source: a paper}
  momentum: {metric: mse, value: 0.0625, source: its log}
"""


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    (tmp_path / "small.yaml").write_text(RECIPE, encoding="utf-8")
    recipe = str(tmp_path / "small.yaml")
    monkeypatch.setattr("momentum_cli.benchmark.plan.planning.paper_recipes", lambda table, *_: (recipe,))
    return make_plan((), paper="small", seeds="0-1", cells=["lstm,momentum,momentum@slow:momentum=0.9"])


@pytest.fixture
def summary(plan: Plan) -> dict[str, Any]:
    curves = {"lstm": [[0.5, 0.3], [0.5, 0.1]], "momentum": [[0.2], [0.4]], "momentum@slow": [[0.2], [0.2]]}
    results, points = made_up(plan, curves, dict.fromkeys(curves, 1.0))
    return summarise(plan, results, points) | {"folder": ".", "tuning": None, "jobs": 1}


def test_ours_beside_theirs(summary: dict[str, Any]) -> None:
    (comparison,) = summary["comparisons"]
    table = paper_table(comparison)
    assert table is not None
    assert table.columns == ["cell", "ours", "after", "seeds", "published", "after ", "seeds ", "source"]
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["lstm"][0].startswith("0.2 ± ")  # the validation metric, as theirs
    assert rows["lstm"][3:] == ["0.25 ± 0.125", "150 epochs", "5", "a paper"]
    assert rows["momentum"][3:] == ["0.0625", "–", "–", "its log"]
    # a cell with options of its own is not the one that was published
    assert rows["momentum@slow"][3:] == ["–", "–", "–", "–"]
    assert comparison["published"].keys() == {"lstm", "momentum"}


def test_remarks_say_after_how_many_epochs(summary: dict[str, Any]) -> None:
    (comparison,) = summary["comparisons"]
    for run in comparison["runs"]:
        run["epochs"] = 3
    first, split, last = paper_remarks(summary)
    assert (
        first
        == "small: published after 150 epochs, ours after 3 epochs; their results after fewer epochs are not published"
    )
    assert "published is the best test accuracy of all epochs" in split
    assert "has no ±" in last
    for run in comparison["runs"]:
        run["epochs"] = 150
    assert paper_remarks(summary) == [split, last]
    table = paper_table(comparison)
    assert table is not None
    assert [row[2] for row in table.rows] == ["150 epochs"] * 3


@pytest.mark.parametrize("width", [80, 140])
def test_the_terminal_shows_both(summary: dict[str, Any], width: int) -> None:
    lines = list(summary_text(summary, width))
    assert any("0.25 ± 0.125" in line for line in lines)
    assert any(line.startswith("small: published after 150 epochs") for line in lines)
    title = next(i for i, line in enumerate(lines) if "ours and published" in line)
    assert all(len(line) <= width for line in lines[title : title + 5])


def test_a_published_table_is_run_and_reported(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("momentum_cli.benchmark.running.runner.measure_memory", lambda runs, *_: [None] * len(runs))
    out = tmp_path / "bench"
    content = bench(paper="small", cells=["momentum"], seeds="0", budget_steps=8, out=out)
    (comparison,) = content["comparisons"]
    # the target does not end the runs
    assert [run["steps"] for run in comparison["runs"]] == [8]
    assert comparison["published"] == {"momentum": plan.comparisons[0].recipe.published["momentum"].model_dump()}
    report = (out / "report.html").read_text(encoding="utf-8")
    assert "Ours and published" in report
    assert "its log" in report


def test_other_benchmarks_show_no_published_numbers(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(RECIPE, encoding="utf-8")
    plan = make_plan([str(tmp_path / "small.yaml")], cells=["lstm"], seeds="0")
    results, points = made_up(plan, {"lstm": [[0.5]]}, {"lstm": 1.0})
    (comparison,) = summarise(plan, results, points)["comparisons"]
    assert comparison["published"] is None
    assert paper_table(comparison) is None


def test_recipes_that_nothing_is_published_for_are_known() -> None:
    assert [name for name in PAPER if not load_recipe(name).published] == ["paper/figure6-mnist"]
    assert paper.PAPER_FLAG == "--paper"
