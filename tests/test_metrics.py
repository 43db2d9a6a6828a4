"""The table of metrics: directions, functions of a mean, and the words for people."""

from __future__ import annotations

import math

import pytest

from momentum_cli.metrics import METRICS, better, reaches
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
    assert {name for metric in METRICS.values() for name in (metric.total, metric.count)} == SUMS.keys()


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
