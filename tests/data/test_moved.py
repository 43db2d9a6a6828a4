"""Images that are moved in training: each pixel against a plain loop, the draws, and what evaluations see."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from momentum_cli.data.digits import Digits
from momentum_cli.data.moved import MovedSplit, moves
from momentum_cli.recipe.recipe import load_recipe
from momentum_cli.training.train import train


def moved_by_hand(image: list[list[int]], down: int, right: int) -> list[list[int]]:
    """Move an image pixel by pixel; what comes from outside is 0."""
    height, width = len(image), len(image[0])
    found = [[0] * width for _ in range(height)]
    for row in range(height):
        for column in range(width):
            if 0 <= row + down < height and 0 <= column + right < width:
                found[row + down][column + right] = image[row][column]
    return found


@pytest.mark.parametrize("permuted", [False, True])
def test_every_move_is_that_of_a_plain_loop(permuted: bool) -> None:
    height, width, shift = 5, 4, 2
    image = torch.randint(1, 250, (height, width), dtype=torch.uint8)
    order = torch.randperm(height * width) if permuted else torch.arange(height * width)
    table = moves(height, width, shift, order if permuted else None)
    read = torch.cat([image.flatten()[order], torch.zeros(1, dtype=torch.uint8)])
    ours = {tuple(read[source].tolist()) for source in table}
    steps = range(-shift, shift + 1)
    plain = [torch.tensor(moved_by_hand(image.tolist(), down, right)) for down in steps for right in steps]
    assert len(table) == 25
    assert ours == {tuple(one.flatten()[order].tolist()) for one in plain}
    assert torch.equal(read[table[0]], read[:-1])


def test_each_epoch_draws_a_move_for_each_image_and_an_evaluation_none() -> None:
    plain = Digits(pixels_per_step=4, permutation_seed=1).load().train
    split = Digits(pixels_per_step=4, permutation_seed=1, shift=1).load().train
    assert isinstance(split, MovedSplit)
    every = torch.cat(list(split.evaluation_groups(500)))
    assert torch.equal(split.batch(every).inputs, plain.batch(every).inputs)
    groups = split.training_groups(100, seed=7)
    first, again, second = (
        torch.cat([groups.group(epoch, step) for step in range(groups.steps)]) for epoch in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert torch.equal((first % len(split)).sort().values, every)
    drawn = torch.bincount(first // len(split), minlength=9)
    assert (drawn.float() / len(split) - 1 / 9).abs().max() < 0.04
    moved, later = ((numbers // len(split))[(numbers % len(split)).argsort()] for numbers in (first, second))
    assert 0.05 < float((moved == later).float().mean()) < 0.2
    batch, still = split.batch(first), plain.batch(first % len(split))
    assert torch.equal(batch.targets, still.targets)
    assert split.scored_in(first) == len(split)
    same = (batch.inputs == still.inputs).flatten(1).all(1)
    assert torch.equal(same, first // len(split) == 0)


def test_a_training_on_moved_images_continues_bit_for_bit(tmp_path: Path) -> None:
    recipe = load_recipe(
        "digits",
        ["task.shift=1", "schedule.name=constant", "model.hidden_size=4", "train.epochs=2", "train.max_steps=60"],
    )
    whole = train(recipe, out=tmp_path / "whole")
    train(recipe.override("train.max_steps=50"), out=tmp_path / "cut")
    rest = train(recipe, resume=tmp_path / "cut")
    assert whole["final"] == rest["final"]
    assert whole["final"] != train(recipe.override("task.shift=0"), out=tmp_path / "still")["final"]


@pytest.mark.parametrize("shift", [-1, 4])
def test_an_image_cannot_be_moved_out_of_itself(shift: int) -> None:
    with pytest.raises(ValueError, match=rf"`shift` must be in \[0, 3\], less than half of 8 pixels, got {shift}"):
        Digits(shift=shift)
