"""Requested differences are compared, and everything else is shared."""

from __future__ import annotations

from pathlib import Path

import pytest

from momentum_cli.benchmark.plan.planning import make_plan, parse_seeds
from momentum_cli.benchmark.plan.variants import Variant, parse_cells
from momentum_cli.errors import RecipeError
from momentum_cli.recipe.building import build_task
from momentum_cli.recipe.recipe import load_recipe
from momentum_cli.recipe.shipped import shipped_recipes


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["lstm,momentum"], [("lstm", "lstm", ()), ("momentum", "momentum", ())]),
        (["momentum-lstm"], [("momentum", "momentum", ())]),
        (
            ["momentum", "momentum@slow:momentum=0.9,step_size=0.3"],
            [("momentum", "momentum", ()), ("momentum@slow", "momentum", ("momentum=0.9", "step_size=0.3"))],
        ),
        (
            ["adam@x:beta2=0.5, eps=1e-8 ,gru"],
            [("adam@x", "adam", ("beta2=0.5", "eps=1e-8")), ("gru", "gru", ())],
        ),
        (["sr:restart_every=3"], [("sr:restart_every=3", "sr", ("restart_every=3",))]),
        (["lstm@big:model.hidden_size=96"], [("lstm@big", "lstm", ("model.hidden_size=96",))]),
    ],
)
def test_cells(texts: list[str], expected: list[tuple[str, str, tuple[str, ...]]]) -> None:
    assert [(v.label, v.cell, v.options) for v in parse_cells(texts)] == expected


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["lsmt"], "did you mean 'lstm'"),
        (["lstm,lstm"], "is given twice"),
        (["momentum,momentum-lstm"], "is given twice"),
        ([" , "], "no cell given"),
        (["momentum=0.9"], "an option without a cell"),
        (["lstm,momentum=0.9"], "an option without a cell"),
        (["momentum:momentum"], "is not key=value"),
        (["momentum@a b"], "with a NAME of letters"),
        (["lstm:train.batch_size=7"], "cannot differ between cells"),
        (["lstm:task.validation=7"], "cannot differ between cells"),
        (["lstm:model.cell=gru"], "cannot differ between cells"),
    ],
)
def test_wrong_cells_say_what_is_allowed(texts: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse_cells(texts)


def test_seeds() -> None:
    assert parse_seeds("0-4") == (0, 1, 2, 3, 4)
    assert parse_seeds("7") == (7,)
    assert parse_seeds("3, 1-2") == (3, 1, 2)
    for wrong in ("", "a", "4-1", "1,1", "0-3,2", "-1", "0-5000"):
        with pytest.raises(RecipeError, match="--seeds"):
            parse_seeds(wrong)


def test_entries_differ_in_their_cell_alone() -> None:
    plan = make_plan(["digits"], cells=["lstm,momentum@slow:momentum=0.9"], seeds="3-4")
    lstm, slow = (entry.recipe.dump() for entry in plan.comparisons[0].entries)
    assert slow["model"].pop("cell") == "momentum"
    assert lstm["model"].pop("cell") == "lstm"
    assert slow["cells"].pop("momentum")["momentum"] == 0.9
    del lstm["cells"]["momentum"]
    assert lstm == slow


def test_groups_hold_every_entry_with_the_same_seed() -> None:
    plan = make_plan(["digits"], cells=["lstm,gru"], seeds="0-1")
    assert [[run.id for run in group] for group in plan.groups()] == [
        ["digits-lstm-seed0", "digits-gru-seed0"],
        ["digits-lstm-seed1", "digits-gru-seed1"],
    ]
    for group in plan.groups():
        assert len({run.seed for run in group}) == 1
        assert {run.recipe.train.seed for run in group} == {group[0].seed}


def test_a_given_budget_replaces_the_recipes() -> None:
    train = make_plan([], steps=50).comparisons[0].recipe.train
    assert (train.epochs, train.max_steps, train.max_seconds) == (None, 50, None)
    train = make_plan([], epochs=2, seconds=3.5).comparisons[0].recipe.train
    assert (train.epochs, train.max_steps, train.max_seconds) == (2, None, 3.5)


def test_target_and_stopping() -> None:
    plan = make_plan([], target="0.8")
    assert plan.comparisons[0].goal(0) == ("accuracy", 0.8)
    assert plan.comparisons[0].recipe.train.stop_at_target
    assert make_plan([], target="loss=0.3").comparisons[0].goal(0) == ("loss", 0.3)
    assert not make_plan([], full=True).comparisons[0].recipe.train.stop_at_target
    without = make_plan([], overrides=["target=null"])
    assert without.comparisons[0].target is None
    assert not without.comparisons[0].recipe.train.stop_at_target
    # without a target in the recipe a bare number is one of the task's headline metric
    assert make_plan([], overrides=["target=null"], target="0.7").comparisons[0].goal(0) == ("accuracy", 0.7)
    for wrong in ("much", "accuracy=", "=", "accuracy=high"):
        with pytest.raises(RecipeError, match="--target"):
            make_plan([], target=wrong)
    with pytest.raises(RecipeError, match="did you mean 0"):
        make_plan([], target="90")


@pytest.mark.parametrize("text", ["model.cell=gru", "train.seed=3", "train.stop_at_target=false", "cell=gru", "seed=3"])
def test_what_the_command_decides_cannot_be_overridden(text: str) -> None:
    with pytest.raises(RecipeError, match="not in a benchmark"):
        make_plan([], overrides=[text])


def test_a_key_without_its_section_is_the_same_key() -> None:
    """Else a rate beside a grid of rates, or a size beside a published number, would be ignored without a word."""
    with pytest.raises(RecipeError, match=r"optimizer\.lr"):
        make_plan([], lr_grid="0.1,0.2", overrides=["lr=0.5"])
    with pytest.raises(RecipeError, match=r"model\.hidden_size=5: cannot be combined with --paper"):
        make_plan([], paper="table1", overrides=["hidden_size=5"])
    (comparison,) = make_plan([], overrides=["hidden_size=5"]).comparisons
    assert {entry.recipe.model.hidden_size for entry in comparison.entries} == {5}


def test_a_key_without_its_section_must_mean_one_thing() -> None:
    with pytest.raises(RecipeError, match=r"length=9.*no section"):
        make_plan(["adding", "digits"], overrides=["length=9"])
    with pytest.raises(RecipeError, match=r"is cells\.momentum\.momentum=0\.5 in digits.* write whose it is"):
        make_plan(["digits"], cells=["momentum,adam"], overrides=["momentum=0.5"])


def test_unknown_options_of_a_variant_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="momentun"):
        make_plan([], cells=["momentum@x:momentun=0.9"])
    with pytest.raises(RecipeError, match="no such file or shipped recipe"):
        make_plan([str(tmp_path / "none.yaml")])


def test_baseline() -> None:
    assert make_plan([], cells=["gru,lstm"]).baseline == "gru"
    assert make_plan([], cells=["gru,lstm"], baseline="lstm").baseline == "lstm"
    with pytest.raises(RecipeError, match="not one of the cells gru, lstm"):
        make_plan([], cells=["gru,lstm"], baseline="rnn")


def test_several_recipes(tmp_path: Path) -> None:
    copy = tmp_path / "digits2.yaml"
    copy.write_bytes(shipped_recipes()["digits"].read_bytes())
    plan = make_plan(["digits", str(copy)], cells=["lstm,gru"], seeds="0")
    assert [c.name for c in plan.comparisons] == ["digits", "digits2"]
    assert len({run.id for group in plan.groups() for run in group}) == 4
    with pytest.raises(RecipeError, match="two recipes are called digits"):
        make_plan(["digits", "digits.yaml"])


def test_variant_overrides_name_the_cell_first() -> None:
    assert Variant("x", "adam", ("beta2=0.5", "optimizer.lr=1e-4")).overrides() == [
        "model.cell=adam",
        "cells.adam.beta2=0.5",
        "optimizer.lr=1e-4",
    ]


def test_without_a_recipe_the_five_cells_of_the_paper_read_digits_pixel_by_pixel() -> None:
    (comparison,) = make_plan([]).comparisons
    assert comparison.name == "digits-pixels"
    assert [entry.label for entry in comparison.entries] == ["lstm", "momentum", "adam", "rmsprop", "sr"]
    assert [entry.label for entry in make_plan([], cells=["gru,lstm"]).comparisons[0].entries] == ["gru", "lstm"]
    assert len(make_plan(["digits"]).comparisons[0].entries) == 3
    sizes = [build_task(load_recipe(name)).sizes() for name in ("digits-pixels", "digits-permuted")]
    assert [size and (size.length, size.input_size) for size in sizes] == [(64, 1), (64, 1)]
