"""The table of metrics: directions, functions of a mean, and the words for people."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from momentum_cli.metrics import METRICS, better, reaches
from momentum_cli.ranking import Ranking
from momentum_cli.training.objective import SUMS
from momentum_cli.wording import metric_text, target_text


def test_better_and_reached_know_the_direction() -> None:
    assert better("accuracy", 0.6, 0.5)
    assert not better("accuracy", math.nan, 0.5)
    assert better("mse", 0.4, 0.5)
    assert reaches("accuracy", 0.5, 0.5)
    assert reaches("mse", 0.5, 0.5)
    assert not reaches("mse", 0.51, 0.5)
    assert not reaches("loss", math.nan, 0.5)


def test_every_sum_is_one_that_batches_are_added_up_to_and_none_is_for_nothing() -> None:
    assert {name for metric in METRICS.values() for name in metric.added} == SUMS.keys()


def test_every_metric_has_one_form() -> None:
    for name, metric in METRICS.items():
        forms = [bool(metric.total), bool(metric.sums), metric.of_confusion is not None, metric.of_scores is not None]
        assert sum(forms) == 1, name
        assert bool(metric.sums) == (metric.of_sums is not None), name


def test_classes_that_are_not_there_do_not_count() -> None:
    """Class 2 is never there and once predicted; class 3 is neither."""
    confusion = np.array([[3, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]], float)
    assert METRICS["balanced_accuracy"].of_confusion(confusion) == pytest.approx((3 / 4 + 1 / 2) / 2)  # type: ignore[misc]
    f1 = [2 * 3 / (4 + 3), 2 * 1 / (2 + 2), 0.0]
    assert METRICS["macro_f1"].of_confusion(confusion) == pytest.approx(sum(f1) / 3)  # type: ignore[misc]


def test_matthews_is_the_correlation_of_two_classes() -> None:
    confusion = np.array([[7, 3], [2, 8]], float)
    true = np.repeat([0, 0, 1, 1], [7, 3, 2, 8])
    answers = np.repeat([0, 1, 0, 1], [7, 3, 2, 8])
    wanted = np.corrcoef(true, answers)[0, 1]
    assert METRICS["matthews"].of_confusion(confusion) == pytest.approx(wanted)  # type: ignore[misc]
    assert METRICS["matthews"].of_confusion(np.array([[7.0, 0.0], [2.0, 0.0]])) == 0.0  # type: ignore[misc]


@pytest.mark.slow
def test_metrics_of_classes_are_those_of_torchmetrics() -> None:
    found = pytest.importorskip("torchmetrics.functional.classification")
    generator = torch.Generator().manual_seed(0)
    scores = (torch.randn(400, 4, generator=generator, dtype=torch.float64)).log_softmax(1)
    true = torch.randint(4, (400,), generator=generator)
    confusion = torch.bincount(true * 4 + scores.argmax(1), minlength=16).reshape(4, 4).double().numpy()
    of_confusion = {
        "balanced_accuracy": found.multiclass_recall(scores, true, 4),
        "macro_f1": found.multiclass_f1_score(scores, true, 4),
        "matthews": found.multiclass_matthews_corrcoef(scores, true, 4),
    }
    for name, wanted in of_confusion.items():
        assert METRICS[name].of_confusion(confusion) == pytest.approx(float(wanted), rel=1e-5), name  # type: ignore[misc]
    of_scores = {
        "auroc": found.multiclass_auroc(scores.exp(), true, 4),
        "average_precision": found.multiclass_average_precision(scores.exp(), true, 4),
    }
    for name, wanted in of_scores.items():
        mine = METRICS[name].of_scores(Ranking(scores.numpy(), true.numpy()), np.ones(400))  # type: ignore[misc]
        assert mine == pytest.approx(float(wanted), rel=1e-5), name


def test_a_uniform_guess_among_eight_tokens() -> None:
    nats = math.log(8)
    assert METRICS["perplexity"].value(nats) == pytest.approx(8)
    assert METRICS["bits_per_character"].value(nats) == pytest.approx(3)
    assert METRICS["bits_per_byte"].value(nats) == pytest.approx(3)
    assert METRICS["loss"].value(nats) == nats
    assert METRICS["perplexity"].value(1e4) == math.inf


def test_fractions_are_worded_in_percent() -> None:
    assert target_text("accuracy", 0.95) == "accuracy >= 95.00 %"
    assert target_text("bits_per_byte", 2.5) == "bits_per_byte <= 2.5000"
    assert metric_text("loss", 0.25) == "0.2500"
