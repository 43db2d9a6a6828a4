"""Checks of recipes: every mistake is reported with its place and with what the value must be."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType

import pytest
import torch
import yaml
from recipe_files import MINIMAL, mistakes, write

from momentum_cli.dynamics import DYNAMICS
from momentum_cli.errors import RecipeError
from momentum_cli.optim import OPTIMIZERS
from momentum_cli.options import check_number
from momentum_cli.recipe.building import build_dynamics, build_optimizer
from momentum_cli.recipe.recipe import load_recipe, parse_recipe


def test_a_cell_may_be_written_out(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, MINIMAL), ["model.cell=momentum-lstm", "cells.momentum-lstm.momentum=0.3"])
    assert recipe.model.cell == "momentum"
    assert build_dynamics(recipe) == DYNAMICS["momentum"](momentum=0.3, step_size=1.0)  # type: ignore[call-arg]
    found = mistakes(write(tmp_path, MINIMAL), "cells.momentum.momentum=0.1", "cells.momentum-lstm={momentum: 0.3}")
    assert "the same cell as 'momentum'" in found["cells.momentum-lstm"][1]


def test_every_mistake_is_found_where_it_was_written(tmp_path: Path) -> None:
    text = """\
task: {name: pmnst}
model:
  hiden_size: 12
  dropout: 2
  bias: 1.5
cells:
  momentum:
    momentum: 1.2
    step_siz: 2
  foo: {}
  adam: {beta2: true, eps: -1}
optimizer: {name: rmsprop, lr: -1, alpha: x, nesterov: true}
train:
  batch_size: 0
  epochs: 1.5
  early_stopping:
    patence: 2
    patience: 1
target: {metric: accuracy}
extra: 1
"""
    path = write(tmp_path, text)
    found = mistakes(path, "model.cell=adma", "train.optimiser.lr=3")
    lines = {
        "task.name": 1,
        "model.hidden_size": 2,
        "model.hiden_size": 3,
        "model.dropout": 4,
        "model.bias": 5,
        "cells.momentum.momentum": 8,
        "cells.momentum.step_siz": 9,
        "cells.foo": 10,
        "cells.adam.beta2": 11,
        "cells.adam.eps": 11,
        "optimizer.lr": 12,
        "optimizer.alpha": 12,
        "optimizer.nesterov": 12,
        "train.batch_size": 14,
        "train.epochs": 15,
        "train.early_stopping.patence": 17,
        "target.value": 19,
        "extra": 20,
    }
    assert {key: where for key, (where, _) in found.items() if where.startswith(path)} == {
        key: f"{path}:{line}" for key, line in lines.items()
    }
    assert found["model.cell"][0] == "override 'model.cell=adma'"
    assert found["train.optimiser"][0] == "override 'train.optimiser.lr=3'"
    assert found.keys() == lines.keys() | {"model.cell", "train.optimiser"}
    for key, hint in {
        "task.name": "'pmnist'",
        "model.hiden_size": "'hidden_size'",
        "cells.momentum.step_siz": "'step_size'",
        "train.early_stopping.patence": "'patience'",
        "model.cell": "'adam'",
    }.items():
        assert f"did you mean {hint}?" in found[key][1]
    assert "must be >= 1, got 0" in found["train.batch_size"][1]
    assert "must be a number, got True" in found["cells.adam.beta2"][1]
    assert "must be in [0, 1)" in found["cells.momentum.momentum"][1]


PUBLISHED = """\
published:
  momentum-lstm: {metric: accuracy, value: 0.9472, std: 1e-3, seeds: 5, epochs: 150, source: a paper}
  lstm: {metric: loss, value: 2, source: a log, split: validation}
"""


@pytest.mark.parametrize(
    ("override", "path", "message"),
    [
        ("task={name: files, path: '', kind: regression}", "task.path", "must name a file or a folder, got ''"),
        ("task={name: files, path: x.csv, kind: regression, order: ''}", "task.order", "must not be empty, got ''"),
        ("task={name: files, path: x.csv, kind: regression, target: [a, '']}", "task.target", "must not be empty"),
        ("task={name: translation, source_language: ''}", "task.source_language", "must be the ending of a file"),
        ("target={metric: '', value: 1}", "target.metric", "unknown metric ''"),
        ("published={lstm: {metric: accuracy, value: 0.5, source: ''}}", "published.lstm.source", "must not be empty"),
        ("plugins=['']", "plugins", "must be a list of names of plugins"),
    ],
)
def test_no_text_of_a_recipe_may_be_empty(tmp_path: Path, override: str, path: str, message: str) -> None:
    assert message in mistakes(write(tmp_path, MINIMAL), override)[path][1]


def test_the_empty_text_may_be_listed_as_a_missing_value(tmp_path: Path) -> None:
    task = "task={name: files, path: x.csv, kind: regression, missing_values: ['', x]}"
    assert load_recipe(write(tmp_path, MINIMAL), [task]).task.options["missing_values"] == ["", "x"]


def test_published_numbers_are_kept_by_cell_and_nothing_is_made_up(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, MINIMAL + PUBLISHED))
    assert list(recipe.published) == ["momentum", "lstm"]
    momentum, lstm = recipe.published.values()
    assert (momentum.value, momentum.std, momentum.seeds, momentum.epochs) == (0.9472, 0.001, 5, 150)
    assert (lstm.value, lstm.std, lstm.seeds, lstm.epochs) == (2.0, None, None, None)
    assert (momentum.split, lstm.split) == ("test", "validation")
    recipe.save(tmp_path / "saved.yaml")
    assert load_recipe(tmp_path / "saved.yaml") == recipe
    assert "published" not in load_recipe(write(tmp_path, MINIMAL)).dump()


@pytest.mark.parametrize(
    ("override", "path", "message"),
    [
        ("published.momentun=null", "published.momentun", "did you mean 'momentum'?"),
        ("published.lstm=0.9", "published.lstm", "must be a mapping of metric, value, source and more, got 0.9"),
        ("published.lstm.sdt=0.1", "published.lstm.sdt", "did you mean 'std'?"),
        ("published.momentum={metric: loss, value: 1, source: x}", "published.momentum", "the same cell"),
        ("published.lstm={metric: loss, source: x}", "published.lstm.value", "missing"),
        ("published.lstm={metric: loss, value: 1}", "published.lstm.source", "missing"),
        ("published.lstm.std=-1", "published.lstm.std", "must be >= 0, got -1"),
        ("published.lstm.epochs=0", "published.lstm.epochs", "must be >= 1, got 0"),
        ("published.lstm.metric=mse", "published.lstm.metric", "unknown metric 'mse' of task digits"),
        ("published.lstm={metric: accuracy, value: 94.7, source: x}", "published.lstm.value", "did you mean 0.947?"),
    ],
)
def test_mistakes_in_published_numbers(tmp_path: Path, override: str, path: str, message: str) -> None:
    found = mistakes(write(tmp_path, MINIMAL + PUBLISHED), override)
    assert list(found) == [path]
    assert message in found[path][1]


@pytest.mark.parametrize(
    ("override", "path", "message"),
    [
        ("cells.dtriv.basis_evry=3", "cells.dtriv.basis_evry", "did you mean 'basis_every'?"),
        ("cells.dtriv.basis_every=0", "cells.dtriv.basis_every", "must be an integer >= 1 or 'infty', got 0"),
        ("cells.dtriv.basis_every=inf", "cells.dtriv.basis_every", "must be an integer or 'infty', got 'inf'"),
        ("cells.dtriv.basis_every=true", "cells.dtriv.basis_every", "must be an integer or 'infty', got True"),
        ("cells.exprnn.basis_every=1", "cells.exprnn.basis_every", "unknown key"),
        ("cells.momentum-dtriv.momentum=1", "cells.momentum-dtriv.momentum", "must be in [0, 1), got 1"),
        ("cells.dtriv.orthogonal_init=haar", "cells.dtriv.orthogonal_init", "must be 'cayley' or 'henaff', got 'haar'"),
        ("cells.sr-coupled.restart_every=0", "cells.sr-coupled.restart_every", "integer >= 1"),
        ("model.cell=momentum-dtri", "model.cell", "did you mean 'momentum-dtriv'?"),
        ("optimizer.groups={ortogonal: {lr: 1}}", "optimizer.groups.ortogonal", "did you mean 'orthogonal'?"),
        ("optimizer.groups.orthogonal.lrr=1", "optimizer.groups.orthogonal.lrr", "did you mean 'lr'?"),
        ("optimizer.groups.orthogonal.lr=-1", "optimizer.groups.orthogonal.lr", "-1"),
        ("optimizer.groups.orthogonal.lr=0", "optimizer.groups.orthogonal.lr", "> 0"),
        ("optimizer.groups.orthogonal.lr=x", "optimizer.groups.orthogonal.lr", "a number"),
        ("optimizer.groups.orthogonal=3", "optimizer.groups.orthogonal", "a mapping of options"),
        ("optimizer.groups=3", "optimizer.groups", "a mapping of groups"),
    ],
)
def test_mistakes_in_options_of_recurrences_and_groups(tmp_path: Path, override: str, path: str, message: str) -> None:
    found = mistakes(write(tmp_path, MINIMAL), override)
    assert found.keys() == {path}
    assert message in found[path][1]


def test_a_recipe_can_only_be_built_whole() -> None:
    content = load_recipe("digits").dump()
    content["cells"]["momentum"]["momentum"] = 2
    with pytest.raises(RecipeError, match=r"cells.momentum.momentum: must be in \[0, 1\), got 2"):
        parse_recipe(content)
    with pytest.raises(RecipeError, match="task: missing"):
        parse_recipe({})


def test_every_optimizer_has_options_that_recipes_can_give() -> None:
    for name in OPTIMIZERS:
        recipe = load_recipe("digits", [f"optimizer={{name: {name}, lr: 0.5}}"])
        optimizer = build_optimizer(recipe, torch.nn.Linear(1, 1))
        assert isinstance(optimizer, OPTIMIZERS[name])
        assert optimizer.defaults["lr"] == 0.5


def test_each_value_is_checked_once() -> None:
    """Checks are where the time of loading a recipe goes, and two of them could disagree."""
    seen: list[object] = []

    def watch(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code is check_number.__code__:
            seen.append(frame.f_locals["value"])

    content = yaml.safe_load(MINIMAL)
    content["model"]["hidden_size"] = 8123
    content["train"]["bptt"] = None
    content["target"] = {"metric": "accuracy", "value": 0.8125}
    content["published"] = {"lstm": {"metric": "accuracy", "value": 0.4375, "source": "a log"}}
    sys.setprofile(watch)
    try:
        recipe = parse_recipe(content)
    finally:
        sys.setprofile(None)
    assert [seen.count(value) for value in (8123, 0.8125, 0.4375)] == [1, 1, 1]
    assert (recipe.model.hidden_size, recipe.target and recipe.target.value) == (8123, 0.8125)


@pytest.mark.parametrize(
    ("override", "path", "nearest"),
    [
        ("train.early_stopping={patience: 1, min_dleta: 0}", "train.early_stopping.min_dleta", "min_delta"),
        ("model.language={teid: true}", "model.language.teid", "tied"),
        ("schedule.warmup_step=1", "schedule.warmup_step", "warmup_steps"),
    ],
)
def test_an_unknown_key_at_any_depth_gets_the_nearest(tmp_path: Path, override: str, path: str, nearest: str) -> None:
    found = mistakes(write(tmp_path, MINIMAL), override)
    assert found.keys() == {path}
    assert f"did you mean {nearest!r}?" in found[path][1]


def test_what_a_recipe_leaves_to_its_objects_is_written_down() -> None:
    content = yaml.safe_load(MINIMAL) | {"task": {"name": "language", "path": "text.txt"}}
    recipe = parse_recipe(content)
    assert recipe.model.language is not None
    assert recipe.train.bptt is not None
    assert recipe.train.eval_batch_size == 1
    content["train"]["eval_batch_size"] = 1000  # the default of other tasks, asked for
    assert parse_recipe(content).train.eval_batch_size == 1000
    assert parse_recipe(recipe.dump()) == recipe


@pytest.mark.parametrize("key", ["model.hidden_size", "task.length", "optimizer.lr", "train.batch_size"])
@pytest.mark.parametrize("value", ["1_0", '"1_0"', "0x20", "1_0.5", "0b1", "0o7"])
def test_numbers_are_those_of_yaml_1_2(key: str, value: str) -> None:
    """Underscores, and hexadecimal, octal and binary digits, are text there, whatever Python makes of it."""
    with pytest.raises(RecipeError, match=rf"{key}: must be (an integer|a number), got '{value.strip(chr(34))}'"):
        load_recipe("adding", [f"{key}={value}"])


def test_a_value_is_not_blamed_for_the_default_of_another() -> None:
    """n_fft=64 and hop_length=32 go together; alone, n_fft=64 does not go with the default of hop_length, 128."""
    options = ["task={name: speech-classify, path: x, pattern: '{label}_*', n_fft: 64, hop_length: 32, n_mels: 40}"]
    with pytest.raises(RecipeError) as caught:
        load_recipe("fsdd", options)
    problems = str(caught.value).split("task.", 1)[1]
    assert problems.startswith("n_mels: must be in [1, ")
    assert "hop_length:" not in problems


def test_more_layers_than_can_be_built_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"model\.num_layers: must be <= 1000, got 100000"):
        load_recipe("digits", ["model.num_layers=100000"])
