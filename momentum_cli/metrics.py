"""Metrics: the sums that each is computed from, the direction in which it improves, and how people read it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """One metric: a function of the quotient of two sums, so that batches and processes add up exactly.

    Args:
        total: The sum above the line, a key of `momentum_cli.training.objective.SUMS`.
        count: The sum below the line, likewise.
        of_mean: Turns the quotient into the metric; None for the quotient itself.
        higher_is_better: Its direction.
        fraction: It lies in [0, 1], and people read it in percent.
    """

    total: str
    count: str = "terms"
    of_mean: Callable[[float], float] | None = None
    higher_is_better: bool = False
    fraction: bool = False

    def value(self, mean: float) -> float:
        """Return the metric for the quotient of its sums."""
        return mean if self.of_mean is None else self.of_mean(mean)


def _exp(nats: float) -> float:
    return math.exp(nats) if nats < 700.0 else math.inf


def _bits(nats: float) -> float:
    return nats / math.log(2.0)


METRICS: dict[str, Metric] = {
    "loss": Metric("loss"),
    "accuracy": Metric("correct", "judged", higher_is_better=True, fraction=True),
    "mse": Metric("squares"),
    "mae": Metric("magnitudes"),
    # From the cross-entropy per token in nats: its exponential, or its value in bits.
    "perplexity": Metric("loss", of_mean=_exp),
    "bits_per_character": Metric("loss", of_mean=_bits),
    "bits_per_byte": Metric("loss", of_mean=_bits),
}


def better(metric: str, new: float, old: float) -> bool:
    """Return whether ``new`` is strictly better than ``old``; a value that is not a number never is."""
    return new > old if METRICS[metric].higher_is_better else new < old


def reaches(metric: str, value: float, target: float) -> bool:
    """Return whether ``value`` is at or past ``target``; a value that is not a number never is."""
    return value >= target if METRICS[metric].higher_is_better else value <= target
