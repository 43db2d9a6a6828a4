"""One run of a benchmark: the scope of its clock, exact continuation, and its outcome."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from small_bench import GRID, RecordingUi, small_plan

from momentum_cli.benchmark.plan.plan import RunSpec
from momentum_cli.benchmark.results.files import read_points
from momentum_cli.benchmark.results.statistics import first_crossing
from momentum_cli.benchmark.running.contender import Contender
from momentum_cli.benchmark.running.outcome import describe_failure, read_outcome, stillborn
from momentum_cli.data import Dataset
from momentum_cli.errors import DataError, RecipeError, RunError
from momentum_cli.recipe.building import build_task
from momentum_cli.runs.checkpoint import load_checkpoint
from momentum_cli.runs.files import write_json
from momentum_cli.runs.metrics_log import read_metrics
from momentum_cli.training.clock import HostTimer
from momentum_cli.training.snapshot import restore
from momentum_cli.training.trainer import Trainer


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return Fabric(accelerator="cpu", devices=1)


@pytest.fixture
def spec(tmp_path: Path) -> RunSpec:
    return small_plan(tmp_path, "momentum", "3").groups()[0][0]


@pytest.fixture
def dataset(spec: RunSpec) -> Dataset:
    return build_task(spec.recipe).load()


def finish(contender: Contender) -> dict[str, Any]:
    while not contender.turn():
        pass
    return contender.finish()


def test_evaluations_are_not_on_the_clock(spec: RunSpec, dataset: Dataset, fabric: Fabric, tmp_path: Path) -> None:
    """A step takes 0.5 s and an evaluation 10 or 20 s of a fake clock: training seconds are the same."""
    results = []
    for cost in (10.0, 20.0):
        time = [0.0]
        contender = Contender(spec, tmp_path / f"{cost}" / "runs" / spec.id, dataset, fabric, now=lambda t=time: t[0])
        trainer = contender.trainer
        trainer.clock.timer = HostTimer(lambda t=time: t[0])
        group, evaluate = trainer._next_group, trainer.evaluate

        def slow_group(t: list[float] = time, group: Any = group) -> torch.Tensor:
            t[0] += 0.5
            return group()

        def slow_evaluation(
            *a: Any, t: list[float] = time, cost: float = cost, evaluate: Any = evaluate, **named: Any
        ) -> Any:
            t[0] += cost
            return evaluate(*a, **named)

        trainer._next_group, trainer.evaluate = slow_group, slow_evaluation  # type: ignore[method-assign]
        results.append(finish(contender))
        points = read_points(tmp_path / f"{cost}", spec.id, "mse")
        assert [point.train_seconds for point in points] == [0.5 * GRID * i for i in range(1, 7)]
        assert [point.wall_seconds for point in points] == [(0.5 * GRID + cost) * i for i in range(1, 7)]
    assert results[0]["train_seconds"] == results[1]["train_seconds"] == 0.5 * 24
    assert results[1]["wall_seconds"] - results[0]["wall_seconds"] == 6 * 10.0


def test_a_run_that_is_cut_anywhere_ends_the_same(
    spec: RunSpec, dataset: Dataset, fabric: Fabric, tmp_path: Path
) -> None:
    whole = finish(Contender(spec, tmp_path / "whole", dataset, fabric))
    cut = tmp_path / "cut"
    for stop in (3, 4, 9, 9, 17):  # between evaluations, at one, twice at the same place
        contender = Contender(spec, cut, dataset, fabric)
        while contender.trainer.progress.step < stop:
            contender.turn(lambda c=contender, s=stop: c.trainer.progress.step >= s)
        contender.save()
        # what comes after the last save is lost by a kill, and must not be left in the metrics
        contender.turn()
        contender.session.close()
    resumed = finish(Contender(spec, cut, dataset, fabric))
    same = ("steps", "samples", "best", "test", "validation", "final", "stop_reason", "miss", "target")
    assert {key: resumed[key] for key in same} == {key: whole[key] for key in same}
    kept = ("kind", "step", "samples", "mse", "loss", "split", "grad_norm", "lr")
    rows = [[{key: row.get(key) for key in kept} for row in read_metrics(tmp_path / name)] for name in ("whole", "cut")]
    assert rows[0] == rows[1]
    assert {row["kind"] for row in rows[0]} == {"train", "eval"}
    ends = [load_checkpoint(tmp_path / name / "checkpoints" / "last.safetensors").tensors for name in ("whole", "cut")]
    assert ends[0].keys() == ends[1].keys()
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_the_test_value_is_that_of_the_best_evaluation(
    spec: RunSpec, dataset: Dataset, fabric: Fabric, tmp_path: Path
) -> None:
    result = finish(Contender(spec, tmp_path / "run", dataset, fabric))
    rows = read_metrics(tmp_path / "run", "eval")
    best = min(rows, key=lambda row: row["mse"])
    assert (result["best"]["step"], result["best"]["value"]) == (best["step"], best["mse"])
    fresh = Trainer(spec.recipe, dataset, fabric)
    restore(fresh, load_checkpoint(tmp_path / "run" / "checkpoints" / result["best"]["file"]))
    assert fresh.evaluate("validation")["mse"] == best["mse"]
    assert fresh.evaluate("test") == result["test"]


def test_it_stops_at_the_first_evaluation_that_reaches_the_target(
    dataset: Dataset, fabric: Fabric, tmp_path: Path
) -> None:
    start = finish(Contender(small_plan(tmp_path, "lstm", "0").groups()[0][0], tmp_path / "a", dataset, fabric))
    values = [row["mse"] for row in read_metrics(tmp_path / "a", "eval")]
    assert start["miss"] == "target not reached within 24 steps"
    assert values[3] < values[0]
    spec = small_plan(tmp_path, "lstm", "0", target=repr(values[3])).groups()[0][0]
    ui = RecordingUi()
    result = finish(Contender(spec, tmp_path / "runs" / spec.id, dataset, fabric, show=ui.update))
    crossing = first_crossing(read_points(tmp_path, spec.id, "mse"), "mse", values[3])
    assert crossing is not None
    assert crossing.step == next(GRID * i for i, value in enumerate(values, start=1) if value <= values[3])
    assert result["target"]["steps"] == result["steps"] == crossing.step
    assert result["target"]["train_seconds"] == crossing.train_seconds
    assert (result["stop_reason"], result["miss"], ui.states[-1].status) == ("target", None, "reached")
    full = small_plan(tmp_path, "lstm", "0", target=repr(values[3]), full=True).groups()[0][0]
    result = finish(Contender(full, tmp_path / "full", dataset, fabric))
    assert (result["steps"], result["target"]["steps"]) == (24, crossing.step)


def test_a_budget_in_seconds_adds_no_evaluation(dataset: Dataset, fabric: Fabric, tmp_path: Path) -> None:
    spec = small_plan(tmp_path, "lstm", "0", seconds=5.2).groups()[0][0]
    time = [0.0]
    contender = Contender(spec, tmp_path / "run", dataset, fabric)
    contender.trainer.clock.timer = HostTimer(lambda: time[0])
    group = contender.trainer._next_group

    def slow_group() -> torch.Tensor:
        time[0] += 0.5
        return group()

    contender.trainer._next_group = slow_group  # type: ignore[method-assign]
    result = finish(contender)
    assert (result["steps"], result["stop_reason"]) == (11, "max_seconds")
    assert [row["step"] for row in read_metrics(tmp_path / "run", "eval")] == [4, 8]
    assert result["miss"] == "target not reached within 5.5 training seconds"


def test_divergence_is_a_miss_with_its_reason(dataset: Dataset, fabric: Fabric, tmp_path: Path) -> None:
    plan = small_plan(tmp_path, "lstm", "0", overrides=["train.max_nonfinite=0"])
    spec = plan.groups()[0][0]
    contender = Contender(spec, tmp_path / "run", dataset, fabric)
    contender.turn()
    with torch.no_grad():
        next(contender.trainer.module.parameters()).fill_(float("nan"))
    with pytest.raises(RunError) as caught:
        contender.turn()
    result = contender.fail(caught.value)
    assert result["miss"].startswith("diverged: step 5: loss nan")
    assert (result["stop_reason"], result["target"]["reached"], result["best"]["step"]) == ("error", False, 4)
    assert "RunError" in (tmp_path / "run" / "error.txt").read_text()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\nmore"), "out of memory: CUDA out of memory."),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: x"), "out of memory: [enforce"),
        (MemoryError(), "out of memory"),
        (ValueError("shapes\nand more"), "crashed: ValueError: shapes"),
        (KeyError(), "crashed: KeyError"),
        (RecipeError("backend native cannot"), "backend native cannot"),
    ],
)
def test_failures_in_words(error: Exception, reason: str) -> None:
    assert describe_failure(error).startswith(reason)
    assert "\n" not in describe_failure(error)


def test_a_run_that_cannot_begin_has_the_same_keys(
    spec: RunSpec, dataset: Dataset, fabric: Fabric, tmp_path: Path
) -> None:
    whole = finish(Contender(spec, tmp_path / "whole", dataset, fabric))
    born = stillborn(spec, tmp_path / "none", MemoryError())
    assert born.keys() == whole.keys()
    assert (born["miss"], born["steps"], born["target"]["reached"]) == ("out of memory", 0, False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stop_reason": ...}, "the result has no 'stop_reason'"),
        ({"label": ...}, "the result has no 'label'"),
        ({"steps": "12"}, "`steps` must be a number, got '12'"),
        ({"train_seconds": [1]}, "`train_seconds` must be a number, got a list"),
        ({"best": 1}, "best is no object"),
        ({"best": {"metric": "accuracy", "value": 0.5, "step": 8}}, "best has no 'epoch'"),
        ({"target": {"metric": "accuracy", "value": 0.5}}, "target has no 'reached'"),
        ({"target": {"metric": "accuracy", "value": 0.5, "reached": True}}, "target has no 'samples'"),
    ],
)
def test_a_damaged_result_is_named(spec: RunSpec, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    content = stillborn(spec, tmp_path, MemoryError())
    assert read_outcome(tmp_path).keys() == content.keys()
    changed = {key: value for key, value in (content | change).items() if value is not ...}
    write_json(tmp_path / "result.json", changed)
    with pytest.raises(DataError, match=f"result.json is damaged .{message}.*; delete it to repeat that run"):
        read_outcome(tmp_path)
