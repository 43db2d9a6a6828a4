"""Optimizers over a grid of learning rates: the request, robustness by hand, tables, pictures, the command."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from small_bench import GRID, made_up, small_plan, write_recipe

from momentum_cli.benchmark.bench import bench
from momentum_cli.benchmark.pictures.all import draw_bench, figures, svg_pictures
from momentum_cli.benchmark.pictures.panels import places_of
from momentum_cli.benchmark.plan.optimizers import parse_optimizers, parse_rates, rate_text
from momentum_cli.benchmark.plan.plan import Plan
from momentum_cli.benchmark.plan.planning import make_plan
from momentum_cli.benchmark.report.report import write_report
from momentum_cli.benchmark.results.files import read_traces, write_traces
from momentum_cli.benchmark.results.rates import best_rate, robustness
from momentum_cli.benchmark.results.statistics import quartiles
from momentum_cli.benchmark.results.summary import summarise
from momentum_cli.benchmark.running import runner
from momentum_cli.benchmark.tables.comparison import comparison_table
from momentum_cli.benchmark.tables.conclusion import verdicts
from momentum_cli.benchmark.tables.rates import diagnostics_table, rates_remarks, rates_table, robustness_text
from momentum_cli.cli import app
from momentum_cli.errors import DataError, RecipeError
from momentum_cli.runs.metrics_log import read_metrics

NAN = math.nan

# The request.


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["sgd,ahb-sgd"], [("sgd", "sgd", ()), ("ahb-sgd", "ahb-sgd", ())]),
        (
            ["sgd@heavy:momentum=0.9,nesterov=true,adam"],
            [("sgd@heavy", "sgd", ("momentum=0.9", "nesterov=true")), ("adam", "adam", ())],
        ),
        (["adam:eps=1e-6"], [("adam:eps=1e-6", "adam", ("eps=1e-6",))]),
        (["sgd@late:schedule.warmup_steps=3"], [("sgd@late", "sgd", ("schedule.warmup_steps=3",))]),
    ],
)
def test_optimizers(texts: list[str], expected: list[tuple[str, str, tuple[str, ...]]]) -> None:
    assert [(v.label, v.name, v.options) for v in parse_optimizers(texts)] == expected


def test_external_optimizers_have_short_names_unless_we_have_one_of_that_name() -> None:
    pytest.importorskip("pytorch_optimizer")
    parsed = parse_optimizers(
        ["pytorch_optimizer:adai@x:eps=1e-3", "pytorch_optimizer:adai", "pytorch_optimizer:adamw"]
    )
    assert [(v.label, v.name, v.options) for v in parsed] == [
        ("adai@x", "pytorch_optimizer:adai", ("eps=1e-3",)),
        ("adai", "pytorch_optimizer:adai", ()),
        ("pytorch_optimizer:adamw", "pytorch_optimizer:adamw", ()),
    ]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["ahb-sdg"], "did you mean 'ahb-sgd'"),
        (["sgd,sgd"], "is given twice"),
        ([","], "no optimizer given"),
        (["momentum=0.9"], "an option without an optimizer; write OPTIMIZER:momentum=0.9"),
        (["sgd:momentum"], "is not key=value"),
        (["sgd@a b"], "with a NAME of letters"),
        (["sgd:train.batch_size=7"], "cannot differ between optimizers"),
        (["sgd:optimizer.lr=7"], "cannot differ between optimizers"),
    ],
)
def test_wrong_optimizers_say_what_is_allowed(texts: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(message)):
        parse_optimizers(texts)


def test_rates_are_sorted_and_checked() -> None:
    assert parse_rates("1e-1, 3e-3,1") == (0.003, 0.1, 1.0)
    assert [rate_text(rate) for rate in (0.001, 3e-7, 1.0, 0.12345678)] == ["0.001", "3e-07", "1", "0.12345678"]
    for wrong in ("", "a", "0", "-1", "1,", "nan", "inf", "0.1,1e-1"):
        with pytest.raises(RecipeError, match="--lr-grid"):
            parse_rates(wrong)


def test_a_contender_is_a_cell_an_optimizer_and_a_rate(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, "lstm,gru", "0-1", optimizers=["adam,sgd@h:momentum=0.9"], lr_grid="0.1,0.01")
    entries = plan.comparisons[0].entries
    assert [entry.label for entry in entries[:5]] == [
        "lstm adam lr=0.01",
        "lstm adam lr=0.1",
        "lstm sgd@h lr=0.01",
        "lstm sgd@h lr=0.1",
        "gru adam lr=0.01",
    ]
    assert len(entries) == 8
    assert (plan.baseline, plan.rates) == ("lstm adam", (0.01, 0.1))
    heavy = entries[3].recipe
    assert (heavy.model.cell, heavy.optimizer.name, heavy.optimizer.lr) == ("lstm", "sgd", 0.1)
    assert heavy.optimizer.options["momentum"] == 0.9
    # everything besides cell and optimizer is shared, and all of a seed take turns
    rest = [entry.recipe.dump() | {"optimizer": None, "model": None, "cells": None} for entry in entries]
    assert all(other == rest[0] for other in rest)
    assert [[run.seed for run in group] for group in plan.groups()] == [[0] * 8, [1] * 8]
    assert plan.groups()[0][2].id == "small-lstm-sgd@h-lr=0.01-seed0"
    assert plan.groups()[0][2].arm == "lstm sgd@h"


def test_the_options_of_a_recipe_belong_to_its_own_optimizer() -> None:
    plan = make_plan(["mnist"], optimizers=["rmsprop,adam,rmsprop@x:alpha=0.5"], lr_grid="0.1")
    own, adam, other = (entry.recipe for entry in plan.comparisons[0].entries)
    assert own.model.cell == "momentum"  # the recipe's own cell when none is named
    assert own.optimizer.options["alpha"] == 0.9
    assert (adam.optimizer.name, "alpha" in adam.optimizer.options) == ("adam", False)
    assert other.optimizer.options["alpha"] == 0.5
    # without a grid an optimizer has its own rate or the recipe's, and the label does not name one
    plan = make_plan(["mnist"], optimizers=["adam,sgd:lr=0.5"])
    assert [(e.label, e.recipe.optimizer.lr) for e in plan.comparisons[0].entries] == [
        ("momentum adam", 0.001),
        ("momentum sgd:lr=0.5", 0.5),
    ]
    # and a grid without optimizers is that of the recipe's
    plan = make_plan(["mnist"], lr_grid="0.1,0.2")
    assert [entry.label for entry in plan.comparisons[0].entries] == ["momentum lr=0.1", "momentum lr=0.2"]
    assert {entry.recipe.optimizer.name for entry in plan.comparisons[0].entries} == {"rmsprop"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"overrides": ["optimizer.lr=0.1"], "lr_grid": "0.1"}, "cannot be combined with --lr-grid"),
        ({"overrides": ["optimizer.eps=0.1"], "optimizers": ["adam"]}, "cannot be combined with --optimizers"),
        ({"cells": ["lstm:optimizer.lr=1"], "lr_grid": "0.1"}, "cannot be combined with --lr-grid"),
        ({"optimizers": ["adam:lr=0.1"], "lr_grid": "0.1"}, "lr is given by --lr-grid"),
        ({"optimizers": ["adam:bogus=0.1"]}, "bogus"),
        ({"optimizers": ["adam"], "baseline": "adam"}, "not one of the cells with their optimizers momentum adam"),
    ],
)
def test_contradictions(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        make_plan([], **options)


# Robustness and the best rate, by hand.


@pytest.mark.parametrize(
    ("reached", "expected"),
    [
        ("....", (None, None, None, 0, False, False)),
        (".#..", (0.0, 0.01, 0.01, 1, False, False)),
        ("#...", (0.0, 0.001, 0.001, 1, True, False)),
        ("####", (3.0, 0.001, 1.0, 4, True, True)),
        (".##.", (1.0, 0.01, 0.1, 2, False, False)),
        ("..##", (1.0, 0.1, 1.0, 2, False, True)),
        ("##.#", (1.0, 0.001, 0.01, 3, True, False)),
        ("#.##", (1.0, 0.1, 1.0, 3, False, True)),
        ("#.#.", (0.0, 0.001, 0.001, 2, True, False)),
    ],
)
def test_robustness_by_hand(reached: str, expected: tuple[Any, ...]) -> None:
    found = robustness([0.001, 0.01, 0.1, 1.0], [sign == "#" for sign in reached])
    decades = None if found.decades is None else round(found.decades, 12)
    assert (decades, found.low, found.high, found.reached, found.open_below, found.open_above) == expected


def test_the_width_is_in_decades_and_not_in_points() -> None:
    # three close points are narrower than two far ones
    found = robustness([0.001, 0.0011, 0.0012, 0.01, 0.1, 1.0], [True, True, True, False, True, True])
    assert (found.decades, found.low) == (pytest.approx(1.0), 0.1)
    assert robustness([0.01, 0.03], [True, True]).decades == pytest.approx(math.log10(3))
    # equally wide: the smaller rates
    assert robustness([0.001, 0.01, 0.05, 0.1, 1.0], [True, True, False, True, True]).low == 0.001
    for rates, reached in (([0.1, 0.01], [True, True]), ([0.1, 0.1], [True, True]), ([0.1], [])):
        with pytest.raises(ValueError, match="rates"):
            robustness(rates, reached)


def row(steps: float, mean: float | None, runs: int = 3) -> dict[str, Any]:
    return {"steps": {"median": steps}, "best": {"mean": mean, "runs": runs}}


@pytest.mark.parametrize(
    ("rows", "metric", "best"),
    [
        ([row(40, 0.90), row(20, 0.80), row(math.inf, 0.99)], "accuracy", 1),
        ([row(20, 0.80), row(20, 0.90)], "accuracy", 1),
        ([row(20, 0.80), row(20, 0.90)], "mse", 0),
        ([row(math.inf, 0.5), row(math.inf, 0.7), row(math.inf, 0.6)], "accuracy", 1),
        ([row(math.inf, None, 0), row(math.inf, 0.1), row(math.inf, NAN)], "accuracy", 1),
        ([row(math.inf, 0.9, 1), row(math.inf, 0.7, 3)], "accuracy", 1),
        ([row(math.inf, 0.5), row(math.inf, 0.5)], "accuracy", 0),
    ],
)
def test_the_best_rate(rows: list[dict[str, Any]], metric: str, best: int) -> None:
    assert best_rate(rows, metric) == best


def test_quartiles_by_hand() -> None:
    assert quartiles([4.0, 1.0, 2.0, 3.0, 5.0]) == (2.0, 3.0, 4.0)
    assert quartiles([0.0, 1.0]) == (0.25, 0.5, 0.75)
    assert quartiles([7.0]) == (7.0, 7.0, 7.0)
    with pytest.raises(ValueError, match="nothing"):
        quartiles([])


# A grid by hand: evaluations every 4 steps, target mse <= 0.1, three seeds.

HIT4, HIT8, MISS = [0.1], [0.5, 0.08], [0.9, 0.7]
CURVES: dict[str, list[list[float]]] = {
    "lstm adam lr=0.001": [HIT8, HIT8, MISS],  # two of three: the median run hits, after 8 steps
    "lstm adam lr=0.01": [HIT4, HIT4, HIT4],
    "lstm adam lr=0.1": [HIT4, MISS, MISS],
    "lstm adam lr=1": [[], [], []],  # diverged before the first evaluation
    "lstm ahb-sgd lr=0.001": [MISS, MISS, MISS],
    "lstm ahb-sgd lr=0.01": [HIT8, HIT8, HIT8],
    "lstm ahb-sgd lr=0.1": [MISS, HIT8, MISS],
    "lstm ahb-sgd lr=1": [HIT8, HIT4, HIT8],
}


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, dict[str, Any], Any, Any]:
    folder = tmp_path_factory.mktemp("grid")
    options: dict[str, Any] = {"optimizers": ["adam,ahb-sgd"], "lr_grid": "1e-3,1e-2,1e-1,1", "target": "0.1"}
    plan = small_plan(folder, "lstm", "0-2", **options)
    results, points = made_up(plan, CURVES, dict.fromkeys(CURVES, 0.5))
    for run in results.values():
        if run["label"] == "lstm adam lr=1":
            run |= {"error": "diverged: loss nan", "miss": "diverged: loss nan", "selected_on": None}
    traces = {f"small-lstm-ahb-sgd-lr=0.01-seed{seed}": {"beta": [(4, 0.1 * seed), (8, 0.4)]} for seed in range(3)} | {
        "small-lstm-ahb-sgd-lr=1-seed0": {"beta": [(4, 0.9)]}
    }
    return plan, summarise(plan, results, points, traces), points, traces


def test_a_grid_by_hand(grid: tuple[Plan, dict[str, Any], Any, Any]) -> None:
    _, summary, _, _ = grid
    (comparison,) = summary["comparisons"]
    adam, ahb = comparison["arms"]
    assert [arm["arm"] for arm in (adam, ahb)] == ["lstm adam", "lstm ahb-sgd"]
    assert [row["hits"] for row in adam["rates"]] == [2, 3, 1, 0]
    assert [row["reached"] for row in adam["rates"]] == [True, True, False, False]
    assert adam["robustness"]["decades"] == pytest.approx(1.0)
    assert (adam["robustness"]["low"], adam["robustness"]["high"], adam["robustness"]["open_below"]) == (
        1e-3,
        1e-2,
        True,
    )
    assert adam["best_lr"] == 0.01
    # a gap at 0.1: two rates reach the target, and the range is one of them
    assert [row["reached"] for row in ahb["rates"]] == [False, True, False, True]
    assert (ahb["robustness"]["decades"], ahb["robustness"]["low"], ahb["robustness"]["reached"]) == (0.0, 0.01, 2)
    assert ahb["best_lr"] == 0.01  # as many steps as 1, and a better mean
    # the rows of the comparison are the arms at their best rates, relative to the first
    assert [cell["label"] for cell in comparison["cells"]] == ["lstm adam lr=0.01", "lstm ahb-sgd lr=0.01"]
    assert [cell["speed_up"] for cell in comparison["cells"]] == [1.0, 0.5]
    assert comparison["baseline"] == "lstm adam lr=0.01"
    # 0, 0.1, 0.2 and three times 0.4
    told = comparison["cells"][1]["diagnostics"]["beta"]
    assert told == pytest.approx({"q1": 0.125, "median": 0.3, "q3": 0.4})
    assert comparison["cells"][0]["diagnostics"] == {}
    assert len(comparison["runs"]) == 24
    assert json.dumps(summary)


def test_the_tables_of_a_grid(grid: tuple[Plan, dict[str, Any], Any, Any]) -> None:
    _, summary, _, _ = grid
    (comparison,) = summary["comparisons"]
    table = rates_table(comparison)
    assert table is not None
    assert table.columns == ["at learning rate", "0.001", "0.01", "0.1", "1", "robustness", "best lr", "steps at it"]
    assert table.rows == [
        ["lstm adam", "0.287 2/3", "0.1 3/3", "0.5 1/3", "– 0/3", ">=1 (0.001–0.01)", "0.01", "4"],
        ["lstm ahb-sgd", "0.7 0/3", "0.08 3/3", "0.493 1/3", "0.0867 3/3", "0 (0.01)", "0.01", "8"],
    ]
    assert comparison_table(comparison, summary).rows[0][5] == "baseline"
    assert verdicts(comparison, summary) == [
        "lstm ahb-sgd lr=0.01: slower, 0.50 times as fast as lstm adam lr=0.01 to the target "
        "(95 % interval 0.50 to 0.50)"
    ]
    told = diagnostics_table(comparison)
    assert told is not None
    assert told.rows == [["lstm ahb-sgd lr=0.01", "beta", "0.125", "0.3", "0.4"]]
    remarks = rates_remarks(summary)
    assert any("3 of 24 runs ended with an error, the first one: diverged: loss nan" in line for line in remarks)


def test_words_of_robustness() -> None:
    def words(reached: str) -> str:
        from dataclasses import asdict

        return robustness_text(asdict(robustness([0.001, 0.01, 0.1, 1.0], [sign == "#" for sign in reached])))

    assert [words(text) for text in ("....", ".#..", ".##.", "..##", "####")] == [
        "none",
        "0 (0.01)",
        "1 (0.01–0.1)",
        ">=1 (0.1–1)",
        ">=3 (0.001–1)",
    ]
    assert robustness_text(None) == "–"


def test_without_a_target_there_is_no_robustness(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, "lstm", "0-2", optimizers=["adam,ahb-sgd"], lr_grid="1e-3,1e-2,1e-1,1", target="0.1")
    results, points = made_up(plan, CURVES, dict.fromkeys(CURVES, 0.5))
    free = make_plan(
        [str(tmp_path / "small.yaml")],
        cells=["lstm"],
        seeds="0-2",
        optimizers=["adam,ahb-sgd"],
        lr_grid="1e-3,1e-2,1e-1,1",
        overrides=["target=null"],
    )
    (comparison,) = summarise(free, results, points)["comparisons"]
    assert comparison["arms"][1]["robustness"] is None
    assert comparison["arms"][1]["best_lr"] == 0.01
    table = rates_table(comparison)
    assert table is not None
    assert table.columns[-1] == "best lr"
    assert table.rows[1][2] == "0.08"


def test_a_comparison_without_a_grid_has_no_arms(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, "lstm", "0", optimizers=["adam,sgd"], target="0.1")
    results, points = made_up(plan, {"lstm adam": [HIT4], "lstm sgd": [HIT8]}, {"lstm adam": 1.0, "lstm sgd": 1.0})
    (comparison,) = summarise(plan, results, points)["comparisons"]
    assert comparison["arms"] is None
    assert rates_table(comparison) is None
    assert [cell["speed_up"] for cell in comparison["cells"]] == [1.0, 0.5]


def test_each_recipe_has_its_own_best_rates(tmp_path: Path) -> None:
    recipes = [write_recipe(tmp_path, name) for name in ("a", "b")]
    options: dict[str, Any] = {"optimizers": ["adam,sgd"], "lr_grid": "0.1,1", "target": "0.1", "seeds": "0"}
    plan = make_plan(recipes, cells=["lstm"], **options)
    curves = {"lstm adam lr=0.1": [HIT4], "lstm adam lr=1": [HIT8], "lstm sgd lr=0.1": [MISS], "lstm sgd lr=1": [HIT8]}
    results, points = made_up(plan, curves, dict.fromkeys(curves, 1.0))
    # on b adam is better at the other rate
    points["b-lstm-adam-lr=0.1-seed0"], points["b-lstm-adam-lr=1-seed0"] = (
        points["b-lstm-adam-lr=1-seed0"],
        points["b-lstm-adam-lr=0.1-seed0"],
    )
    summary = summarise(plan, results, points)
    assert [c["arms"][0]["best_lr"] for c in summary["comparisons"]] == [0.1, 1.0]
    assert [row["label"] for row in summary["aggregate"]["cells"]] == ["lstm adam", "lstm sgd"]
    assert [row["ratios"] for row in summary["aggregate"]["cells"]] == [[1.0, 1.0], [2.0, 2.0]]


# Files and pictures.


def test_traces_come_back_from_their_file(tmp_path: Path) -> None:
    traces = {"a": {"beta": [(10, 0.25), (20, 1 / 3)], "rho": [(10, -1.0)]}, "b": {"beta": [(10, 0.0)]}}
    path = tmp_path / "diagnostics.csv"
    assert read_traces(path) == {}
    write_traces(path, traces)
    assert read_traces(path) == traces
    assert path.read_text().splitlines()[0] == "run,step,name,value"
    write_traces(path, {"a": {}})
    assert not path.exists()
    path.write_text("run,step,name,value\na,x,beta,1\n")
    with pytest.raises(DataError, match="damaged"):
        read_traces(path)


def test_the_pictures_of_a_grid(grid: tuple[Plan, dict[str, Any], Any, Any], tmp_path: Path) -> None:
    _, summary, points, traces = grid
    draw_bench(summary, points, tmp_path, traces)
    names = {"heat_map", "rates", "curves", "time_to_target", "diagnostics"}
    assert {path.stem for path in tmp_path.glob("*.png")} == names
    pictures = svg_pictures(summary, points, "p", traces=traces)
    assert set(pictures) == names
    words = {name: "".join(ElementTree.fromstring(svg).itertext()) for name, svg in pictures.items()}
    for text in ("lstm ahb-sgd", "0.01", "3/3", "0.29", "–"):
        assert text in words["heat_map"], text
    # ink on a coloured cell must not follow the colours of the page
    assert set(re.findall(r"fill: (#(?:111111|fefefe))", pictures["heat_map"])) == {"#111111", "#fefefe"}
    assert "steps to target" in words["rates"]
    assert "beta" in words["diagnostics"]
    assert "lstm ahb-sgd lr=0.01" in words["diagnostics"]
    assert "lstm adam" not in words["diagnostics"]
    without = {**summary, "comparisons": [{**summary["comparisons"][0], "arms": None}]}
    assert set(figures(without, points)) == {"curves", "time_to_target"}


def test_optimizers_differ_in_colour_and_cells_in_the_line(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, "lstm,gru", "0", optimizers=["adam,sgd"], target="0.1")
    names = ["lstm adam", "lstm sgd", "gru adam", "gru sgd"]
    results, points = made_up(plan, {name: [HIT4] for name in names}, dict.fromkeys(names, 1.0))
    assert places_of(summarise(plan, results, points)["comparisons"][0]) == dict(zip(names, (0, 1, 7, 8), strict=True))


# The command.


@pytest.fixture
def no_memory(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    measured: list[int] = []

    def measure(runs: list[Any], *rest: Any) -> list[int | None]:
        measured.append(len(runs))
        return [2**20] * len(runs)

    monkeypatch.setattr(runner, "measure_memory", measure)
    return measured


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], no_memory: list[int]) -> None:
    recipe, out = write_recipe(tmp_path), tmp_path / "out"
    arguments = [
        "bench",
        recipe,
        "train.max_steps=8",
        "train.log_every_n_steps=2",
        "--seeds",
        "0",
        "--target",
        "mse=0.5",
    ]
    arguments += ["--optimizers", "adam,ahb-sgd", "--lr-grid", "1e-2,1e-1", "--out", str(out), "--json"]
    with pytest.raises(SystemExit) as ended:
        app(arguments)
    assert ended.value.code == 0
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 1
    (comparison,) = json.loads(captured.out)["comparisons"]
    assert [arm["arm"] for arm in comparison["arms"]] == ["lstm adam", "lstm ahb-sgd"]
    assert no_memory == [2], "memory is that of an arm, whatever its learning rate"
    assert "at learning rate" in captured.err
    traces = read_traces(out / "diagnostics.csv")
    assert set(traces) == {"small-lstm-ahb-sgd-lr=0.01-seed0", "small-lstm-ahb-sgd-lr=0.1-seed0"}
    assert all(trace["beta"][0][0] == 2 for trace in traces.values())
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Over learning rates" in page
    assert "What optimizers chose" in page
    assert (out / "heat_map.png").is_file()
    # the page is made again from the files alone
    before = len(page)
    write_report(out)
    assert len((out / "report.html").read_text(encoding="utf-8")) == before
    # only those that choose something have a column for it
    home = out / "runs" / "small-lstm-adam-lr=0.01-seed0"
    assert "beta" not in (home / "metrics.csv").read_text(encoding="utf-8").splitlines()[0]
    rows = read_metrics(out / "runs" / "small-lstm-ahb-sgd-lr=0.1-seed0", "train")
    assert [row["step"] for row in rows] == [2, 4, 6, 8][: len(rows)]
    assert all(0 <= row["beta"] <= 0.999 for row in rows)
    assert GRID == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--optimizers", "ahb-sdg"], "did you mean 'ahb-sgd'"),
        (["--lr-grid", "fast"], "a rate must be a number > 0"),
        (["--lr-grid", "0.1", "--tuned", "4"], "give one of the two"),
        (["--speed", "--lr-grid", "0.1"], "belongs to a training"),
    ],
)
def test_wrong_usage_ends_with_2(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        app(["bench", *arguments, "--out", str(tmp_path / "out")])
    assert ended.value.code == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not (tmp_path / "out").exists()


def test_more_rates_extend_a_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_memory: list[int]) -> None:
    monkeypatch.setattr("momentum_cli.benchmark.bench.draw_bench", lambda *arguments: None)
    monkeypatch.setattr("momentum_cli.benchmark.report.report.write_report", lambda *arguments: None)
    recipe, out = write_recipe(tmp_path), tmp_path / "out"
    options: dict[str, Any] = {"seeds": "0", "budget_steps": 4, "optimizers": ["nhb"], "out": out}
    first = bench([recipe], **options, lr_grid="0.1")
    again = bench([recipe], **options, lr_grid="0.1,0.01")
    kept = [run for run in again["comparisons"][0]["runs"] if run["label"] == "lstm nhb lr=0.1"]
    assert kept == first["comparisons"][0]["runs"]
    assert len(again["comparisons"][0]["runs"]) == 2
