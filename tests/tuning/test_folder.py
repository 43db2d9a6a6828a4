"""Several searches that open one folder at the same moment."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from small_bench import write_recipe

from momentum_cli.errors import RecipeError
from momentum_cli.recipe.recipe import load_recipe
from momentum_cli.runs.lock import entered
from momentum_cli.tuning import finish, folder
from momentum_cli.tuning.folder import open_folder, plan_of
from momentum_cli.tuning.study import Study
from momentum_cli.tuning.tune import tune


@pytest.fixture
def plan(tmp_path: Path) -> dict[str, Any]:
    path = Path(write_recipe(tmp_path))
    path.write_text(f"{path.read_text()}\ntune: {{space: {{optimizer.lr: {{log: [1e-3, 1e-1]}}}}, trials: 2}}\n")
    return plan_of(load_recipe(str(path)), "r")


class Counted(SimpleNamespace):
    """Moments around calls of the system's lock, and what was done at one of them."""

    calls = 0
    result = False


@contextlib.contextmanager
def at_lock(number: int, act: Callable[[], bool]) -> Iterator[Counted]:
    """Act at one moment: before (even numbers) or after (odd ones) a call of the system's lock, counted from 0."""
    flock, counted = fcntl.flock, Counted()

    def reached() -> None:
        counted.calls += 1
        if counted.calls == number + 1:
            counted.result = act()

    def counting(*arguments: Any) -> None:
        reached()
        try:
            flock(*arguments)
        finally:
            reached()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fcntl, "flock", counting)
        yield counted


def test_whenever_a_second_search_comes_one_of_two_is_refused(
    plan: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The first one stands still while the second one acts.
    monkeypatch.setattr(folder, "PATIENCE_SECONDS", 0.0)

    def search(path: Path, held: contextlib.ExitStack) -> bool:
        with contextlib.suppress(RecipeError):
            opened = open_folder(path, plan, held=held)
            assert opened.alone
            opened.entry.admit()
            return True
        return False

    moment, last = 0, 1
    while moment < last:
        path = tmp_path / f"search{moment}"
        with contextlib.ExitStack() as held:
            second = functools.partial(search, path, held)
            with at_lock(moment, second) as counted:
                first = search(path, held)
            last = max(last, counted.calls)
        assert first + counted.result == 1, moment
        moment += 1
    assert moment >= 4


def test_of_workers_that_join_at_once_one_is_alone_and_none_is_refused(plan: dict[str, Any], tmp_path: Path) -> None:
    for number in range(8):
        gate, over = threading.Barrier(6), threading.Barrier(6)
        alone: list[bool] = []

        def join(path: Path, gate: threading.Barrier, over: threading.Barrier, alone: list[bool]) -> None:
            with contextlib.ExitStack() as held:
                gate.wait()
                opened = open_folder(path, plan, join=True, held=held)
                opened.entry.admit()
                alone.append(opened.alone)
                over.wait(30)

        rest = (tmp_path / f"search{number}", gate, over, alone)
        threads = [threading.Thread(target=join, args=rest) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(alone) == [False] * 5 + [True]


def test_two_searches_without_a_folder_get_two_and_an_unfinished_one_goes_to_the_first(
    plan: dict[str, Any], tmp_path: Path
) -> None:
    with contextlib.ExitStack() as held:
        before = open_folder(None, plan, base=tmp_path / "runs", held=held).folder
    with contextlib.ExitStack() as held:
        first = open_folder(None, plan, base=tmp_path / "runs", held=held)
        # Whether it has admitted others or not.
        second = open_folder(None, plan, base=tmp_path / "runs", held=held)
        first.entry.admit()
        third = open_folder(None, plan, base=tmp_path / "runs", held=held)
    assert (first.folder, first.again, first.alone) == (before, True, True)
    assert not second.again
    assert not third.again
    assert len({first.folder, second.folder, third.folder}) == 3


def test_a_worker_that_joins_where_there_are_no_locks_takes_no_one_for_dead(
    plan: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError("no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with contextlib.ExitStack() as held:
        assert open_folder(tmp_path / "a", plan, held=held).alone is True
        assert open_folder(tmp_path / "a", plan, join=True, held=held).alone is False


def test_nobody_comes_in_before_trials_of_the_dead_are_given_back(
    plan: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first worker takes every running trial for one of a dead worker."""
    found = []

    def watched(name: str) -> None:
        act: Callable[..., Any] = getattr(Study, name)

        def acting(*arguments: Any, **options: Any) -> Any:
            try:
                with entered(tmp_path / "search", "search", patience_seconds=0) as entry:
                    found.append((name, entry.alone))
            except RecipeError:
                found.append((name, None))
            return act(*arguments, **options)

        monkeypatch.setattr(Study, name, acting)

    watched("give_back")
    watched("next")
    monkeypatch.setattr(finish, "draw_search", lambda *arguments: None)
    monkeypatch.setattr(finish, "write_report", lambda *arguments: None)
    tune(str(tmp_path / "small.yaml"), space=["optimizer.lr=choice:0.1"], trials=1, out=tmp_path / "search")
    assert found[0] == ("give_back", None)
    assert set(found[1:]) == {("give_back", False), ("next", False)}
