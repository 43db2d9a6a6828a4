"""The objective: sums of batches that turn into metrics, against computations by hand and by torch."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from momentum_cli.data import NOT_SCORED, Split
from momentum_cli.training.objective import Objective, Scores


def test_accuracy_per_step_counts_only_scored_steps() -> None:
    objective = Objective("cross_entropy", "every", slice(2, None), metrics=("loss", "accuracy"))
    targets = torch.tensor([[NOT_SCORED, 1, 0, 2], [1, NOT_SCORED, 2, NOT_SCORED]])
    logits = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    logits[0, 2] = torch.tensor([9.0, 0.0, 0.0])
    logits[0, 3] = torch.tensor([9.0, 0.0, 0.0])
    logits[1, 2] = torch.tensor([0.0, 0.0, 9.0])
    assert objective.scored(targets).tolist() == [3, 2]
    results = objective.results(objective.totals(logits, targets).sum(0))
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
    assert results["loss"] == pytest.approx(expected.item(), rel=1e-6)
    assert results["accuracy"] == pytest.approx(2 / 3)


def test_a_regression() -> None:
    objective = Objective("mse", "last", metrics=("loss", "mse", "mae"))
    results = objective.results(objective.totals(torch.tensor([[1.0], [3.0]]), torch.tensor([2.0, 3.0])).sum(0))
    assert results == {"loss": 0.5, "mse": 0.5, "mae": 0.5}


def test_values_that_are_not_scored_and_errors_in_original_units() -> None:
    targets = torch.tensor([[1.0, math.nan], [0.0, 2.0]])
    outputs = torch.tensor([[2.0, 1e30], [0.0, 0.0]])
    objective = Objective("mse", "last", target_scale=(10.0, 0.5), metrics=("loss", "mse", "mae"))
    assert objective.scored(targets).tolist() == [1, 2]
    results = objective.results(objective.totals(outputs, targets).sum(0))
    assert results == {"loss": pytest.approx(5 / 3), "mse": pytest.approx(101 / 3), "mae": pytest.approx(11 / 3)}
    split = Split(torch.zeros(2, 1, 1), targets)
    assert split.scored.tolist() == [1, 2]
    assert (split.longest, len(split.head(1))) == (1, 1)


@pytest.mark.parametrize(
    ("metric", "of_nats"), [("perplexity", math.exp), ("bits_per_character", lambda nats: nats / math.log(2))]
)
def test_metrics_of_tokens_come_from_the_mean_over_all_of_them(metric: str, of_nats: object) -> None:
    """Not from the mean of the metrics of batches, which is another number for batches of unequal loss."""
    objective = Objective("cross_entropy", "every", metrics=("loss", metric))
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, 5, generator=generator) * 3
    targets = torch.randint(0, 5, (3, 4), generator=generator)
    totals = torch.zeros(len(objective.sums), dtype=torch.float64)
    for part in (slice(0, 1), slice(1, 3)):
        totals += objective.totals(logits[part], targets[part]).sum(0)
    results = objective.results(totals)
    nats = -logits.double().log_softmax(-1).gather(2, targets.unsqueeze(2)).mean().item()
    assert callable(of_nats)
    assert results == {"loss": pytest.approx(nats, rel=1e-6), metric: pytest.approx(of_nats(nats), rel=1e-6)}
    assert list(results) == ["loss", metric]


def test_a_target_of_zero_is_zero_after_its_way_through_float32() -> None:
    values = torch.tensor([0.0, 3.3, -7.7, 0.01, 1e6], dtype=torch.float64)
    offset, scale = 12345.678, 321.123
    scaled = ((values - offset) / scale).float()
    objective = replace(
        Objective("mse", "last", metrics=("mape", "smape")), target_scale=(scale,), target_offset=(offset,)
    )
    scores = Scores(objective, scaled[:, None] + 1.0, scaled[:, None])
    assert (scores.wanted[:, 0] != 0).tolist() == [False, True, True, True, True]
    sums = dict(zip(objective.sums, scores.totals().sum(0).tolist(), strict=True))
    assert sums["nonzero"] == 4
    expected = math.fsum(scale / abs(value) for value in scores.wanted[1:, 0].tolist())
    assert sums["percentages"] == pytest.approx(expected, rel=1e-6)
    assert (Scores(Objective("mse", "last"), values, values).wanted == values).all()
