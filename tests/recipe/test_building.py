"""Recipes are built as written: tasks, dynamics, models, optimizers with their groups."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from momentum_cli.cells.catalogue import LAYERS, all_cells
from momentum_cli.cells.find import parse_cell
from momentum_cli.data import TASKS
from momentum_cli.errors import RunError
from momentum_cli.inspection.cells import describe_cells
from momentum_cli.layers.orthogonal_matrix import orthogonal_parameters
from momentum_cli.recipe.building import (
    build_dynamics,
    build_model,
    build_optimizer,
    build_sequence_model,
    build_task,
    load_data,
)
from momentum_cli.recipe.parameter_groups import unused_groups
from momentum_cli.recipe.recipe import load_recipe, parse_recipe
from momentum_cli.recipe.shipped import shipped_recipes
from momentum_cli.training.train import train


@pytest.mark.parametrize("path", sorted(shipped_recipes().values()), ids=lambda path: path.stem)
def test_every_shipped_recipe_builds(path: Path) -> None:
    recipe = load_recipe(path)
    task = build_task(recipe)
    assert isinstance(task, TASKS[recipe.task.name])
    for cell in {recipe.model.cell, *recipe.cells}:
        model = build_model(recipe.override(f"model.cell={cell}"), 3, 3, "last")
        build_optimizer(recipe, model)
        assert model.layer.dynamics == build_dynamics(recipe, cell)


@pytest.mark.parametrize("cell", all_cells())
def test_every_cell_builds_with_its_options(cell: str) -> None:
    described = next(entry for entry in describe_cells() if entry["name"] == cell)
    options = {name: option["default"] for name, option in described["options"].items()}
    recipe = load_recipe("digits", [f"model.cell={cell}", "model.hidden_size=4", f"cells.{cell}={options}"])
    model = build_model(recipe, 2, 3, "last")
    assert model.layer.recurrence.name == LAYERS[parse_cell(cell).layer].recurrence.name
    assert model(torch.zeros(1, 2, 2))[0].shape == (1, 3)


def test_a_group_has_its_own_options_and_takes_the_others_from_the_optimizer() -> None:
    overrides = ["model.cell=momentum-dtriv", "cells.momentum-dtriv.basis_every=infty"]
    optimizer = "optimizer={name: rmsprop, lr: 7e-4, alpha: 0.9, groups: {orthogonal: {lr: 2e-4, alpha: 0.99}}}"
    recipe = load_recipe("digits", [*overrides, optimizer])
    assert recipe.cells["momentum-dtriv"]["basis_every"] == "infty"
    assert recipe.optimizer.groups == {"orthogonal": {"lr": 2e-4, "alpha": 0.99}}
    assert parse_recipe(recipe.dump()) == recipe
    model = build_model(recipe, 2, 3, "last")
    rest, orthogonal = build_optimizer(recipe, model).param_groups
    assert [id(p) for p in orthogonal["params"]] == [id(p) for p in orthogonal_parameters(model)]
    assert len(rest["params"]) == len(list(model.parameters())) - 1
    assert [(g["lr"], g["alpha"], g["eps"]) for g in (rest, orthogonal)] == [(7e-4, 0.9, 1e-8), (2e-4, 0.99, 1e-8)]
    # One recipe serves every cell.
    other = recipe.override("model.cell=momentum")
    plain = build_model(other, 2, 3, "last")
    assert [len(g["params"]) for g in build_optimizer(other, plain).param_groups] == [len(list(plain.parameters()))]
    assert unused_groups(plain, other.optimizer.groups) == ["orthogonal"]
    assert unused_groups(model, other.optimizer.groups) == []


def test_metrics_of_a_recipe_come_first_and_choose_the_best_epoch(tmp_path: Path) -> None:
    recipe = load_recipe("digits", ["metrics=[macro_f1, auroc]", "train={max_steps: 2}", "target=null"])
    assert load_data(recipe).metrics == ("macro_f1", "auroc", "accuracy", "loss")
    assert parse_recipe(recipe.dump()) == recipe
    result = train(recipe, out=tmp_path / "run")
    best = result["best"]
    assert (best["metric"], best["value"]) == ("macro_f1", result["validation"]["macro_f1"])
    assert set(result["test_intervals"]) == set(result["test"]) == {"loss", "macro_f1", "auroc", "accuracy"}


# Options that would take about a hundred gigabytes, and what the refusal names.
TOO_LARGE = {
    "digits model.hidden_size=60000": "model.hidden_size, model.num_layers: needs at least 115.2 GB",
    "digits model.num_layers=9 model.hidden_size=20000": "model.hidden_size, model.num_layers: needs at least 115.2 GB",
    "shakespeare model.language.embedding_size=400000000": "model.language.embedding_size: needs at least 96.0 GB",
}


@pytest.mark.parametrize("words", TOO_LARGE)
def test_a_model_that_does_not_fit_is_refused_before_it_is_made(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("momentum_cli.machine.available_bytes", lambda: 16 * 10**9)
    name, *options = words.split()
    recipe = load_recipe(name, ["model.cell=lstm", *options])
    for build in [build_model] if name == "shakespeare" else [build_model, build_sequence_model]:
        with pytest.raises(RunError, match=re.escape(f"{TOO_LARGE[words]} of memory, and 16.0 GB are free")):
            build(recipe, 30, 30, "every")


@pytest.mark.parametrize("words", ["adding task.length=200000", "copying task.delay=100000"])
def test_data_that_do_not_fit_are_refused_before_they_are_made(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("momentum_cli.machine.available_bytes", lambda: 16 * 10**9)
    name, *options = words.split()
    with pytest.raises(RunError, match=rf"{options[0].split('=')[0]}.*: needs at least [\d.]+ GB of memory"):
        load_data(load_recipe(name, options))
