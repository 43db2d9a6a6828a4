"""Class weights and label smoothing are those of torch, and reach the gradient of a step, not the evaluation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from toy_trainer import dataset, parameters, trainer

from momentum_cli.data import NOT_SCORED
from momentum_cli.errors import DataError
from momentum_cli.training.class_loss import ClassLoss, class_counts, class_weights


def test_weights_are_balanced_or_by_name_with_a_mean_of_one_over_the_targets() -> None:
    counts = torch.tensor([60, 30, 10])
    balanced = class_weights("balanced", counts, ("a", "b", "c"))
    torch.testing.assert_close(balanced * counts, torch.full((3,), 100 / 3, dtype=torch.float64))
    named = class_weights({"c": 5.0}, counts, ("a", "b", "c"))
    torch.testing.assert_close(named, torch.tensor([1.0, 1.0, 5.0], dtype=torch.float64) * 100 / 140)
    assert class_weights("balanced", torch.tensor([4, 0]), None).isfinite().all()
    with pytest.raises(DataError, match=r"train\.class_weights: unknown class 'd'.*allowed: a, b, c"):
        class_weights({"d": 2.0}, counts, ("a", "b", "c"))


def test_the_sum_is_that_of_torch_and_leaves_out_what_is_not_scored() -> None:
    outputs = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    targets = torch.arange(20).reshape(4, 5) % 3
    targets[1, 2:] = NOT_SCORED
    weights, smoothing = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64), 0.2
    logs, total = outputs.log_softmax(-1), 0.0
    for row in range(4):
        for step in range(5):
            if targets[row, step] != NOT_SCORED:
                own, of = logs[row, step], int(targets[row, step])
                total -= float((1 - smoothing) * weights[of] * own[of] + smoothing / 3 * (weights * own).sum())
    assert float(ClassLoss(weights, smoothing)(outputs, targets)) == pytest.approx(total)


@pytest.mark.parametrize(
    "train", [{"class_weights": {"1": 3.0}}, {"label_smoothing": 0.3}, {"class_weights": "balanced"}]
)
def test_a_step_trains_with_them_and_an_evaluation_does_not_know_them(train: dict[str, Any]) -> None:
    data = dataset()
    data = replace(data, train=replace(data.train, targets=torch.tensor([0] * 6 + [1] * 3 + [2])))  # type: ignore[type-var]
    assert class_counts(data).tolist() == [6, 3, 1]
    plain, changed = trainer(data), trainer(data, train=train)
    assert plain.evaluate("test") == changed.evaluate("test")
    for one in (plain, changed):
        one.step()
    assert not torch.equal(parameters(plain), parameters(changed))
