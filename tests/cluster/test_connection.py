"""What cannot be done on a cluster, and connections that fail."""

from __future__ import annotations

import sys

import pytest

from momentum_cli.cluster.connection import connected, local_trackers, require_steps
from momentum_cli.errors import RecipeError
from momentum_cli.recipe.recipe import load_recipe


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(RecipeError, match=r"pip install 'momentumrnn\[cluster\]'"), connected("tcp://127.0.0.1:1"):
        pass


def test_a_budget_in_seconds_is_refused() -> None:
    require_steps(load_recipe("digits"))
    with pytest.raises(RecipeError, match="a budget of 5 s is another number of steps on each"):
        require_steps(load_recipe("digits", ["train.max_seconds=5"]))


def test_trackers_whose_files_stay_there_are_named() -> None:
    assert local_trackers(load_recipe("digits", ["train.loggers=[tensorboard]"])) is None
    told = local_trackers(load_recipe("digits", ["train.loggers=[tensorboard, mlflow]"]))
    assert told is not None
    assert told.startswith("train.loggers mlflow: ")
