"""Evaluations as they are added up: metrics in any order of batches, and error bars against theory."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from momentum_cli.data import NOT_SCORED
from momentum_cli.metrics import METRICS
from momentum_cli.training.objective import Objective
from momentum_cli.training.tally import Tally

CLASSES = ("loss", "accuracy", "balanced_accuracy", "macro_f1", "matthews", "auroc", "average_precision")


def answered(rows: int, *steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(3, (rows, *steps), generator=generator)
    outputs = torch.randn(rows, *steps, 3, generator=generator)
    return outputs + 1.5 * torch.nn.functional.one_hot(targets, 3), targets


def filled(objective: Objective, outputs: torch.Tensor, targets: torch.Tensor, order: list[int]) -> Tally:
    tally = Tally(objective, "cpu", keep=True)
    for part in torch.tensor(order).split(7):
        tally.add(outputs[part], targets[part], part)
    return tally


def test_metrics_are_those_of_all_answers_together() -> None:
    outputs, targets = answered(60)
    objective = Objective("cross_entropy", "last", metrics=CLASSES)
    found = filled(objective, outputs, targets, list(range(60))).metrics()
    assert list(found) == list(CLASSES)
    true, answers = targets.numpy(), outputs.argmax(1).numpy()
    assert found["accuracy"] == pytest.approx((true == answers).mean())
    recalls = [(answers[true == k] == k).mean() for k in range(3)]
    precisions = [(true[answers == k] == k).mean() for k in range(3)]
    assert found["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    f1 = [2 * p * r / (p + r) for p, r in zip(precisions, recalls, strict=True)]
    assert found["macro_f1"] == pytest.approx(np.mean(f1))
    shares = outputs.double().softmax(1).numpy()
    areas = []
    for k in range(3):
        own, rest = shares[true == k, k], shares[true != k, k]
        areas.append((own[:, None] > rest).mean() + (own[:, None] == rest).mean() / 2)
    assert found["auroc"] == pytest.approx(np.mean(areas))


@pytest.mark.parametrize("steps", [(), (4,)], ids=["last", "every"])
def test_neither_metrics_nor_intervals_depend_on_the_order_of_the_batches(steps: tuple[int, ...]) -> None:
    outputs, targets = answered(30, *steps)
    if steps:
        targets[::3, 2:] = NOT_SCORED
    objective = Objective("cross_entropy", "every" if steps else "last", metrics=CLASSES)
    shuffled = torch.randperm(30, generator=torch.Generator().manual_seed(1)).tolist()
    one = filled(objective, outputs, targets, list(range(30)))
    other = filled(objective, outputs, targets, shuffled)
    assert one.metrics() == pytest.approx(other.metrics())
    for name, ends in one.intervals().items():
        assert ends == pytest.approx(other.intervals()[name]), name


def test_steps_that_are_not_scored_are_in_no_metric() -> None:
    outputs, targets = answered(12, 5)
    kept = outputs[:, :3].flatten(0, 1), targets[:, :3].flatten()
    targets[:, 3:] = NOT_SCORED
    every = Objective("cross_entropy", "every", metrics=CLASSES)
    last = Objective("cross_entropy", "last", metrics=CLASSES)
    found = filled(every, outputs, targets, list(range(12))).metrics()
    assert found == pytest.approx(filled(last, *kept, list(range(36))).metrics())


def test_the_error_bar_of_an_accuracy_is_that_of_a_share() -> None:
    """Of n independent answers with the share p the standard deviation is sqrt(p (1 - p) / n)."""
    outputs, targets = answered(1500)
    found = filled(
        Objective("cross_entropy", "last", metrics=("accuracy", "auroc")), outputs, targets, list(range(1500))
    )
    share = found.metrics()["accuracy"]
    low, high = found.intervals()["accuracy"]
    # The ends are percentiles of 1000 resamples, whose own deviation is about 4 % of the width.
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(share * (1 - share) / 1500), rel=0.12)
    assert low < share < high
    low, high = found.intervals()["auroc"]
    assert low < found.metrics()["auroc"] < high


def test_windows_that_share_their_steps_vary_more_than_independent_ones() -> None:
    """Means of m equal neighbours have sqrt(m) times the deviation of as many independent values."""
    errors = torch.randn(150, generator=torch.Generator().manual_seed(0)).repeat_interleave(10).unsqueeze(1)
    objective = Objective("mse", "last", metrics=("mse",))
    tally = filled(objective, errors, torch.zeros(1500, 1), list(range(1500)))
    widths = [high - low for low, high in (tally.intervals(block)["mse"] for block in (1, 50))]
    assert widths[1] / widths[0] == pytest.approx(math.sqrt(10), rel=0.25)


def test_errors_of_values_in_their_own_unit() -> None:
    scale, offset = (2.0, 0.5), (10.0, -1.0)
    metrics = ("mse", "rmse", "mae", "mape", "smape", "mase")
    objective = Objective("mse", "last", target_scale=scale, target_offset=offset, metrics=metrics)
    wanted = torch.tensor([[12.0, 0.0], [8.0, -2.0]])
    predicted = torch.tensor([[13.0, 0.5], [6.0, math.inf]])
    scaled = [(values - torch.tensor(offset)) / torch.tensor(scale) for values in (predicted, wanted)]
    scaled[1][1, 1] = math.nan  # has no target
    tally = Tally(objective, "cpu")
    # The divisors of the errors, and the weights of the quotients: those of the second sequence count half.
    naive_errors = torch.tensor([[[4.0, 0.25], [4.0, 0.25]], [[1.0, 1.0], [0.5, 0.5]]], dtype=torch.float64)
    tally.add(scaled[0], scaled[1], torch.tensor([0, 1]), naive_errors=naive_errors)
    found = tally.metrics()
    assert found["mse"] == pytest.approx((1 + 0.25 + 4) / 3)
    assert found["rmse"] == pytest.approx(math.sqrt(5.25 / 3))
    assert found["mae"] == pytest.approx(3.5 / 3)
    # The second target is 0 and has no percentage.
    assert found["mape"] == pytest.approx((1 / 12 + 2 / 8) / 2)
    assert found["smape"] == pytest.approx((1 / 12.5 + 0.5 / 0.25 + 2 / 7) / 3)
    assert found["mase"] == pytest.approx((1 / 4 + 0.5 / 0.25 + 0.5 * 2 / 4) / 2.5)


def test_a_metric_without_anything_to_judge_is_not_a_number() -> None:
    objective = Objective("cross_entropy", "every", metrics=CLASSES)
    tally = Tally(objective, "cpu", keep=True)
    tally.add(torch.zeros(2, 3, 4), torch.full((2, 3), NOT_SCORED), torch.arange(2))
    found = tally.metrics()
    assert all(math.isnan(found[name]) for name in CLASSES if METRICS[name].of_scores or METRICS[name].total)


def of_text(certainty: torch.Tensor, streams: int = 1, window: int = 1000) -> Tally:
    """Return the tally of a text of two tokens whose first one is right, with the logit `certainty` at each step."""
    found = Tally(Objective("cross_entropy", "every", metrics=("loss", "perplexity")), "cpu", keep=True)
    outputs = torch.stack([certainty, torch.zeros_like(certainty)], 1)
    positions = torch.arange(len(certainty)).view(streams, -1)
    for part in positions.split(window, 1):
        found.add_windows(outputs[part], torch.zeros_like(part), part)
    return found


def test_the_error_bar_of_a_text_of_independent_tokens_is_that_of_a_mean() -> None:
    certainty = torch.randn(32_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    losses = torch.nn.functional.softplus(-certainty)
    found = of_text(certainty)
    low, high = found.intervals()["loss"]
    assert high - low == pytest.approx(2 * 1.96 * losses.std().item() / math.sqrt(32_000), rel=0.2)
    assert low < losses.mean().item() < high
    assert found.intervals()["perplexity"] == pytest.approx((math.exp(low), math.exp(high)), rel=1e-9)


def test_the_error_bar_of_a_text_knows_that_neighbouring_tokens_are_alike() -> None:
    """The losses are equal in each of 640 runs of 100 steps, so there are 640 independent ones."""
    certainty = torch.randn(640, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    losses = torch.nn.functional.softplus(-certainty)
    low, high = of_text(certainty.repeat_interleave(100)).intervals()["loss"]
    right = 2 * 1.96 * losses.std().item() / math.sqrt(640)
    assert 0.75 * right < high - low < 1.15 * right


def test_metrics_of_a_text_do_not_depend_on_its_windows_and_steps_beyond_its_end_count_nothing() -> None:
    certainty = torch.randn(960, generator=torch.Generator().manual_seed(0))
    one, other = of_text(certainty), of_text(certainty, streams=3, window=50)
    assert other.metrics() == pytest.approx(one.metrics(), rel=1e-6)
    alone = one.intervals()
    beyond = torch.arange(960, 1024)[None]
    one.add_windows(torch.ones(1, 64, 2), torch.full((1, 64), NOT_SCORED), beyond)
    assert one.metrics() == pytest.approx(other.metrics(), rel=1e-6)
    assert one.intervals() == alone
