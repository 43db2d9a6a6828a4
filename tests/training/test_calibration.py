"""Calibrated intervals: the rank of the margin, and the coverage that theory promises."""

from __future__ import annotations

import math

import pytest
import torch

from momentum_cli.training.calibration import conformity, shifts
from momentum_cli.training.objective import Objective, pinball
from momentum_cli.training.tally import Tally

LEVELS = (0.1, 0.5, 0.9)


def test_the_score_is_the_distance_from_the_interval() -> None:
    quantiles = torch.tensor([[[1.0, 2.0, 4.0]], [[1.0, 2.0, 4.0]], [[1.0, 2.0, 4.0]]])
    found = conformity(quantiles, torch.tensor([[0.5], [2.0], [7.0]]))
    assert found.flatten().tolist() == [0.5, -1.0, 3.0]


def test_the_margin_is_the_score_of_the_rank_of_the_paper() -> None:
    """Of 9 scores ceil(10 * 0.8) = 8: the second largest."""
    scores = torch.arange(9.0)[torch.randperm(9)].view(9, 1, 1)
    assert shifts(scores, LEVELS) == [[-7.0, 0.0, 7.0]]
    # Of 3 scores ceil(4 * 0.8) = 4, which is more than there are.
    assert shifts(scores[:3], LEVELS) is None
    missing = torch.cat([scores, torch.full((5, 1, 1), math.nan)])
    assert shifts(missing, LEVELS) == [[-7.0, 0.0, 7.0]]


def test_intervals_of_a_wrong_model_cover_what_they_say_once_calibrated() -> None:
    """The model takes the noise for a tenth of what it is; in the mean over many splits coverage is 80 %."""
    generator = torch.Generator().manual_seed(0)
    covered = []
    for _ in range(60):
        noise = torch.randn(400, 1, generator=generator)
        quantiles = torch.tensor([-0.128, 0.0, 0.128]).expand(400, 1, 3)
        margin = shifts(conformity(quantiles[:200], noise[:200]), LEVELS)
        objective = Objective("pinball", "last", quantiles=LEVELS, metrics=("pinball",)).calibrated(margin)
        tally = Tally(objective, "cpu")
        tally.add(quantiles[200:].flatten(1), noise[200:], torch.arange(200))
        covered += [one["coverage"] for one in tally.coverage()]
    # Each has a deviation of about sqrt(0.8 * 0.2 * (1 / 200 + 1 / 200)) = 0.04, their mean of 0.005.
    assert sum(covered) / 60 == pytest.approx(0.8, abs=0.02)


def test_pinball_is_lowest_at_the_quantile_and_half_the_absolute_error_at_the_median() -> None:
    values = torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    losses = {
        at: float(pinball(torch.full((20_000, 1), at), values, (0.9,)).mean())
        for at in (1.0, float(values.quantile(0.9)), 1.6)
    }
    assert min(losses, key=losses.__getitem__) == pytest.approx(float(values.quantile(0.9)))
    assert float(pinball(torch.zeros(20_000, 1), values, (0.5,)).mean()) == pytest.approx(
        float(values.abs().mean()) / 2
    )


def test_crossed_quantiles_are_sorted_in_loss_metrics_and_coverage() -> None:
    crossed = torch.tensor([[3.0, 2.0, 1.0]], requires_grad=True)
    wanted = torch.tensor([[2.5]])
    objective = Objective(
        "pinball",
        "last",
        quantiles=LEVELS,
        target_scale=(10.0,),
        target_offset=(5.0,),
        metrics=("loss", "pinball", "mae", "mse"),
    )
    loss = objective.loss_sum(crossed, wanted)
    # Errors 1.5, 0.5 and -0.5 of the levels 0.1, 0.5 and 0.9.
    by_hand = (0.1 * 1.5 + 0.5 * 0.5 + 0.1 * 0.5) / 3
    assert float(loss.detach()) == pytest.approx(by_hand)
    loss.backward()
    # The largest output is the highest quantile, whatever its place: it is above the target and is pulled down.
    assert crossed.grad is not None
    assert crossed.grad.flatten().tolist() == pytest.approx([0.1 / 3, -0.5 / 3, -0.1 / 3])
    tally = Tally(objective, "cpu")
    tally.add(crossed.detach(), wanted, torch.arange(1))
    found = tally.metrics()
    assert found == {
        "loss": pytest.approx(by_hand),
        "pinball": pytest.approx(10 * by_hand),
        "mae": pytest.approx(5.0),
        "mse": pytest.approx(25.0),
    }
    (interval,) = tally.coverage()
    assert interval == {"level": pytest.approx(0.8), "coverage": 1.0, "width": pytest.approx(20.0)}
