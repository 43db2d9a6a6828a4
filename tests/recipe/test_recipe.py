"""Recipes: what is accepted, that every mistake is found where it was written, and that nothing is lost on the way."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from momentum_cli.cells.catalogue import LAYERS, all_cells
from momentum_cli.cells.find import parse_cell
from momentum_cli.data import TASKS
from momentum_cli.dynamics import DYNAMICS
from momentum_cli.errors import RecipeError
from momentum_cli.inspection.cells import describe_cells
from momentum_cli.layers.orthogonal_matrix import orthogonal_parameters
from momentum_cli.messages import nearest, unknown
from momentum_cli.optim import OPTIMIZERS
from momentum_cli.options import Problem, describe_type
from momentum_cli.recipe import shipped
from momentum_cli.recipe.building import build_dynamics, build_model, build_optimizer, build_task
from momentum_cli.recipe.document import Document
from momentum_cli.recipe.parameter_groups import unused_groups
from momentum_cli.recipe.recipe import InvalidRecipeError, load_recipe, parse_recipe
from momentum_cli.recipe.schema import recipe_schema
from momentum_cli.recipe.shipped import find_recipe, shipped_recipes

MINIMAL = """\
task: {name: digits}
model:
  hidden_size: 8
optimizer: {name: adam, lr: 0.01}
train:
  epochs: 1
"""


def write(folder: Path, text: str, name: str = "recipe.yaml") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def mistakes(path: str, *overrides: str) -> dict[str, tuple[str, str]]:
    """Load a recipe that is wrong; path -> (where, message)."""
    with pytest.raises(InvalidRecipeError) as caught:
        load_recipe(path, overrides)
    assert caught.value.exit_code == 2
    for entry in caught.value.entries:
        assert entry["where"] in str(caught.value)
        assert entry["message"] in str(caught.value)
    return {entry["path"]: (entry["where"], entry["message"]) for entry in caught.value.entries}


# What is accepted.


def test_minimal_recipe_takes_every_default(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, MINIMAL))
    assert recipe.model.cell == "momentum"
    assert recipe.cells == {"momentum": {"momentum": 0.6, "step_size": 1.0}}
    assert recipe.task.options == {"pixels_per_step": 8, "validation": 180, "split_seed": 0}
    assert (recipe.optimizer.name, recipe.optimizer.lr) == ("adam", 0.01)
    assert recipe.train.batch_size == 128
    assert recipe.target is None
    assert recipe.schedule.name == "constant"


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 0.001), ("1E-3", 0.001), ("1.5e2", 150.0), ("'1e-3'", 0.001), (".5", 0.5), ("2", 2.0), ("+3.", 3.0)],
)
def test_numbers_that_pyyaml_reads_as_text_are_numbers(tmp_path: Path, text: str, value: float) -> None:
    assert isinstance(yaml.safe_load("1e-3"), str)  # the reason for this test
    path = write(tmp_path, MINIMAL.replace("0.01", text))
    assert load_recipe(path).optimizer.lr == value
    assert load_recipe(write(tmp_path, MINIMAL), [f"optimizer.lr={text}"]).optimizer.lr == value


def test_words_that_pyyaml_reads_as_truth_values_are_words(tmp_path: Path) -> None:
    assert yaml.safe_load("off") is False  # the reason for this test
    path = write(tmp_path, f"{MINIMAL}  deterministic: off\n")
    assert load_recipe(path).train.deterministic == "off"
    assert load_recipe(path, ["train.deterministic=strict"]).train.deterministic == "strict"
    assert "model.bias" in mistakes(path, "model.bias=maybe")
    assert load_recipe(path, ["task.validation=none"]).task.options["validation"] == "none"
    assert load_recipe(path, ["train.seed=010"]).train.seed == 10  # not octal


def test_overrides_are_typed_and_the_last_one_wins(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL)
    recipe = load_recipe(
        path,
        [
            "model.cell=adam-gru",
            "model.hidden_size=16",
            "model.hidden_size=17",
            "cells.adam-gru={momentum: 0.1, beta2: 5e-1}",
            "cells.adam-gru.eps=1e-8",
            "target={metric: accuracy, value: 0.9}",
            "train.early_stopping.patience=3",
            "optimizer.betas=[0.8, 0.9]",
        ],
    )
    assert recipe.model.hidden_size == 17
    assert recipe.cells["adam-gru"] == {"momentum": 0.1, "beta2": 0.5, "step_size": 1.0, "eps": 1e-8}
    assert recipe.target is not None
    assert recipe.target.value == 0.9
    assert recipe.train.early_stopping is not None
    assert recipe.train.early_stopping.patience == 3
    assert recipe.optimizer.options["betas"] == (0.8, 0.9)
    assert load_recipe(path, ["train.early_stopping=null", "target="]).target is None


def test_overrides_are_data_not_code(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL)
    marker = tmp_path / "ran"
    found = mistakes(path, f"model.hidden_size=!!python/object/apply:pathlib.Path.touch [{marker}]")
    assert "not valid YAML" in found["model.hidden_size"][1]
    assert not marker.exists()


def test_a_cell_may_be_written_out(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, MINIMAL), ["model.cell=momentum-lstm", "cells.momentum-lstm.momentum=0.3"])
    assert recipe.model.cell == "momentum"
    assert build_dynamics(recipe) == DYNAMICS["momentum"](momentum=0.3, step_size=1.0)  # type: ignore[call-arg]
    found = mistakes(write(tmp_path, MINIMAL), "cells.momentum.momentum=0.1", "cells.momentum-lstm={momentum: 0.3}")
    assert "the same cell as 'momentum'" in found["cells.momentum-lstm"][1]


def test_aliases_and_merges_work_and_do_not_explode(tmp_path: Path) -> None:
    merged = MINIMAL + "cells:\n  adam: &a {momentum: 0.1}\n  adam-gru: {<<: *a, beta2: 2}\n"
    path = write(tmp_path, merged)
    assert mistakes(path).keys() == {"cells.adam-gru.beta2"}
    assert mistakes(path)["cells.adam-gru.beta2"][0] == f"{path}:9"
    levels = [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9) if i else 1}]" for i in range(9)]
    nested = [f"m{i}: &m{i} {{{', '.join(f'k{k}: *m{i - 1}' for k in range(9)) if i else 'x: 1'}}}" for i in range(9)]
    for bomb in (nested, ["a: &a {b: *a}"]):
        with pytest.raises(RecipeError, match="aliases without end"):
            load_recipe(write(tmp_path, "\n".join(bomb)))
    with pytest.raises(RecipeError, match="unknown section"):
        load_recipe(write(tmp_path, MINIMAL + "\n".join(levels)))


# Mistakes.


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
schedule: [1]
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
        "schedule": 13,
        "train.batch_size": 15,
        "train.epochs": 16,
        "train.early_stopping.patence": 18,
        "target.value": 20,
        "extra": 21,
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


@pytest.mark.parametrize(
    ("overrides", "path", "message"),
    [
        (["train.epochs=null"], "train", "no budget"),
        (["target={metric: mse, value: 1}"], "target.metric", "unknown metric 'mse' of task digits"),
        (["target={metric: accuracy, value: 95}"], "target.value", "did you mean 0.95?"),
        (["target={metric: loss, value: 0}"], "target.value", "must be > 0, got 0.0"),
        (["model.cell=gru", "model.forget_bias=1"], "model.forget_bias", "no forget gate"),
        (["model.cell=adam-rnn", "model.forget_bias=1"], "model.forget_bias", "no forget gate"),
        (["model.bias=false", "model.forget_bias=1"], "model.forget_bias", "bias is false"),
        (["model.dropout=0.1"], "model.dropout", "between layers"),
        (["train.stop_at_target=true"], "train.stop_at_target", "no target"),
        (["schedule.name=cosine", "train={max_seconds: 3}"], "schedule.name", "planned length"),
        (["schedule.name=step"], "schedule.every_n_steps", "missing"),
        (["schedule.name=exponential"], "schedule.every_n_steps", "missing"),
        (["schedule.every_n_steps=3"], "schedule.every_n_steps", "does not use it"),
        (["schedule={name: cosine, gamma: 0.5}"], "schedule.gamma", "does not use it"),
        (["schedule={min_lr: 0.001}"], "schedule.min_lr", "does not use it"),
        (["schedule={name: linear, min_lr: 1}"], "schedule.min_lr", "above optimizer.lr"),
        (
            ["train.max_steps=5", "schedule.warmup_steps=5"],
            "schedule.warmup_steps",
            "must be less than train.max_steps = 5, got 5",
        ),
        (["optimizer.lr=0"], "optimizer.lr", "> 0"),
        (["optimizer.lr=.nan"], "optimizer.lr", "a number"),
        (["optimizer.lr=.inf"], "optimizer.lr", "a number"),
        (["optimizer.alpha=0.9"], "optimizer.alpha", "optimizer adam"),
        (["optimizer.maximize=true"], "optimizer.maximize", "unknown key"),
        (["optimizer.betas=[0.1]"], "optimizer.betas", "a list [a number, a number]"),
        (["optimizer={lr: 1}"], "optimizer.name", "missing"),
        (["task.pixels_per_step=3"], "task.pixels_per_step", "one of 1, 2, 4"),
        (["task.validation=some"], "task.validation", "an integer or 'none'"),
        (["task.name=3"], "task.name", "unknown task '3'"),
        (["model.cell=3"], "model.cell", "must be text, got 3"),
        (["model.hidden_size=true"], "model.hidden_size", "must be a number, got True"),
        (["model=3"], "model", "must be a mapping, got 3"),
        (["cells.adam=3"], "cells.adam", "must be a mapping of options, got 3"),
        (["cells.sr.restart_every=0"], "cells.sr.restart_every", "integer >= 1"),
        (["train.early_stopping=3"], "train.early_stopping", "a mapping"),
        (["train.batch_size.x=3", "train.batch_size=3", "train.batch_size.y=1"], "train.batch_size.y", "has no keys"),
        (["nonsense"], "", "must be key.path=value"),
        ([".a=1"], "", "must be key.path=value"),
        (["train.seed=[1"], "train.seed", "not valid YAML"),
    ],
)
def test_contradictions_and_wrong_values(tmp_path: Path, overrides: list[str], path: str, message: str) -> None:
    found = mistakes(write(tmp_path, MINIMAL), *overrides)
    assert found.keys() == {path}
    where, text = found[path]
    assert message in text
    if path != "train":  # the missing budget is the section's, not an override's
        assert where.startswith("override ")


PUBLISHED = """\
published:
  momentum-lstm: {metric: accuracy, value: 0.9472, std: 1e-3, seeds: 5, epochs: 150, source: a paper}
  lstm: {metric: loss, value: 2, source: a log, split: validation}
"""


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


def test_a_key_written_twice_is_a_mistake(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL + "  epochs: 2\n1: 2\n")
    found = mistakes(path, "cells.adam={2: 3}")
    assert found["train.epochs"] == (f"{path}:7", "written twice, first in line 6")
    assert found["1"][0] == f"{path}:8"
    assert "unknown section '1'" in found["1"][1]
    assert "unknown key '2' of cell adam" in found["cells.adam.2"][1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty; a recipe has at least"),
        (b"# nothing\n", "empty; a recipe has at least"),
        (b"- 1\n", ":1: a recipe must be a mapping of sections, got a list"),
        (b"a: " + b"9" * 5000 + b"\n", "not valid YAML"),
        (b"a: [1\n", "not valid YAML"),
        (b"a: 1\n\tb: 2\n", ":2: not valid YAML"),
        (b"a: \xff\n", "not UTF-8"),
        (b"a: !!python/object/apply:os.getcwd []\n", "not valid YAML"),
        (b"? [1]\n: 2\n", "not valid YAML"),
        (b"a: 1\n---\nb: 2\n", "not valid YAML"),
    ],
)
def test_files_that_are_no_recipes(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=re.escape(message)) as caught:
        load_recipe(str(path))
    assert str(path) in str(caught.value)


def test_missing_recipes_are_suggested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("digts", "digts.yaml", "recipes/digits.yaml", "Digits"):
        with pytest.raises(RecipeError, match="did you mean 'digits'"):
            load_recipe(name)
    with pytest.raises(RecipeError, match="is a folder"):
        load_recipe(str(tmp_path))


def test_recipes_are_found_by_name_and_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_recipe("digits") == find_recipe("digits.yaml") == shipped_recipes()["digits"]
    write(tmp_path, MINIMAL, "digits.yaml")
    assert find_recipe("digits.yaml") == Path("digits.yaml")  # a file of the user's comes first
    assert find_recipe("digits") == shipped_recipes()["digits"]


def test_shipped_recipes_of_a_wheel_and_of_a_source_tree(tmp_path: Path) -> None:
    wheel, tree = tmp_path / "site" / "momentum_cli", tmp_path / "tree" / "momentum_cli"
    (wheel / "recipes" / "paper").mkdir(parents=True)
    (tree.parent / "recipes").mkdir(parents=True)
    tree.mkdir()
    assert shipped.shipped_folder(wheel) == wheel / "recipes"
    assert shipped.shipped_folder(tree) == tree.parent / "recipes"
    with pytest.raises(RecipeError, match="reinstall"):
        shipped.shipped_folder(tmp_path)


def test_recipes_in_folders_have_names_with_a_slash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "paper").mkdir()
    write(tmp_path / "paper", MINIMAL, "small.yaml")
    monkeypatch.setattr(shipped, "shipped_folder", lambda: tmp_path)
    assert shipped.shipped_recipes() == {"paper/small": tmp_path / "paper" / "small.yaml"}
    assert load_recipe("paper/small").model.hidden_size == 8
    with pytest.raises(RecipeError, match="did you mean 'paper/small'"):
        load_recipe("paper/smal")


# Nothing is lost on the way.


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_saved_recipes_load_equal(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name, ["train.deterministic=off", "train.clip_grad_norm=1e-5"])
    path = tmp_path / "saved.yaml"
    recipe.save(path)
    assert load_recipe(path) == recipe
    assert parse_recipe(recipe.dump()) == recipe
    # Any YAML reader gets the same content.
    assert yaml.safe_load(path.read_text(encoding="utf-8")) == recipe.dump()


def test_saving_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "saved.yaml"
    recipe = load_recipe("digits")
    recipe.save(path)
    before = path.read_bytes()

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        recipe.override("model.cell=adam").save(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["saved.yaml"]


def test_override_of_a_loaded_recipe() -> None:
    recipe = load_recipe("digits")
    other = recipe.override("model.cell=adam", "train.seed=3")
    assert (other.model.cell, other.train.seed) == ("adam", 3)
    assert other.override("model.cell=momentum", "train.seed=0") == recipe
    with pytest.raises(InvalidRecipeError, match=r"override 'model.cel=x': model.cel: unknown key"):
        recipe.override("model.cel=x")


def test_a_recipe_can_only_be_built_whole() -> None:
    content = load_recipe("digits").dump()
    content["cells"]["momentum"]["momentum"] = 2
    with pytest.raises(RecipeError, match=r"cells.momentum.momentum: must be in \[0, 1\), got 2"):
        parse_recipe(content)
    with pytest.raises(RecipeError, match="task: missing"):
        parse_recipe({})


# Shipped recipes.


@pytest.mark.parametrize("path", sorted(shipped_recipes().values()), ids=lambda path: path.stem)
def test_every_shipped_recipe_builds(path: Path) -> None:
    recipe = load_recipe(path)
    task = build_task(recipe)
    assert isinstance(task, TASKS[recipe.task.name])
    for cell in {recipe.model.cell, *recipe.cells}:
        model = build_model(recipe.override(f"model.cell={cell}"), 2, 3, "last")
        build_optimizer(recipe, model)
        assert model.layer.dynamics == build_dynamics(recipe, cell)


@pytest.mark.parametrize("path", sorted(shipped_recipes().values()), ids=lambda path: path.stem)
def test_every_shipped_recipe_opens_with_its_command(path: Path) -> None:
    name = next(name for name, file in shipped_recipes().items() if file == path)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == f"# momentumrnn train {name}"
    assert lines[1].startswith("# ")


def test_authors_settings_on_permuted_mnist() -> None:
    recipe = load_recipe("pmnist")
    assert recipe.cells["momentum"] == {"momentum": 0.6, "step_size": 1.0}
    assert {**recipe.cells["adam"], "eps": 1e-16} == {"momentum": 0.6, "step_size": 1.0, "beta2": 0.01, "eps": 1e-16}
    assert {**recipe.cells["rmsprop"], "eps": 1e-16} == {"step_size": 1.0, "beta2": 0.01, "eps": 1e-16}
    assert (recipe.optimizer.name, recipe.optimizer.lr, recipe.optimizer.options["alpha"]) == ("rmsprop", 0.001, 0.9)
    assert (recipe.train.epochs, recipe.train.batch_size, recipe.train.clip_grad_norm) == (150, 128, 1.0)
    assert (recipe.model.hidden_size, recipe.model.init) == (128, "paper")


# Tables against what they describe.


@pytest.mark.parametrize("cell", all_cells())
def test_every_cell_builds_with_its_options(cell: str) -> None:
    described = next(entry for entry in describe_cells() if entry["name"] == cell)
    options = {name: option["default"] for name, option in described["options"].items()}
    recipe = load_recipe("digits", [f"model.cell={cell}", "model.hidden_size=4", f"cells.{cell}={options}"])
    model = build_model(recipe, 2, 3, "last")
    assert model.layer.recurrence.name == LAYERS[parse_cell(cell).layer].recurrence.name
    assert model(torch.zeros(1, 2, 2))[0].shape == (1, 3)


@pytest.mark.parametrize(
    ("override", "path", "message"),
    [
        ("cells.dtriv.basis_evry=3", "cells.dtriv.basis_evry", "did you mean 'basis_every'?"),
        ("cells.dtriv.basis_every=0", "cells.dtriv.basis_every", "got 0, allowed is an integer >= 1 or 'infty'"),
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


def test_every_optimizer_has_options_that_recipes_can_give() -> None:
    for name in OPTIMIZERS:
        recipe = load_recipe("digits", [f"optimizer={{name: {name}, lr: 0.5}}"])
        optimizer = build_optimizer(recipe, torch.nn.Linear(1, 1))
        assert isinstance(optimizer, OPTIMIZERS[name])
        assert optimizer.defaults["lr"] == 0.5


# JSON Schema.


def test_schema_knows_every_option() -> None:
    schema = recipe_schema()
    assert schema["additionalProperties"] is False
    tasks = {entry["properties"]["name"]["const"]: entry for entry in schema["properties"]["task"]["oneOf"]}
    assert tasks.keys() == TASKS.keys()
    assert set(tasks["pmnist"]["properties"]) == {
        "name",
        "pixels_per_step",
        "validation",
        "split_seed",
        "permutation_seed",
    }
    assert all(entry["additionalProperties"] is False for entry in tasks.values())
    optimizers = {entry["properties"]["name"]["const"] for entry in schema["properties"]["optimizer"]["oneOf"]}
    assert optimizers == OPTIMIZERS.keys()
    assert schema["properties"]["cells"]["properties"].keys() == all_cells().keys()
    assert schema["$defs"]["ModelOptions"]["properties"]["cell"]["enum"] == list(all_cells())
    assert schema["properties"]["published"]["propertyNames"]["enum"] == list(all_cells())
    references = set(re.findall(r"#/\$defs/(\w+)", str(schema)))
    assert references == schema["$defs"].keys()


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_schema_accepts_shipped_recipes(name: str) -> None:
    validator = pytest.importorskip("jsonschema").Draft202012Validator(recipe_schema())
    document = Document(shipped_recipes()[name].read_text(encoding="utf-8"), name)
    assert list(validator.iter_errors(document.data)) == []


# Wording.


def test_wording() -> None:
    assert nearest("LSTN", ["lstm", "gru"]) == "lstm"
    assert nearest("xyz", ["lstm"]) is None
    assert unknown("key", "a", [], "x") == "unknown key 'a' of x (allowed: none)"
    assert describe_type(int | None) == "an integer or null"
    assert describe_type(tuple[float, bool]) == "a list [a number, true or false]"
    assert Problem(("a",), "b").path == ("a",)
