"""The whole command: its files, its one JSON object, its folder, and that a kill changes nothing in the table."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from small_bench import write_recipe

from momentum_cli.benchmark.bench import bench
from momentum_cli.benchmark.report.sources import read_sources, require_one_machine
from momentum_cli.benchmark.results.files import read_bench, read_curves
from momentum_cli.benchmark.running import runner
from momentum_cli.benchmark.running.contender import Contender
from momentum_cli.benchmark.tables.comparison import comparison_table, remarks
from momentum_cli.cli import app
from momentum_cli.errors import DataError, RecipeError, RunError, SettingError
from momentum_cli.runs.lock import locked

CELLS = "lstm,momentum"


@pytest.fixture(autouse=True)
def no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "measure_memory", lambda runs, *rest: [None] * len(runs))


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than training here."""
    monkeypatch.setattr("momentum_cli.benchmark.bench.draw_bench", lambda *arguments: None)
    monkeypatch.setattr("momentum_cli.benchmark.report.report.write_report", lambda *arguments: None)


def table(content: dict[str, Any]) -> Any:
    """Everything of bench.json that does not depend on how fast the machine is."""
    return [
        {
            "target": comparison["target"],
            "cells": [
                {key: cell[key] for key in ("label", "hits", "steps", "samples", "best", "test", "misses")}
                for cell in comparison["cells"]
            ],
            "runs": [
                {key: run[key] for key in ("id", "reached", "steps", "best", "best_step", "test", "stop_reason")}
                for run in comparison["runs"]
            ],
        }
        for comparison in content["comparisons"]
    ]


def test_json_is_one_object_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe, out = write_recipe(tmp_path), tmp_path / "out"
    arguments = ["bench", recipe, "train.max_steps=8", "--cells", CELLS, "--seeds", "0", "--target", "mse=0.5"]
    with pytest.raises(SystemExit) as ended:
        app([*arguments, "--out", str(out), "--json"])
    assert ended.value.code == 0
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 1
    content = json.loads(captured.out)
    assert content["comparisons"][0]["target"] == {"metric": "mse", "value": 0.5}
    assert "[2/2]" in captured.err
    shown = captured.out + captured.err
    assert not [c for c in shown if unicodedata.category(c) == "Cc" and c != "\n"]
    for name in ("bench.json", "runs.csv", "curves.png", "time_to_target.png", "report.html"):
        assert (out / name).stat().st_size > 100, name
    assert not (out / "profile.png").exists()
    written = read_bench(out)
    assert written["comparisons"][0]["cells"][0]["label"] == "lstm"
    assert set(read_curves(out / "runs.csv")) == {run["id"] for run in written["comparisons"][0]["runs"]}
    assert torch.__version__.startswith(written["environment"]["packages"]["torch"])
    # the alias, and the report made again from the files
    with pytest.raises(SystemExit) as ended:
        app(["benchmark", recipe, "train.max_steps=8", "--cells", CELLS, "--seeds", "0", "--out", str(out), "-q"])
    assert ended.value.code == 2, "another target in the same folder is another benchmark's run"
    capsys.readouterr()
    before = (out / "report.html").read_text(encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        app(["report", str(out)])
    assert ended.value.code == 0
    assert capsys.readouterr().out.strip() == str(out / "report.html")
    # what an SVG calls its clips is drawn by chance
    assert len((out / "report.html").read_text(encoding="utf-8")) == len(before)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Bits are compared: a matrix product of torch may sum in another order when it has several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("no_pictures", "one_thread")
@pytest.mark.timeout(280)
def test_a_killed_bench_gives_the_table_of_one_that_was_not(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, train="{max_steps: 60, batch_size: 16, eval_every_n_steps: 4, seed: 0}")
    options = {"cells": [CELLS], "seeds": "0-1", "target": "0.02"}
    whole = bench([recipe], **options, out=tmp_path / "whole")  # type: ignore[arg-type]
    script = (
        "import sys, torch; from pathlib import Path; import momentum_cli.benchmark.running.runner as runner;"
        "import momentum_cli.benchmark.running.contender as contender;"
        "runner.measure_memory = lambda runs, *rest: [None] * len(runs); contender.TURN_SECONDS = 0.001;"
        "execute = contender.Contender.turn;"
        # every turn is saved, so that the kill leaves a run in the middle
        "contender.Contender.turn = lambda self, *a: (setattr(self, '_save_every', 0.0), execute(self, *a))[1];"
        "from momentum_cli.__main__ import main; main()"
    )
    command = [sys.executable, "-c", script, "bench", recipe, "--cells", CELLS, "--seeds", "0-1", "--target", "0.02"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    out = tmp_path / "killed"
    with subprocess.Popen(
        [*command, "--out", str(out)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        seen = []
        for line in process.stdout:
            seen.append(line)
            if line.startswith("[2/4]"):
                break
        else:
            raise AssertionError("".join(seen))
        # two runs are over, the other two are somewhere
        middle = out / "runs" / "small-momentum-seed1" / "checkpoints" / "last.safetensors"
        while process.poll() is None and not middle.is_file():
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)
        process.stdout.read()
    assert process.returncode == -signal.SIGKILL
    assert not (out / "bench.json").exists()
    resumed = bench([recipe], **options, out=out)  # type: ignore[arg-type]
    assert table(resumed) == table(whole)
    curves = []
    for folder in (tmp_path / "whole", out):
        read = read_curves(folder / "runs.csv")
        curves.append({run: [(p.step, p.samples, p.value) for p in points] for run, points in read.items()})
    assert curves[0] == curves[1]


@pytest.mark.usefixtures("no_pictures")
def test_without_out_an_unfinished_bench_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = write_recipe(tmp_path)
    options: dict[str, Any] = {"cells": [CELLS], "seeds": "0", "budget_steps": 8}
    first = bench([recipe], **options)
    assert first["folder"] == "runs/bench-small-001"
    assert bench([recipe], **options)["folder"] == "runs/bench-small-002"
    Path("runs/bench-small-001/bench.json").unlink()
    assert bench([recipe], **{**options, "budget_steps": 4})["folder"] == "runs/bench-small-003"
    assert bench([recipe], **options)["folder"] == "runs/bench-small-001"


@pytest.mark.usefixtures("no_pictures")
def test_more_seeds_extend_a_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, out = write_recipe(tmp_path), tmp_path / "out"
    bench([recipe], cells=["lstm"], seeds="0", budget_steps=8, out=out)
    trained: list[Contender] = []
    interleave = runner._interleave

    def watched(active: list[Contender], received: list[int]) -> Any:
        trained.extend(active)
        return interleave(active, received)

    monkeypatch.setattr(runner, "_interleave", watched)
    content = bench([recipe], cells=["lstm"], seeds="0-1", budget_steps=8, out=out)
    assert [contender.spec.id for contender in trained] == ["small-lstm-seed1"]
    assert content["comparisons"][0]["cells"][0]["runs"] == 2


@pytest.mark.usefixtures("no_pictures")
def test_folders_that_are_something_else(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path)
    options: dict[str, Any] = {"cells": ["lstm"], "seeds": "0", "budget_steps": 4}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(RecipeError, match="not empty and not a benchmark"):
        bench([recipe], **options, out=tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "x"
    out = tmp_path / "out"
    bench([recipe], **options, out=out)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(RecipeError, match="another recipe"):
        bench([recipe], **options, out=out, overrides=["optimizer.lr=0.5"])
    plan = json.loads((out / "plan.json").read_text())
    plan["machine"]["cpu"] = "Another processor"
    (out / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(RecipeError, match="cpu Another processor there"):
        bench([recipe], **options, out=out)
    bench([recipe], **options, out=out, overrides=["optimizer.lr=0.5"], overwrite=True)
    assert (out / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("jobs", [1, 2])
def test_broken_data_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [f"{hour},{'x' if hour == 30 else hour}\n" for hour in range(99)]
    Path("broken.csv").write_text("".join(["time,value\n", *rows]))
    task = "name: files, path: broken.csv, kind: forecasting, order: time, features: [value], target: value, window: 4"
    Path("broken.yaml").write_text(
        f"task: {{{task}, horizon: 1}}\nmodel: {{cell: lstm, hidden_size: 4}}\noptimizer: {{name: adam, lr: 0.01}}\n"
    )
    before = sorted(Path().rglob("*"))
    options: dict[str, Any] = {"cells": ["lstm"], "seeds": "0-1", "budget_steps": 4, "target": "mse=0.1", "jobs": jobs}
    for out in (Path("new/out"), None):
        with pytest.raises(DataError, match="row 32"):
            bench(["broken.yaml"], **options, out=out)
        assert sorted(Path().rglob("*")) == before
    Path("there").mkdir()
    with pytest.raises(DataError, match="row 32"):
        bench(["broken.yaml"], **options, out=Path("there"))
    assert not list(Path("there").iterdir())


@pytest.mark.usefixtures("no_pictures")
def test_on_the_clock_of_steps_a_bench_continues_on_another_machine(tmp_path: Path) -> None:
    recipe, out = write_recipe(tmp_path), tmp_path / "out"
    options: dict[str, Any] = {"cells": ["lstm"], "budget_steps": 4, "out": out}
    bench([recipe], **options, seeds="0")
    plan = json.loads((out / "plan.json").read_text())
    plan["machine"]["cpu"] = "Another processor"
    (out / "plan.json").write_text(json.dumps(plan))
    content = bench([recipe], **options, seeds="0-1", clock="steps")
    assert (content["scored"], [machine["cpu"] for machine in content["earlier_machines"]]) == (
        "steps",
        ["Another processor"],
    )
    table = comparison_table(content["comparisons"][0], content)
    assert {"train s", "ms/step"}.isdisjoint(table.columns)
    assert {len(row) for row in table.rows} == {len(table.columns)}
    assert "2 machines" in remarks(content)[1]
    # Once more on this one: the other is named once.
    assert bench([recipe], **options, seeds="0-1", clock="steps")["earlier_machines"] == content["earlier_machines"]
    with pytest.raises(RecipeError, match=r"made on a third machine.*--clock steps"):
        bench([recipe], **options, seeds="0-1")
    require_one_machine(read_sources([out]))  # it shows no seconds
    with pytest.raises(RecipeError, match="--jobs 2"):
        bench([recipe], **options, seeds="0", clock="seconds", jobs=2)
    with pytest.raises(RecipeError, match="unknown clock 'hours'"):
        bench([recipe], **options, seeds="0", clock="hours")


@pytest.mark.usefixtures("no_pictures")
def test_a_benchmark_that_is_at_work_is_not_touched(tmp_path: Path) -> None:
    recipe, out = write_recipe(tmp_path), tmp_path / "out"
    options: dict[str, Any] = {"cells": ["lstm"], "seeds": "0", "budget_steps": 4, "out": out}
    bench([recipe], **options)

    def content() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in out.rglob("*") if path.is_file()}

    before = content()
    for change in ({"overwrite": True}, {"seeds": "0-1"}):
        with locked(out, "benchmark"), pytest.raises(RecipeError, match="another benchmark is running in this folder"):
            bench([recipe], **{**options, **change})
        assert content() == before


@pytest.mark.usefixtures("no_pictures")
def test_recipes_with_attacks_are_compared_like_others(tmp_path: Path) -> None:
    train = "max_steps: 8, batch_size: 16, eval_every_n_steps: 4, seed: 0"
    attacked = f"{{{train}, adversarial: {{attack: learned, epsilon: 0.1, steps: 2}}}}"
    recipes = [
        write_recipe(tmp_path, "plain", train=f"{{{train}}}"),
        write_recipe(tmp_path, "attacked", train=attacked),
    ]
    content = bench(recipes, cells=["lstm,momentum"], seeds="0", full=True, out=tmp_path / "out")
    rows = [comparison["cells"] for comparison in content["comparisons"]]
    assert [[row["hits"] for row in cells] for cells in rows] == [[0, 0]] * 2
    best = [tuple(row["best"]["mean"] for row in cells) for cells in rows]
    assert len(set(best)) == 2


def test_a_wrong_environment_variable_is_refused_before_there_is_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOMENTUMRNN_TRITON", "nope")
    with pytest.raises(SettingError, match="MOMENTUMRNN_TRITON"):
        bench([write_recipe(tmp_path)], cells=["adam"], seeds="0", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("no_pictures")
def test_when_every_run_fails_the_command_fails(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path)
    with pytest.raises(RunError, match=r"ended by an error, the first one: .*native.*\(.*out.runs.small-adam-seed0\)$"):
        bench(
            [recipe],
            cells=["adam"],
            seeds="0",
            budget_steps=4,
            overrides=["model.backend=native"],
            out=tmp_path / "out",
        )
    assert read_bench(tmp_path / "out")["comparisons"][0]["cells"][0]["hits"] == 0


def test_without_a_target_runs_use_their_budget_up(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, target="null")
    content = bench([recipe], cells=[CELLS], seeds="0", budget_steps=8, out=tmp_path / "out")
    comparison = content["comparisons"][0]
    assert (comparison["target"], comparison["metric"]) == (None, "mse")
    assert [run["steps"] for run in comparison["runs"]] == [8, 8]
    assert not (tmp_path / "out" / "time_to_target.png").exists()
    assert (tmp_path / "out" / "curves.png").exists()
