"""The paper's figures as benchmarks: what is trained, what is published, and the pictures and tables made of it."""

from __future__ import annotations

import itertools
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from small_bench import made_up, write_recipe

from momentum_cli.benchmark.bench import bench
from momentum_cli.benchmark.pictures.all import figures, svg_pictures
from momentum_cli.benchmark.plan import figures as plan_figures
from momentum_cli.benchmark.plan.figures import PUBLISHED_EPOCH_SECONDS, PUBLISHED_MINUTES, Figure, published_like
from momentum_cli.benchmark.plan.planning import make_plan
from momentum_cli.benchmark.report import page
from momentum_cli.benchmark.report.sources import Source
from momentum_cli.benchmark.results.files import add_losses
from momentum_cli.benchmark.results.summary import summarise
from momentum_cli.benchmark.running.contender import Contender
from momentum_cli.benchmark.tables.total_time import our_times, their_times, times_table
from momentum_cli.errors import RecipeError
from momentum_cli.pictures.style import house_style
from momentum_cli.recipe.recipe import load_recipe

ROOT = Path(__file__).parents[3]


def cells_of(figure: str, **options: Any) -> dict[str, tuple[int, list[str]]]:
    plan = make_plan((), paper=figure, seeds="0-1", epochs=12, **options)
    assert (plan.full, plan.figure, plan.leading()) == (True, figure, [])
    return {c.name: (c.recipe.model.hidden_size, [entry.label for entry in c.entries]) for c in plan.comparisons}


def test_what_each_figure_trains() -> None:
    gated = ["lstm", "momentum", "adam", "rmsprop", "sr"]
    assert cells_of("figure2") == {"mnist": (128, gated), "pmnist": (128, gated)}
    assert cells_of("figure3") == {"paper/table4-pmnist-170": (170, ["dtriv", "momentum-dtriv"])}
    assert cells_of("figure3", hidden_size=512) == {"paper/table4-pmnist-512": (512, ["dtriv", "momentum-dtriv"])}
    assert cells_of("figure3", hidden_size=64) == {"paper/table4-pmnist-170": (64, ["dtriv", "momentum-dtriv"])}
    assert cells_of("figure4", hidden_size=256, cells=["lstm,adam"]) == {"pmnist": (256, ["lstm", "adam"])}
    (comparison,) = make_plan((), paper="figure4").comparisons
    assert comparison.target is not None
    assert (comparison.target.metric, comparison.target.baseline) == ("accuracy", "lstm")


def test_what_is_published_for_a_size() -> None:
    def values(name: str, *changes: str) -> dict[str, float]:
        return {cell: entry.value for cell, entry in published_like(load_recipe(name, changes)).items()}

    assert values("pmnist") == {"lstm": 0.92, "momentum": 0.934}
    assert values("mnist") == {}
    assert values("pmnist", "model.hidden_size=170", "model.cell=dtriv") == {"dtriv": 0.9521, "momentum-dtriv": 0.9537}
    assert values("mnist", "model.hidden_size=256")["rmsprop"] == 0.9915
    (comparison,) = make_plan((), paper="figure3", hidden_size=64).comparisons
    assert comparison.published == {}


def test_published_times_give_the_published_ratios() -> None:
    theirs = their_times()
    assert PUBLISHED_MINUTES.keys() == PUBLISHED_EPOCH_SECONDS.keys() == set(theirs.total)
    assert theirs.speed_up("adam") == pytest.approx(767 / 225)
    assert theirs.text("total", "momentum") == "551 (1.39×)"
    assert theirs.text("epoch", "momentum") == "413"


def test_hidden_units_belong_to_a_figure() -> None:
    for options, message in (
        ({}, "give model.hidden_size=64"),
        ({"paper": "table1"}, "the recipes of a table have their own"),
    ):
        with pytest.raises(RecipeError, match=f"must be left out without --paper figure2.*{message}"):
            make_plan((), hidden_size=64, **options)
    with pytest.raises(RecipeError, match=r"unknown table 'figure22'; did you mean 'figure2'\?"):
        make_plan((), paper="figure22")


@pytest.fixture
def figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A figure of the small recipe."""
    small = Figure((write_recipe(tmp_path),), "lstm,momentum", target="baseline")
    monkeypatch.setitem(plan_figures.FIGURES, "figure4", small)
    monkeypatch.setitem(plan_figures.FIGURES, "figure2", Figure(small.recipes, small.cells))
    monkeypatch.setattr("momentum_cli.benchmark.running.runner.measure_memory", lambda runs, *_: [None] * len(runs))
    return "figure4"


def test_times_by_hand(figure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan((), paper=figure, seeds="0-1")
    object.__setattr__(plan.comparisons[0], "goals", {0: 0.1, 1: 0.2})
    # 8 steps are an epoch of the made-up runs; lstm takes 60 s a step, momentum 30 s.
    curves = {"lstm": [[0.5, 0.1], [0.2, 0.5]], "momentum": [[0.1, 0.1], [0.9, 0.8]]}
    results, points = made_up(plan, curves, {"lstm": 60.0, "momentum": 30.0})
    summary = summarise(plan, results, points)
    (comparison,) = summary["comparisons"]
    times = our_times(comparison, summary)
    assert times.unit == "minutes"
    assert times.total == {"lstm": [8.0, 4.0], "momentum": [2.0, float("inf")]}
    assert times.epoch == {"lstm": [480.0, 480.0], "momentum": [240.0, 240.0]}
    steps = our_times(comparison, {**summary, "scored": "steps"})
    assert (steps.unit, steps.epoch) == ("epochs", {})
    assert steps.total == {"lstm": [1.0, 0.5], "momentum": [0.5, float("inf")]}
    table = times_table(comparison, summary)
    assert table is not None
    assert table.rows[0] == ["lstm", "480", "6.00", "1.00×", "341", "767", "1.00×"]
    assert table.rows[1] == ["momentum", "240", "∞", "0.00×", "413", "551", "1.39×"]
    assert table.rows[-1] == ["sr-coupled", "–", "–", "–", "593", "348", "2.20×"]
    assert times_table(comparison, {**summary, "figure": None}) is None
    monkeypatch.setattr(page, "_pictures", lambda *_: {})
    parts = itertools.takewhile(
        "<h2>Where and how</h2>".__ne__, page._source(Source("b", summary, {}, {}, {}), 0, several=False)
    )
    headings = re.findall(r"<h3>.+?</h3>|hits", "".join(parts))
    titles = ("Ours and published", "Time to the accuracy of lstm", "Ours")
    assert headings[:4] == [*(f"<h3>{title}</h3>" for title in titles), "hits"]


@pytest.mark.parametrize("scored", ["train_seconds", "steps"])
@pytest.mark.parametrize("name", ["figure2", "figure4"])
def test_figures_are_drawn_and_reported(figure: str, tmp_path: Path, name: str, scored: str) -> None:
    plan = make_plan((), paper=name, seeds="0-1", target=None if name == figure else "0.1")
    object.__setattr__(plan.comparisons[0], "goals", {0: 0.1, 1: 0.2})
    curves = {"lstm": [[0.5, 0.1], [0.2, 0.5]], "momentum": [[0.1, 0.1], [0.9, 0.8]]}
    results, points = made_up(plan, curves, {"lstm": 60.0, "momentum": 30.0})
    summary = summarise(plan, results, points, scored=scored)
    for run in summary["comparisons"][0]["runs"]:
        run["losses"] = [[4, 1, 0.5, 0.4], [8, 2, float("nan"), 0.3]]
    with house_style():
        drawn = figures(summary, points)[name]()
        panels = drawn.axes
        if name == "figure4":
            assert len(panels) == (4 if scored == "train_seconds" else 3)
            bars = [bar.get_width() for bar in panels[0].patches]  # type: ignore[attr-defined]
            assert bars == ([480.0, 240.0] if scored == "train_seconds" else [0.75])  # momentum misses in the median
        else:
            assert [axes.get_ylabel() for axes in panels] == ["training loss", "validation loss", "validation mse"]
            assert panels[0].get_xlabel() == "epochs"
            assert list(panels[1].get_lines()[0].get_xdata()) == [1, 2]
    assert svg_pictures(summary, points, "p", 4.7, only=name)[name].startswith("<svg")


def test_losses_are_those_of_the_steps_since_the_last_evaluation(figure: str, tmp_path: Path) -> None:
    content = bench(
        paper="figure2", seeds="0", cells=["lstm"], overrides=["train.log_every_n_steps=2"], out=tmp_path / "o"
    )
    (run,) = content["comparisons"][0]["runs"]
    from momentum_cli.runs.metrics_log import read_metrics

    rows = read_metrics(tmp_path / "o" / "runs" / run["id"])
    train = {row["step"]: row["loss"] for row in rows if row["kind"] == "train"}
    assert [row[:2] for row in run["losses"]][:2] == [[4, 0], [8, 1]]
    assert run["losses"][1][2] == pytest.approx((train[6] + train[8]) / 2)
    assert (tmp_path / "o" / "figure2.png").stat().st_size > 1000
    assert "As figure 2 of the paper" in (tmp_path / "o" / "report.html").read_text(encoding="utf-8")
    run.pop("losses")
    add_losses(content, tmp_path / "elsewhere")
    assert run["losses"] == []


def test_figure_4_goes_on_from_the_runs_in_the_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is trained again: the recipes of those runs are still those of the figure."""
    shutil.copytree(ROOT / "docs" / "results" / "pmnist-128", tmp_path / "pmnist")
    monkeypatch.setattr(Contender, "__init__", lambda *arguments, **options: pytest.fail("a run was made anew"))
    monkeypatch.setattr("momentum_cli.benchmark.bench.draw_bench", lambda *arguments: None)
    content = bench(
        paper="figure4", budget_epochs=12, seeds="0", cells=["lstm,momentum"], clock="steps", out=tmp_path / "pmnist"
    )
    lstm, momentum = content["comparisons"][0]["cells"]
    assert content["comparisons"][0]["target"]["values"] == [0.828]
    assert (lstm["steps"]["median"], momentum["steps"]["median"]) == (5160, 4300)
    assert [row[1] for row in content["comparisons"][0]["runs"][0]["losses"]] == list(range(1, 13))
    assert (tmp_path / "pmnist" / "report.html").is_file()
