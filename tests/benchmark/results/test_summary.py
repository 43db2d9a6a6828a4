"""The table of a comparison, against one computed by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from small_bench import made_up, small_plan, write_recipe

from momentum_cli.benchmark.plan.plan import Plan
from momentum_cli.benchmark.plan.planning import make_plan
from momentum_cli.benchmark.results.files import read_bench, read_curves, write_bench, write_curves
from momentum_cli.benchmark.results.statistics import Point
from momentum_cli.benchmark.results.summary import summarise, summarise_runs
from momentum_cli.benchmark.tables.comparison import (
    aggregate_table,
    comparison_table,
    remarks,
    split_columns,
)
from momentum_cli.benchmark.tables.conclusion import verdicts
from momentum_cli.errors import DataError

INF = math.inf
CELLS = ("lstm", "momentum", "gru")


def summary_of(plan: Plan, curves: Any, seconds: Any, **options: Any) -> dict[str, Any]:
    results, points = made_up(plan, curves, seconds)
    return summarise(plan, results, points, **options)


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return small_plan(tmp_path, "lstm,momentum,gru", "0-2", target="0.1")


def test_a_comparison_by_hand(plan: Plan) -> None:
    # Evaluations every 4 steps of 16 samples; lstm takes 0.5 s a step, momentum 0.25 s, gru 1 s.
    curves = {
        "lstm": [[0.5, 0.1], [0.5, 0.3, 0.09], [0.05]],  # reached at 8, 12 and 4 steps: 4, 6 and 2 s
        "momentum": [[0.1], [0.4, 0.02], [0.9, 0.8, 0.7]],  # 4 and 8 steps, then a miss: 1, 2, inf
        "gru": [[0.9], [0.8], [0.7]],
    }
    summary = summary_of(plan, curves, {"lstm": 0.5, "momentum": 0.25, "gru": 1.0})
    lstm, momentum, gru = summary["comparisons"][0]["cells"]
    assert [cell["hits"] for cell in (lstm, momentum, gru)] == [3, 2, 0]
    assert lstm["train_seconds"] == {"median": 4.0, "min": 2.0, "max": 6.0}
    assert lstm["steps"] == {"median": 8.0, "min": 4, "max": 12}
    assert lstm["samples"]["median"] == 128.0
    assert lstm["wall_seconds"] == {"median": 6.0, "min": 3.0, "max": 9.0}  # one more second an evaluation
    assert momentum["train_seconds"] == {"median": 2.0, "min": 1.0, "max": INF}
    assert gru["train_seconds"] == {"median": INF, "min": INF, "max": INF}
    assert (lstm["speed_up"], momentum["speed_up"], gru["speed_up"]) == (1.0, 2.0, 0.0)
    assert lstm["speed_up_interval"] is None
    # seeds 2, 2, 2 drawn: 2 / inf = 0; seeds 0, 0, 0: 4 / 1 = 4
    assert momentum["speed_up_interval"] == [0.0, 4.0]
    assert momentum["best"]["mean"] == pytest.approx((0.1 + 0.02 + 0.7) / 3)
    assert momentum["misses"] == [{"seed": 2, "reason": "target not reached within 24 steps"}]
    assert not summary["anecdotal"]
    assert summary["aggregate"] is None


def test_the_scored_clock_may_be_steps(plan: Plan) -> None:
    same = dict.fromkeys(CELLS, [[0.5, 0.1]] * 3)
    summary = summary_of(plan, same, {"lstm": 1.0, "momentum": 0.1, "gru": 1.0})
    assert summary["comparisons"][0]["cells"][1]["speed_up"] == pytest.approx(10.0)
    results, points = made_up(plan, same, dict.fromkeys(CELLS, 1.0))
    assert summarise(plan, results, points, scored="steps")["comparisons"][0]["cells"][1]["speed_up"] == 1.0


def test_ties_all_misses_and_a_single_seed(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, "lstm,momentum", "0", target="0.1")
    tie = summary_of(plan, {"lstm": [[0.1]], "momentum": [[0.1]]}, {"lstm": 1.0, "momentum": 1.0})
    assert tie["comparisons"][0]["cells"][1]["speed_up"] == 1.0
    assert tie["comparisons"][0]["cells"][1]["speed_up_interval"] is None
    assert tie["anecdotal"]
    missed = summary_of(plan, {"lstm": [[0.5]], "momentum": [[0.5]]}, {"lstm": 1.0, "momentum": 1.0})
    assert math.isnan(missed["comparisons"][0]["cells"][1]["speed_up"])
    assert [cell["hits"] for cell in missed["comparisons"][0]["cells"]] == [0, 0]


def test_a_run_without_an_evaluation_is_a_miss_and_not_dropped(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, "lstm,momentum", "0-1", target="0.1")
    results, points = made_up(plan, {"lstm": [[0.1], [0.1]], "momentum": [[0.1], []]}, {"lstm": 1.0, "momentum": 1.0})
    results["small-momentum-seed1"] |= {"error": "diverged: x", "miss": "diverged: x", "selected_on": None}
    cell = summarise(plan, results, points)["comparisons"][0]["cells"][1]
    assert (cell["hits"], cell["runs"], cell["steps"]["median"]) == (1, 2, INF)
    assert cell["best"] == {"mean": 0.1, "sd": None, "runs": 1}
    assert cell["misses"] == [{"seed": 1, "reason": "diverged: x"}]


def test_three_recipes_have_an_aggregate(tmp_path: Path) -> None:
    recipes = [write_recipe(tmp_path, name) for name in ("a", "b", "c")]
    plan = make_plan(recipes, cells=["lstm,momentum"], seeds="0", target="0.1")
    results, points = made_up(plan, {"lstm": [[0.5, 0.1]], "momentum": [[0.1]]}, {"lstm": 1.0, "momentum": 1.0})
    # on c momentum takes three times as long as the lstm's 4 steps
    points["c-lstm-seed0"] = points["a-momentum-seed0"]
    points["c-momentum-seed0"] = [points["a-lstm-seed0"][0], Point(12, 192, 12.0, 12.0, 0.1)]
    summary = summarise(plan, results, points)
    lstm, momentum = summary["aggregate"]["cells"]
    assert lstm["ratios"] == [2.0, 2.0, 1.0]
    assert momentum["ratios"] == [1.0, 1.0, 3.0]
    assert lstm["score"] == pytest.approx((2 + 2 + 3) / 9)
    assert momentum["score"] == pytest.approx((3 + 3 + 1) / 9)
    assert momentum["geometric_mean"] == pytest.approx((2 * 2 / 3) ** (1 / 3))
    table = aggregate_table(summary)
    assert table is not None
    assert table.columns[:4] == ["cell", "hits", "geometric mean speed-up", "profile score"]
    assert table.rows[1][:4] == ["momentum", "3 of 3", "1.10×", "0.778"]
    two = make_plan(recipes[:2], cells=["lstm,momentum"], seeds="0", target="0.1")
    fewer = summarise(two, results, points)["aggregate"]
    assert [cell["score"] for cell in fewer["cells"]] == [None, None]


def test_files_bring_every_number_back(plan: Plan, tmp_path: Path) -> None:
    curves = {"lstm": [[0.1]] * 3, "momentum": [[0.9]] * 3, "gru": [[0.9, 0.1]] * 3}
    results, points = made_up(plan, curves, {"lstm": 0.1, "momentum": 0.3, "gru": 1 / 3})
    summary = summarise(plan, results, points)
    written = write_bench(tmp_path, summary)
    assert read_bench(tmp_path) == written
    assert math.isinf(read_bench(tmp_path)["comparisons"][0]["cells"][1]["steps"]["median"])
    write_curves(tmp_path / "runs.csv", summary["comparisons"], points)
    assert read_curves(tmp_path / "runs.csv") == points
    first = (tmp_path / "runs.csv").read_text().splitlines()[0]
    assert first == "run,comparison,cell,seed,step,samples,train_seconds,wall_seconds,metric,metric_name"


def test_damaged_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is the benchmark finished"):
        read_bench(tmp_path)
    for text, message in (("{", "damaged"), ("{}", "not the result"), ('{"format": "momentumrnn bench"}', "version")):
        (tmp_path / "bench.json").write_text(text)
        with pytest.raises(DataError, match=message):
            read_bench(tmp_path)
    with pytest.raises(DataError, match="must be in the folder of"):
        read_curves(tmp_path / "runs.csv")
    (tmp_path / "runs.csv").write_text("run,step\na,1\n")
    with pytest.raises(DataError, match="damaged"):
        read_curves(tmp_path / "runs.csv")


def test_the_best_naive_predictor_has_a_row(plan: Plan) -> None:
    curves = {"lstm": [[0.5, 0.1]] * 3, "momentum": [[0.1]] * 3, "gru": [[0.9]] * 3}
    results, points = made_up(plan, curves, {"lstm": 1.0, "momentum": 1.0, "gru": 1.0})
    without = comparison_table(summarise(plan, results, points)["comparisons"][0], summarise(plan, results, points))
    assert [row[0] for row in without.rows] == ["lstm", "momentum", "gru"]
    naive = [{"name": "last value", "metrics": {"mse": 0.25}}, {"name": "training mean", "metrics": {"mse": 1.0}}]
    # The results of runs that failed have none.
    found = {name: dict(result) | {"baselines": naive if number else []} for number, (name, result) in
             enumerate(results.items())}  # fmt: skip
    summary = summarise(plan, found, points)
    assert summary["comparisons"][0]["naive"] == naive
    table = comparison_table(summary["comparisons"][0], summary)
    row = dict(zip(table.columns, table.rows[-1], strict=True))
    assert row.pop("cell") == "naive: last value"
    assert row.pop("test mse") == "0.25"
    assert set(row.values()) == {"–"}


def test_tables_say_infinity_and_their_doubts(plan: Plan) -> None:
    curves = {"lstm": [[0.5, 0.1]] * 3, "momentum": [[0.1]] * 3, "gru": [[0.9]] * 3}
    summary = summary_of(plan, curves, {"lstm": 1.0, "momentum": 1.0, "gru": 1.0})
    comparison = summary["comparisons"][0]
    table = comparison_table(comparison, summary)
    assert table.title == "small: validation mse <= 0.1000"
    assert table.columns[:5] == ["cell", "hits", "train s", "steps", "samples"]
    assert table.rows[0][:6] == ["lstm", "3 of 3", "8.00", "8", "128", "baseline"]
    assert table.rows[1][:6] == ["momentum", "3 of 3", "4.00", "4", "64", "2.00× [2.00, 2.00]"]
    assert table.rows[2][:6] == ["gru", "0 of 3", "∞", "∞", "∞", "0.00× [0.00, 0.00]"]
    assert remarks(summary)[0] == "small gru, seeds 0, 1, 2: target not reached within 24 steps"
    assert verdicts(comparison, summary) == [
        "momentum: faster, 2.00 times as fast as lstm to the target (95 % interval 2.00 to 2.00)",
        "gru: missed the target in the median run, which lstm reached",
    ]


def test_verdicts_do_not_claim_what_the_interval_does_not_show(plan: Plan) -> None:
    curves = {"lstm": [[0.1]] * 3, "momentum": [[0.1], [0.9, 0.1], [0.9, 0.1]], "gru": [[0.9, 0.1]] * 3}
    summary = summary_of(plan, curves, {"lstm": 1.0, "momentum": 1.0, "gru": 1.0})
    first, second = verdicts(summary["comparisons"][0], summary)
    assert first.startswith("momentum: no clear difference, 0.50 times")
    assert second.startswith("gru: slower, 0.50 times")


def test_few_seeds_are_called_anecdotal(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, "lstm,momentum", "0-1", target="0.1")
    summary = summary_of(plan, {"lstm": [[0.1]] * 2, "momentum": [[0.1]] * 2}, {"lstm": 1.0, "momentum": 0.5})
    assert remarks(summary)[0].startswith("anecdotal: 2 seeds")
    assert "too few seeds" in verdicts(summary["comparisons"][0], summary)[0]


def test_seconds_are_not_scored_when_processes_compete(plan: Plan) -> None:
    curves = dict.fromkeys(CELLS, [[0.1]] * 3)
    summary = summary_of(plan, curves, dict.fromkeys(CELLS, 1.0), scored="steps") | {"jobs": 2}
    assert "speed-up (steps)" in comparison_table(summary["comparisons"][0], summary).columns
    assert any("steps are the scored clock" in line for line in remarks(summary))


def test_wide_tables_are_continued_below(plan: Plan) -> None:
    curves = dict.fromkeys(CELLS, [[0.1]] * 3)
    summary = summary_of(plan, curves, dict.fromkeys(CELLS, 1.0))
    table = comparison_table(summary["comparisons"][0], summary)
    parts = split_columns(table, 60)
    assert len(parts) > 1
    assert [name for part in parts for name in part.columns[1:]] == table.columns[1:]
    assert all(part.columns[0] == "cell" and part.rows[2][0] == "gru" for part in parts)
    assert split_columns(table, 500) == [table]


def test_single_runs_stand_side_by_side(plan: Plan) -> None:
    curves = {"lstm": [[0.5, 0.1]] * 3, "momentum": [[0.1]] * 3, "gru": [[0.9]] * 3}
    results, points = made_up(plan, curves, {"lstm": 1.0, "momentum": 1.0, "gru": 1.0})
    chosen = [results[f"small-{cell}-seed0"] for cell in ("lstm", "momentum", "gru")]
    comparison = summarise_runs(chosen, points)["comparisons"][0]
    assert [cell["label"] for cell in comparison["cells"]] == [run["id"] for run in chosen]
    assert [cell["speed_up"] for cell in comparison["cells"]] == [1.0, 2.0, 0.0]
