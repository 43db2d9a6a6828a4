"""Splits, scaling, missing values, padding and the order of an epoch are as stated."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gesture_tables import recipe_of, table
from lightning_fabric import Fabric

from momentum_cli.data import NOT_SCORED, Batch, Files
from momentum_cli.data.batching import training_order
from momentum_cli.data.files.normalisation import fit
from momentum_cli.recipe.building import build_model, build_task
from momentum_cli.recipe.recipe import load_recipe
from momentum_cli.training.objective import Objective
from momentum_cli.training.snapshot import restore, snapshot
from momentum_cli.training.trainer import Trainer


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
