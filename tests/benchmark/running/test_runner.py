"""Runs of a benchmark together: turns, equal terms, isolated failures, processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from small_bench import GRID, RecordingUi, small_plan

from momentum_cli.benchmark.plan.plan import Plan, RunSpec
from momentum_cli.benchmark.running import runner
from momentum_cli.benchmark.running.contender import Contender
from momentum_cli.benchmark.running.runner import Setting, execute
from momentum_cli.benchmark.running.workers import _death, measure_memory, threads_of
from momentum_cli.errors import Interrupted, RecipeError
from momentum_cli.runs.metrics_log import read_metrics


@pytest.fixture(autouse=True)
def no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measuring memory starts a process a cell; one test does that."""
    monkeypatch.setattr(runner, "measure_memory", lambda runs, *rest: [2**20] * len(runs))


def setting(folder: Path, **options: Any) -> Setting:
    folder.mkdir(exist_ok=True)
    return Setting(folder, None, "cpu", **{"jobs": 1, "ui": RecordingUi(), **options})


def numbers(results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the results that must not depend on how the runs were made."""
    keys = ("steps", "samples", "best", "test", "miss", "stop_reason")
    return {name: {key: result[key] for key in keys} for name, result in results.items()}


def test_runs_take_turns_in_rotating_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[tuple[str, int]] = []
    turn = Contender.turn

    def watched(self: Contender, stopped: Any = lambda: False) -> bool:
        over = turn(self, stopped)
        order.append((self.spec.label, self.trainer.progress.step))
        return over

    monkeypatch.setattr(Contender, "turn", watched)
    plan = small_plan(tmp_path, "lstm,momentum,gru", "0")
    execute("x", plan.groups(), setting(tmp_path / "bench"))
    rounds = [order[i : i + 3] for i in range(0, len(order), 3)]
    assert [{step for _, step in row} for row in rounds] == [{GRID * i} for i in range(1, 7)]
    assert [row[0][0] for row in rounds] == ["momentum", "gru", "lstm"] * 2
    assert all({label for label, _ in row} == {"lstm", "momentum", "gru"} for row in rounds)


def test_cells_begin_alike_and_see_the_same_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin: dict[str, dict[str, torch.Tensor]] = {}
    seen: dict[str, list[list[int]]] = {}
    turn = Contender.turn

    def watched(self: Contender, stopped: Any = lambda: False) -> bool:
        name = self.spec.label
        if name not in begin:
            begin[name] = {key: t.clone() for key, t in self.trainer.module.state_dict().items()}
            group = self.trainer._next_group
            seen[name] = []

            def recorded() -> torch.Tensor:
                index = group()
                seen[name].append(index.tolist())
                return index

            self.trainer._next_group = recorded  # type: ignore[method-assign]
        return turn(self, stopped)

    monkeypatch.setattr(Contender, "turn", watched)
    execute("x", small_plan(tmp_path, "lstm,momentum,adam", "5").groups(), setting(tmp_path / "bench"))
    for name in ("momentum", "adam"):
        assert seen[name] == seen["lstm"]
        assert begin[name].keys() == begin["lstm"].keys()
        assert all(torch.equal(begin[name][key], begin["lstm"][key]) for key in begin["lstm"])


def test_together_is_the_same_as_alone(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, "lstm,adam", "0-1")
    together = execute("x", plan.groups(), setting(tmp_path / "together"))
    alone: dict[str, Any] = {}
    for group in plan.groups():
        for run in reversed(group):
            alone |= execute("x", [(run,)], setting(tmp_path / "alone"))
    assert numbers(together) == {name: numbers(alone)[name] for name in together}


def test_finished_runs_are_kept_and_others_continue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Turns end at evaluations alone, so that a busy machine does not change where the signal arrives.
    monkeypatch.setattr("momentum_cli.benchmark.running.contender.TURN_SECONDS", float("inf"))
    plan = small_plan(tmp_path, "lstm,momentum", "0-1")
    whole = execute("x", plan.groups(), setting(tmp_path / "whole"))
    # a signal in the middle of the second group
    turn, turns = Contender.turn, [0]

    def interrupted(self: Contender, stopped: Any = lambda: False) -> bool:
        turns[0] += 1
        if turns[0] == 15:
            import os
            import signal

            os.kill(os.getpid(), signal.SIGTERM)
        return turn(self, stopped)

    with monkeypatch.context() as patch:
        patch.setattr(Contender, "turn", interrupted)
        with pytest.raises(Interrupted, match="the same command continues") as caught:
            execute("x", plan.groups(), setting(tmp_path / "cut"))
    assert caught.value.exit_code == 143
    trained: list[str] = []
    begin = Contender.__init__

    def watched(self: Contender, *arguments: Any, **options: Any) -> None:
        begin(self, *arguments, **options)
        trained.append(f"{self.spec.id} from step {self.trainer.progress.step}")

    monkeypatch.setattr(Contender, "__init__", watched)
    ui = RecordingUi()
    resumed = execute("x", plan.groups(), setting(tmp_path / "cut", ui=ui))
    assert numbers(resumed) == numbers(whole)
    assert [text.split(" from")[0] for text in trained] == ["small-lstm-seed1", "small-momentum-seed1"]
    assert not any(text.endswith("from step 0") for text in trained)
    trained.clear()
    assert numbers(execute("x", plan.groups(), setting(tmp_path / "cut"))) == numbers(whole)
    assert trained == []


def test_another_recipe_under_the_same_name_is_refused(tmp_path: Path) -> None:
    execute("x", small_plan(tmp_path, "lstm", "0").groups(), setting(tmp_path / "bench"))
    other = small_plan(tmp_path, "lstm", "0", overrides=["optimizer.lr=0.5"])
    with pytest.raises(RecipeError, match=r"another recipe \(optimizer.lr: 0.01 there, 0.5 now\); name another folder"):
        execute("x", other.groups(), setting(tmp_path / "bench"))


def test_a_run_that_fails_leaves_the_others_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = small_plan(tmp_path, "lstm,momentum,gru", "0")
    sound = execute("x", plan.groups(), setting(tmp_path / "sound"))
    turn, begin = Contender.turn, Contender.__init__

    def failing(self: Contender, stopped: Any = lambda: False) -> bool:
        if self.spec.label == "momentum" and self.trainer.progress.step >= 8:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return turn(self, stopped)

    def unborn(self: Contender, spec: Any, *arguments: Any, **options: Any) -> None:
        if spec.label == "gru":
            raise ValueError("no such thing")
        begin(self, spec, *arguments, **options)

    monkeypatch.setattr(Contender, "turn", failing)
    monkeypatch.setattr(Contender, "__init__", unborn)
    ui = RecordingUi()
    results = execute("x", plan.groups(), setting(tmp_path / "bench", ui=ui))
    assert results["small-momentum-seed0"]["miss"] == "out of memory: CUDA out of memory"
    assert results["small-gru-seed0"]["miss"] == "crashed: ValueError: no such thing"
    assert numbers(results)["small-lstm-seed0"] == numbers(sound)["small-lstm-seed0"]
    assert {s.label for s in ui.states if s.status == "failed"} == {"momentum", "gru"}
    assert len(read_metrics(tmp_path / "bench" / "runs" / "small-momentum-seed0", "eval")) == 2


@pytest.fixture(scope="module")
def spread(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Path, dict[str, dict[str, Any]], RecordingUi]:
    folder = tmp_path_factory.mktemp("spread")
    plan, ui = small_plan(folder, "lstm,momentum", "0"), RecordingUi()
    place = setting(folder / "bench", jobs=2, ui=ui)
    return plan, folder, execute("x", plan.groups(), place), ui


def test_processes_give_the_same_steps_and_metrics(
    spread: tuple[Plan, Path, dict[str, dict[str, Any]], RecordingUi],
) -> None:
    plan, folder, results, ui = spread
    threads = torch.get_num_threads()
    torch.set_num_threads(threads_of(2))
    try:
        here = execute("x", plan.groups(), setting(folder / "here"))
    finally:
        torch.set_num_threads(threads)
    assert numbers(results) == numbers(here)
    assert {state.id for state in ui.states if state.status == "missed"} == set(results)
    assert all(result["memory_bytes"] > 2**24 for result in results.values())
    assert {result["threads"] for result in results.values()} == {threads_of(2)}


def test_the_end_of_a_process_in_words() -> None:
    assert _death(-9) == "crashed: its process was ended by SIGKILL (out of memory?)"
    assert _death(-11) == "crashed: its process was ended by SIGSEGV"
    assert _death(3) == "crashed: its process ended with code 3"


def test_memory_is_that_of_a_process_of_its_own(tmp_path: Path) -> None:
    run = small_plan(tmp_path, "lstm", "0").groups()[0][0]
    (value,) = measure_memory([run], None, "cpu")
    assert value is not None
    # Python with torch: more than 64 MiB, and not the many GiB of a wrong unit
    assert 2**26 < value < 2**34


def test_memory_that_was_measured_is_kept_when_the_benchmark_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(runs: Sequence[RunSpec], *_: Any) -> Iterator[int]:
        yield 123
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "measure_memory", stopped)
    group = small_plan(tmp_path, "lstm,momentum", "0").groups()[0]
    with pytest.raises(KeyboardInterrupt):
        runner._memory(group, setting(tmp_path / "bench"))
    asked: list[RunSpec] = []
    monkeypatch.setattr(runner, "measure_memory", lambda runs, *_: asked.extend(runs) or [456] * len(runs))
    known = runner._memory(group, setting(tmp_path / "bench"))
    assert [run.label for run in asked] == ["momentum"]
    assert list(known.values()) == [123, 456]


def test_a_child_watches_its_parent_before_it_imports_what_takes_time() -> None:
    script = (
        "import sys, momentum_cli.benchmark.running.child; "
        "print([name for name in ('torch', 'numpy', 'pydantic', 'yaml') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
