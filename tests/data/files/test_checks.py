"""All mistakes in a file are reported with their rows; splits, scaling, missing values and padding are as stated."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from typer.testing import CliRunner

from momentum_cli.cli import app
from momentum_cli.data import NOT_SCORED, Batch, Files
from momentum_cli.data.batching import training_order
from momentum_cli.data.files.normalisation import fit
from momentum_cli.errors import DataError, RecipeError
from momentum_cli.inspection.data import check_data, describe_data
from momentum_cli.recipe.building import build_model, build_task
from momentum_cli.recipe.first.files import first_recipe, write_first_recipe
from momentum_cli.recipe.recipe import Recipe, load_recipe, parse_recipe
from momentum_cli.training.objective import Objective
from momentum_cli.training.snapshot import restore, snapshot
from momentum_cli.training.trainer import Trainer

HEADING = "id,t,x,y,label,split"


def table(path: Path, changes: dict[int, str] | None = None, sequences: int = 12, steps: int = 5) -> Path:
    """Write a CSV; `changes` replaces whole lines, numbered as an editor does."""
    draw = random.Random(0)
    lines = [HEADING]
    for s in range(sequences):
        split = ("train", "validation", "test")[0 if s < 8 else 1 if s < 10 else 2]
        lines += [f"s{s},{t},{draw.random():.4f},{draw.random():.4f},{'ab'[s % 2]},{split}" for t in range(steps)]
    for row, line in (changes or {}).items():
        lines[row - 1] = line
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def recipe_of(path: Path, **task: Any) -> Recipe:
    options = {"kind": "classification", "sequence": "id", "order": "t", "target": "label", "split_column": "split"}
    return parse_recipe(
        {
            "task": {"name": "files", "path": str(path), **options, **task},
            "model": {"hidden_size": 4},
            "optimizer": {"name": "adam", "lr": 0.01},
            "train": {"epochs": 2, "batch_size": 3},
        }
    )


def found(recipe: Recipe) -> list[tuple[str, list[int]]]:
    return [(problem["code"], problem["rows"]) for problem in check_data(recipe)["problems"]]


# Problems.


@pytest.mark.parametrize(
    ("last", "problems"), [("s11,5,1", [("cells", [62])]), (",,,,,", []), ("# the end", [("cells", [62])])]
)
@pytest.mark.parametrize("sequence", [{}, {"sequence": None, "order": None, "split_column": None}])
def test_a_last_line_without_a_line_break_that_is_no_row(
    last: str, problems: list[Any], sequence: dict[str, Any], tmp_path: Path
) -> None:
    """It is a block of its own, without any row."""
    path = table(tmp_path / "a.csv")
    path.write_text(path.read_text(encoding="utf-8") + last, encoding="utf-8")
    options = {**sequence, "features": ["x", "y"]} if sequence else {}
    assert found(recipe_of(path, **options)) == problems


def test_one_nan_one_time_twice_and_a_sequence_in_two_splits_are_all_named_with_their_rows(tmp_path: Path) -> None:
    path = table(
        tmp_path / "a.csv",
        {4: "s0,2,nan,1,a,train", 10: "s1,2,1,1,b,train", 19: "s3,2,1,1,b,test"},
    )  # row 10 was the time 3 of s1, whose time 2 is row 9
    recipe = recipe_of(path)
    assert found(recipe) == [("missing", [4]), ("duplicate_time", [9, 10]), ("two_splits", [17, 19])]
    recipe.save(tmp_path / "a.yaml")
    result = CliRunner().invoke(app, ["data", "check", str(tmp_path / "a.yaml"), "--json"])
    assert result.exit_code == 3
    problems = json.loads(result.stdout)["problems"]
    assert [problem["sequence"] for problem in problems] == ["s0", "s1", "s3"]
    assert [problem["column"] for problem in problems] == ["x", "t", "split"]
    with pytest.raises(DataError) as error:
        build_task(recipe).load()
    for wanted in ("3 problems", "column 'x': missing value: row 4", "rows 9, 10", "train and test: rows 17, 19"):
        assert wanted in str(error.value)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({3: "s0,1,abc,1,a,train"}, [("not_a_number", [3])]),
        ({3: "s0,1,inf,1,a,train"}, [("not_a_number", [3])]),
        ({3: "s0,1,1e39,1,a,train"}, [("not_a_number", [3])]),  # infinite in float32
        ({3: "s0,1,abc,1,a,train", 4: "s0,2,,1,a,train"}, [("not_a_number", [3]), ("missing", [4])]),
        ({3: "s0,inf,1,1,a,train"}, [("not_a_time", [3])]),
        ({3: "s0,1,1,1,a"}, [("cells", [3])]),
        ({3: "s0,soon,1,1,a,train"}, [("not_a_time", [3])]),
        ({3: "s0,1,1,1,b,train"}, [("target_changes", [3])]),
        ({3: "s0,1,1,1,,train"}, [("missing", [3])]),
        ({3: "s0,1,1,1,a,"}, [("missing", [3])]),
        ({3: ",1,1,1,a,train"}, [("missing", [3])]),
        ({52: "s10,0,1,1,a,dev"}, [("two_splits", [52, 53, 54, 55, 56])]),
        ({row: f"s11,{row},1,1,c,test" for row in range(57, 62)}, [("untrained_class", [57])]),
    ],
)
def test_each_mistake_has_its_row(
    changes: dict[int, str], expected: list[tuple[str, list[int]]], tmp_path: Path
) -> None:
    got = found(recipe_of(table(tmp_path / "a.csv", changes)))
    assert got[: len(expected)] == expected
    assert {kind for kind, _ in got[len(expected) :]} <= {"two_splits", "split_name"}


def warned(path: Path, **task: Any) -> dict[str, list[str]]:
    """Return the warnings by code, and hold those of `load` against those of `check`."""
    recipe = recipe_of(path, **task)
    result = check_data(recipe)
    assert result["ok"]
    assert {problem["severity"] for problem in result["problems"]} <= {"warning"}
    assert list(build_task(recipe).load().warnings) == [problem["message"] for problem in result["problems"]]
    texts: dict[str, list[str]] = {}
    for problem in result["problems"]:
        texts.setdefault(problem["code"], []).append(problem["message"])
    return texts


def test_copies_in_two_splits_are_counted_with_their_rows(tmp_path: Path) -> None:
    lines = table(tmp_path / "a.csv").read_text(encoding="utf-8").splitlines()
    first = {57 + t: line.replace("s0", "s11").replace("train", "test") for t, line in enumerate(lines[1:6])}
    second = {52 + t: line.replace("s9", "s10").replace("validation", "test") for t, line in enumerate(lines[46:51])}
    path = table(tmp_path / "a.csv", first | second)
    one, other = warned(path)["identical"]
    assert one.startswith("1 of 2 sequences of the split test are in validation too, with the same values")
    assert one.endswith("rows 47, 52")
    assert "(the first: 's0' in train and 's11' in test)" in other
    assert other.endswith("rows 2, 57")


def test_one_value_in_all_training_data_is_warned_of_and_a_value_that_varies_is_not(tmp_path: Path) -> None:
    lines = table(tmp_path / "a.csv").read_text(encoding="utf-8").splitlines()
    cells = [line.split(",") for line in lines]
    rows = {n: ",".join([*c[:2], "7.5", *c[3:]]) for n, c in enumerate(cells, 1) if n > 1 and c[5] == "train"}
    path = table(tmp_path / "a.csv", rows)
    assert [text[:45] for text in warned(path)["constant"]] == ["column 'x' is 7.5 in all training data: it te"]
    assert "constant" not in warned(path, features=["y"])
    same = {n: ",".join([*c[:3], "3", *c[4:]]) for n, c in enumerate(cells, 1) if n > 1}
    path = table(tmp_path / "b.csv", same)
    found = warned(path, kind="regression", target="y", features=["x"])["constant"]
    assert found == ["column 'y' is 3 in all training data: there is nothing to learn"]


def test_labels_of_steps_without_training_and_columns_without_a_name_are_warned_of(tmp_path: Path) -> None:
    lines = table(tmp_path / "a.csv").read_text(encoding="utf-8").splitlines()
    named = [f"{n},{line}" for n, line in enumerate(lines[1:])]
    path = tmp_path / "b.csv"
    path.write_text("\n".join([f",{lines[0]}", *named[:-1], named[-1].replace(",b,", ",z,")]) + "\n", encoding="utf-8")
    found = warned(path, kind="labelling")
    assert found.keys() == {"unnamed", "untrained_class"}
    assert found["unnamed"][0].startswith("column '(column 1)' has no name and seems to number the rows")
    assert found["untrained_class"] == ["class 'z' has no training sequence: no model can learn it"]
    assert warned(path, kind="labelling", features=["x", "y"]).keys() == {"untrained_class"}


def test_many_rows_are_counted_and_the_first_twenty_shown(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", {row: f"s{(row - 2) // 5},{(row - 2) % 5},,1,a,train" for row in range(2, 42)})
    problem = next(p for p in check_data(recipe_of(path))["problems"] if p["code"] == "missing")
    assert (problem["count"], problem["rows"]) == (40, list(range(2, 22)))
    assert "and 20 more" in problem["message"]


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"features": ["x", "z"]}, "unknown column 'z'"),
        ({"sequence": "Id"}, "unknown column 'Id'; did you mean 'id'"),
        ({"path": "nowhere.csv"}, "not found .tried .*nowhere.csv"),
        ({"target": None}, "task.target"),
        ({"kind": "labelling", "sequence": None, "order": None}, "task.sequence"),
    ],
)
def test_what_is_not_in_the_file_is_named(task: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = str(table(tmp_path / "a.csv"))
    columns = {"sequence": "id", "order": "t", "target": "label"}
    options: dict[str, Any] = {"path": path, "kind": "classification", **columns, **task}
    with pytest.raises(DataError, match=message):
        Files(**options).load(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "forecasting"}, "window: missing"),
        ({"stride": 3}, r"`stride` must be left out without task\.window, got 3"),
        (
            {"test_fraction": 0.9, "validation_fraction": 0.2},
            "`test_fraction` must be less than 1 - validation_fraction = 0.8, got 0.9",
        ),
        ({"test_fraction": 0.0}, r"`test_fraction` must be in \(0, 1\), got 0"),
        ({"split": "time"}, "`split` must be 'fraction' with kind classification, got 'time'"),
        ({"split": "fraction", "split_column": "s"}, "`split` must be left out where split_column is given"),
        ({"test_fraction": 0.3, "split_column": "s"}, "`test_fraction` must be left out where split_column is given"),
        ({"kind": "forecasting", "window": 2, "missing": "mean"}, "`missing` must be 'refuse' or 'forward_fill'"),
        ({"samples_per_step": 0}, "`samples_per_step` must be >= 1, got 0"),
        ({"target": ["a", "b"]}, "one column"),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Files(**{"path": "x.csv", "kind": "classification", **options})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lengths": "a"}, r"`task\.lengths` must be left out for the format csv, got 'a'; it is for npz and npy"),
        (
            {"samples_per_step": 9},
            r"`task\.samples_per_step` must be left out for the format csv, got 9; it is for wav",
        ),
    ],
)
def test_options_of_other_formats_are_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a,y\n" + "1,u\n2,v\n" * 30)
    Files(str(path), "classification", target="y").load()
    with pytest.raises(DataError, match=message):
        Files(str(path), "classification", target="y", **options).load()


def test_mistakes_of_the_recipe_are_at_their_keys() -> None:
    base = {"model": {"hidden_size": 4}, "optimizer": {"name": "adam", "lr": 0.1}, "train": {"epochs": 1}}
    with pytest.raises(RecipeError) as error:
        parse_recipe({"task": {"name": "files", "kind": "guessing", "horison": 2}, **base})
    for wanted in ("task.horison: unknown key", "did you mean 'horizon'", "task.path: missing", "task.kind: must be"):
        assert wanted in str(error.value)
    task = {"name": "files", "path": "x", "kind": "regression", "horizon": 0, "test_fraction": 2.0}
    with pytest.raises(RecipeError) as error:
        parse_recipe({"task": task, **base})
    assert "task.horizon: must be a number >= 1, or a list of rising ones such as [1, 6, 24], got 0" in str(error.value)
    assert "task.test_fraction: must be in (0, 1), got 2.0" in str(error.value)
    task = {"name": "files", "path": "x", "kind": "regression"}
    with pytest.raises(RecipeError, match="unknown metric 'accuracy'"):
        parse_recipe({"task": task, "target": {"metric": "accuracy", "value": 0.5}, **base})


def test_the_path_of_a_recipe_file_is_relative_to_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    path = table(folder / "a.csv")
    recipe_of(Path("a.csv")).save(folder / "r.yaml")
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe(folder / "r.yaml")
    assert build_task(recipe).source() == path.resolve()  # type: ignore[attr-defined]
    moved = Files(path="/gone/from/here/a.csv", kind="regression")
    assert moved.source(folder) == folder / "a.csv"


# Splits and scaling.


def test_fractions_keep_whole_sequences_and_the_classes_in_proportion(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = [f"s{s},{s},{'rare' if s % 5 == 0 else 'usual'}" for s in range(100) for _ in range(1 + s % 3)]
    path.write_text("id,v,label\n" + "\n".join(rows), encoding="utf-8")
    options: dict[str, Any] = {"path": str(path), "kind": "classification", "sequence": "id", "target": "label",
                               "normalise": "none", "validation_fraction": 0.2, "test_fraction": 0.3}  # fmt: skip
    splits: dict[str, set[float]] = {}
    for seed in (0, 1):
        dataset = Files(**options, split_seed=seed).load()
        sizes = {"train": 50, "validation": 20, "test": 30}
        everyone: list[float] = []
        for name, size in sizes.items():
            batch = getattr(dataset, name).batch(torch.arange(size))
            assert len(getattr(dataset, name)) == size
            assert int((batch.targets == 0).sum()) == size // 5  # rare: a fifth of each
            everyone += batch.inputs[:, 0, 0].tolist()
        assert sorted(everyone) == list(range(100))
        splits[str(seed)] = set(everyone[:50])
    assert splits["0"] != splits["1"]
    everything = Files(**{**options, "validation_fraction": 0}).load()
    assert everything.validation is None
    assert len(everything.train) == 70


def test_a_scaling_is_numpys_whatever_the_blocks_are() -> None:
    values = np.random.default_rng(0).normal([1e6, -3, 5], [2, 1e-3, 0], (1000, 3))
    values[::7, 1] = np.nan
    blocks = [values[:1], values[1:10], values[10:990], values[990:]]
    scaling = fit(blocks, 3, "standard")
    np.testing.assert_allclose(scaling.offset, np.nanmean(values, 0), rtol=1e-12)
    np.testing.assert_allclose(scaling.scale[:2], np.nanstd(values, 0)[:2], rtol=1e-9)
    assert scaling.scale[2] == 1.0  # constant: only moved
    ranged = fit(blocks, 3, "range")(values)
    np.testing.assert_allclose(np.nanmin(ranged, 0), 0, atol=1e-6)
    np.testing.assert_allclose(np.nanmax(ranged[:, :2], 0), 1, rtol=1e-6)
    unscaled = fit([values[:, 1:]], 2, "none")(values[:, 1:])
    assert unscaled[1].tolist() == np.float32(values[1, 1:]).tolist()


def test_the_test_data_do_not_move_the_scaling(tmp_path: Path) -> None:
    one = build_task(recipe_of(table(tmp_path / "a.csv"))).load()
    changes = {row: f"s11,{row},1e6,-1e6,b,test" for row in range(57, 62)}
    other = build_task(recipe_of(table(tmp_path / "b.csv", changes))).load()
    assert one.preprocessing == other.preprocessing


@pytest.mark.parametrize("policy", ["forward_fill", "mean", "drop_step"])
def test_missing_values_by_policy(policy: Any, tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", {2: "s0,0,,2,a,train", 4: "s0,2,,4,a,train", 5: "s0,3,7,,a,train"})
    dataset = build_task(recipe_of(path, missing=policy, normalise="none")).load()
    batch = dataset.train.batch(torch.tensor([0, 1]))
    lines = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()[1:41]]
    means = [np.mean([float(line[column]) for line in lines if line[column]]) for column in (2, 3)]
    if policy == "drop_step":
        kept = [[float(cell) for cell in lines[row][2:4]] for row in (1, 4)]
        means = []
    else:
        kept = [[float(cell) if cell else math.nan for cell in line[2:4]] for line in lines[:5]]
        assert batch.lengths is None
        if policy == "forward_fill":
            kept[2][0], kept[3][1] = kept[1][0], kept[2][1]
            # The mean is that of the filled values, with which the scaling is made, too.
            others = [[float(cell) for cell in line[2:4]] for line in lines[5:]]
            means = np.nanmean(kept + others, 0).tolist()
    wanted = np.array(kept)
    if means:
        wanted = np.where(np.isnan(wanted), means, wanted)
    np.testing.assert_allclose(batch.inputs[0, : len(wanted)], wanted, rtol=1e-6)


# Padding and batches.


def test_epochs_draw_every_sequence_once_and_like_lengths_together() -> None:
    lengths = torch.randint(1, 1000, (1003,), generator=torch.Generator().manual_seed(0))
    orders = [training_order(lengths, 1003, 8, 0, epoch) for epoch in range(3)]
    for order in orders:
        assert torch.equal(order.sort().values, torch.arange(1003))
        groups = lengths[order[:1000]].reshape(-1, 8)
        padded = (groups.max(1).values * 8).sum() / groups.sum()
        assert padded < 1.1  # in random order it is about 1.8
        # The groups are in no order: short and long ones follow each other.
        assert (groups[:, 0].double().diff().abs().mean()) > 200
    assert not torch.equal(orders[0], orders[1])
    assert torch.equal(orders[0], training_order(lengths, 1003, 8, 0, 0))
    same = training_order(None, 1003, 8, 0, 0)
    assert not torch.equal(orders[0], same)
    assert torch.equal(training_order(lengths, 7, 8, 0, 0).sort().values, torch.arange(7))


@pytest.mark.parametrize("poison", [math.nan, 1e30, math.inf])
@pytest.mark.parametrize(("output", "loss"), [("last", "cross_entropy"), ("every", "cross_entropy"), ("every", "mse")])
def test_poisoned_padding_reaches_neither_loss_nor_metric_nor_gradient(output: str, loss: str, poison: float) -> None:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([3, 7, 1, 5])
    after = torch.arange(7) >= lengths[:, None]
    inputs = torch.randn(4, 7, 2, generator=generator)
    if loss == "mse":
        targets = torch.randn(4, 7, 3, generator=generator).masked_fill(after[..., None], math.nan)
    elif output == "every":
        targets = torch.randint(0, 3, (4, 7), generator=generator).masked_fill(after, NOT_SCORED)
    else:
        targets = torch.randint(0, 3, (4,), generator=generator)
    recipe = load_recipe("digits", ["model.hidden_size=5"])
    torch.manual_seed(0)
    model = build_model(recipe, 2, 3, output)
    metrics = ("loss", "mse", "mae") if loss == "mse" else ("loss", "accuracy")
    objective = Objective(loss, output, metrics=metrics)

    def run(filled: float) -> tuple[list[float], list[torch.Tensor]]:
        batch = Batch(inputs.masked_fill(after[..., None], filled), targets, lengths)
        model.zero_grad()
        outputs, _ = model(batch.inputs, batch.lengths)
        if output == "every":  # whatever a head might make of padding
            outputs = torch.where(after[..., None], torch.full_like(outputs, filled), outputs)
        objective.loss_sum(outputs, batch.targets).backward()
        gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        return objective.totals(outputs.detach(), batch.targets).sum(0).tolist(), gradients

    (clean, clean_gradients), (dirty, dirty_gradients) = run(0.0), run(poison)
    assert clean == dirty
    assert all(math.isfinite(value) for value in clean)
    for one, other in zip(clean_gradients, dirty_gradients, strict=True):
        assert torch.equal(one, other)
        assert one.isfinite().all()
    alone = sum(
        objective.loss_sum(
            model(inputs[row : row + 1, :length], None)[0],
            targets[row : row + 1, :length] if output == "every" else targets[row : row + 1],
        ).item()
        for row, length in enumerate(lengths.tolist())
    )
    assert clean[0] == pytest.approx(alone, rel=1e-5)
    assert clean[1] == objective.scored(targets).sum()


def test_a_resumed_training_goes_on_with_the_same_batches_bit_for_bit(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    draw = random.Random(0)
    rows = [f"s{s},{draw.gauss(0, 1):.3f},{'ab'[s % 2]}" for s in range(40) for _ in range(draw.randint(2, 12))]
    path.write_text("id,v,label\n" + "\n".join(rows), encoding="utf-8")
    recipe = recipe_of(path, order=None, split_column=None)
    dataset = build_task(recipe).load()
    assert dataset.train.lengths is not None
    fabric = Fabric(accelerator="cpu", devices=1)
    whole = Trainer(recipe, dataset, fabric)
    losses = [whole.step().loss for _ in range(16)]
    first = Trainer(recipe, dataset, fabric)
    assert [first.step().loss for _ in range(6)] == losses[:6]
    second = Trainer(recipe, dataset, fabric)
    restore(second, snapshot(first))
    assert [second.step().loss for _ in range(10)] == losses[6:]


# Looking.


def test_a_description_counts_what_is_there(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", {4: "s0,2,-50,,a,train"})
    result = describe_data(recipe_of(path, missing="mean"), picture=tmp_path / "s.png")
    assert {name: split["sequences"] for name, split in result["splits"].items()} == {
        "train": 8, "validation": 2, "test": 2,
    }  # fmt: skip
    assert result["splits"]["train"]["classes"] == {"a": 4, "b": 4}
    x, y = result["features"]
    assert (x["name"], x["minimum"], x["missing"], y["missing"]) == ("x", -50.0, 0, 1)
    cells = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    assert y["mean"] == pytest.approx(np.mean([float(row[3]) for row in cells if row[3]]), rel=1e-6)
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")
    assert describe_data(load_recipe("digits"))["splits"]["test"]["sequences"] == 360


@pytest.mark.parametrize(
    ("lines", "target", "wanted"),
    [
        ("id,t,x,label\na,1,2,up\na,2,3,up\nb,1,2,down", None,
         {"kind": "classification", "sequence": "id", "order": "t", "features": ["x"], "target": "label"}),
        ("date,load,wind\n2024-01-01,1.5,2\n2024-01-02,2.5,3\n2024-01-03,0.25,4", ["load"],
         {"kind": "forecasting", "order": "date", "features": ["load", "wind"], "target": "load", "window": 1}),
        ("a,b,c,y\n1,2,3,0.5\n2,3,4,0.75", None, {"kind": "regression", "features": ["a", "b", "c"], "target": "y"}),
        ("series,x,state\na,1,up\na,2,down\nb,2,up", ["state"],
         {"kind": "labelling", "sequence": "series", "features": ["x"], "target": "state"}),
        ("id,x,note,class,split\na,1,hm,0,train\na,2,oh,0,train\nb,2,x,1,test", None,
         {"kind": "classification", "features": ["x"], "split_column": "split"}),
    ],
)  # fmt: skip
def test_a_first_recipe_is_guessed_from_names_and_values(
    lines: str, target: list[str] | None, wanted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "my data.csv"
    path.write_text(lines + "\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    written = write_first_recipe(path, target=target)
    assert written == Path("my data.yaml")
    options = load_recipe(written).task.options
    assert options["path"] == str(path.resolve())
    assert {key: options[key] for key in wanted} == wanted
    with pytest.raises(RecipeError, match="exists"):
        write_first_recipe(path, target=target)
    with pytest.raises(RecipeError, match="unknown column 'nothing'"):
        first_recipe(path, target=["nothing"])


def test_a_first_recipe_of_arrays_and_lists(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((6, 4, 2)), y=np.array([0, 1] * 3))
    (tmp_path / "b.jsonl").write_text('{"id": 1, "v": [[1, 2], [3, 4]], "label": "a"}\n', encoding="utf-8")
    np.save(tmp_path / "c.npy", np.zeros((50, 3)))
    for name in ("a.npz", "b.jsonl", "c.npy"):
        write_first_recipe(tmp_path / name, tmp_path / f"{name}.yaml")
    assert build_task(load_recipe(tmp_path / "a.npz.yaml")).load().input_size == 2
    assert load_recipe(tmp_path / "b.jsonl.yaml").task.options["features"] == ["v"]
    assert build_task(load_recipe(tmp_path / "c.npy.yaml")).load().output_size == 3


# Memory.


def peak_growth(path: Path, extra: str, folder: Path) -> int:
    """Return the bytes by which loading and drawing every batch grows a fresh process."""
    code = f"""
import sys, resource, torch
import pyarrow.parquet
from momentum_cli.data import Files
from momentum_cli.data.files import cache
{extra}
def status(key):
    return 1024 * int(next(l for l in open('/proc/self/status') if l.startswith(key)).split()[1])
before = status('VmRSS')
data = Files(path={str(path)!r}, kind='classification', sequence='id', target='label').load()
for group in torch.split(torch.arange(len(data.train)), 64):
    data.train.batch(group)
print(status('VmHWM') - before)
"""
    import os

    environment = {**os.environ, "XDG_CACHE_HOME": str(folder), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    return int(done.stdout)


def write_large(path: Path, sequences: int, steps: int, columns: int) -> int:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    names = [f"f{index}" for index in range(columns)]
    schema = pa.schema([("id", pa.int64()), *((name, pa.float32()) for name in names), ("label", pa.string())])
    random_values = np.random.default_rng(0)
    with pq.ParquetWriter(path, schema, compression="none", use_dictionary=["label", "id"]) as writer:
        for start in range(0, sequences, 100):
            count = min(100, sequences - start)
            ids = np.repeat(np.arange(start, start + count), steps)
            values = random_values.standard_normal((columns, len(ids))).astype(np.float32)
            labels = pa.array(np.where(ids % 2, "odd", "even"))
            writer.write_table(pa.table([pa.array(ids), *map(pa.array, values), labels], schema=schema))
    return path.stat().st_size


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_size_of_a_large_parquet_file(tmp_path: Path) -> None:
    sizes, growths = [], []
    for sequences in (500, 2500):
        path = tmp_path / f"{sequences}.parquet"
        sizes.append(write_large(path, sequences, steps=200, columns=64))
        growths.append(peak_growth(path, "cache.LARGE = 1", tmp_path))
        path.unlink()
    # A block is 8 MB as numbers, and a few copies of one are alive at a time, with what an import brings.
    assert sizes[1] - sizes[0] > 90e6
    assert growths[1] - growths[0] < 0.4 * (sizes[1] - sizes[0])


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_two_gigabytes_train_within_one_gigabyte(tmp_path: Path) -> None:
    size = write_large(tmp_path / "a.parquet", sequences=40_000, steps=200, columns=64)
    assert size > 2e9
    assert peak_growth(tmp_path / "a.parquet", "", tmp_path) < 1e9


def test_a_file_of_one_class_is_named_once(tmp_path: Path) -> None:
    path = tmp_path / "one.csv"
    rows = [f"s{n},{t},{n + t},1" for n in range(12) for t in range(3)]
    path.write_text("\n".join(["id,t,x,label", *rows]) + "\n", encoding="utf-8")
    (problem,) = check_data(recipe_of(path, split_column=None))["problems"]
    assert problem["message"] == "the target must have two or more classes, got 1"


def test_a_picture_shows_the_values_of_the_file_with_the_names_of_its_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from momentum_cli.pictures import samples as module

    drawn: list[Any] = []
    monkeypatch.setattr(module, "samples", lambda *arguments, unit: drawn.append((*arguments, unit)))
    path = table(tmp_path / "a.csv")
    describe_data(recipe_of(path), picture=tmp_path / "s.svg")
    ((sequences, titles, _, names, unit),) = drawn
    cells = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    np.testing.assert_allclose(sequences[0], [[float(cell) for cell in row[2:4]] for row in cells[:5]], rtol=1e-5)
    assert (names, titles[:2], unit) == (["x", "y"], ["a", "b"], "")
    describe_data(recipe_of(path, normalise="sequence"), picture=tmp_path / "s.svg")
    sequences, *_, unit = drawn[1]
    np.testing.assert_allclose([sequences[0].mean(0), sequences[0].std(0)], [[0, 0], [1, 1]], atol=1e-5)
    assert unit == "standard deviations from the mean of the sequence"
