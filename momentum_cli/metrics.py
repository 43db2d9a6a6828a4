"""Metrics: the sums each is computed from, the direction in which it improves, and how it is shown.

Axes: C classes, m steps or sequences that are judged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from momentum_cli.ranking import Ranking
from momentum_cli.text_scores import BLEU_SUMS, CHRF_SUMS, bleu, bleu_signature, chrf, chrf_signature

if TYPE_CHECKING:
    import numpy as np

Measured = Literal["any", "classes", "tokens", "values", "forecasts", "quantiles", "texts"]
"""Answers of a model that a metric is defined for; tokens are not among the classes, for there are too many."""


@dataclass(frozen=True)
class Metric:
    """One metric, by one of four forms.

    A quotient of two sums (`total`, `count`) or a function of several (`sums`, `of_sums`), so that batches and
    processes add up exactly; a function of the confusion matrix (`of_confusion`); or a function of all scores
    (`of_scores`).

    Args:
        total: The sum above the line, a key of `momentum_cli.training.objective.SUMS`.
        count: The sum below the line, likewise.
        sums: The sums that `of_sums` takes, likewise.
        of_sums: Takes the values of `sums`.
        of_mean: Turns the quotient into the metric; None for the quotient itself.
        of_confusion: Takes (C, C) float64 counts, rows true classes and columns predicted ones.
        of_scores: Takes a ranking of the steps or sequences by their scores, and weights (m,).
        of: Kinds of answers that it is defined for.
        higher_is_better: Its direction.
        fraction: People read it in percent.
        upper: The largest value, of a fraction or where higher is better.
        signature: Returns a description of how it was computed, to publish with each number; None if there is only one
            way.
        attacked: It is measured under the attack of an adversarial training, and there alone.
    """

    total: str = ""
    count: str = "terms"
    sums: tuple[str, ...] = ()
    of_sums: Callable[[Sequence[float]], float] | None = None
    of_mean: Callable[[float], float] | None = None
    of_confusion: Callable[[np.ndarray], float] | None = None
    of_scores: Callable[[Ranking, np.ndarray], float] | None = None
    of: Measured = "any"
    higher_is_better: bool = False
    fraction: bool = False
    upper: float = 1.0
    signature: Callable[[], str] | None = None
    attacked: bool = False

    @property
    def added(self) -> tuple[str, ...]:
        """The sums that it is computed from; () for a metric that needs all answers at once."""
        return (self.total, self.count) if self.total else self.sums

    def of_totals(self, totals: Sequence[float]) -> float:
        """Return the metric for the values of `added`; NaN for a quotient by 0."""
        if self.of_sums is not None:
            return self.of_sums(totals)
        total, count = totals
        return self.value(total / count if count else math.nan)

    def value(self, mean: float) -> float:
        """Return the metric for the quotient of its sums."""
        return mean if self.of_mean is None else self.of_mean(mean)


def _exp(nats: float) -> float:
    return math.exp(nats) if nats < 700.0 else math.inf


def _bits(nats: float) -> float:
    return nats / math.log(2.0)


def balanced_accuracy(confusion: np.ndarray) -> float:
    """Return the mean recall of the classes that occur; NaN without any."""
    support = confusion.sum(1)
    there = support > 0
    return float((confusion.diagonal()[there] / support[there]).mean()) if there.any() else math.nan


def macro_f1(confusion: np.ndarray) -> float:
    """Return the mean F1 of the classes that occur or are predicted; NaN without any."""
    both = confusion.sum(0) + confusion.sum(1)
    there = both > 0
    return float((2.0 * confusion.diagonal()[there] / both[there]).mean()) if there.any() else math.nan


def _matthews(confusion: np.ndarray) -> float:
    """Return Matthews' correlation of true and predicted classes, 0 where either is constant.

    Reference: Gorodkin, Comparing two K-category assignments by a K-category correlation coefficient, Computational
    Biology and Chemistry 28 (2004), equation 8.
    """
    count, right = confusion.sum(), confusion.diagonal().sum()
    true, predicted = confusion.sum(1), confusion.sum(0)
    spread = (count**2 - (true**2).sum()) * (count**2 - (predicted**2).sum())
    return float((right * count - (true * predicted).sum()) / math.sqrt(spread)) if spread > 0 else 0.0


def _of_classes(find: Callable[[Ranking, np.ndarray], list[float]]) -> Callable[[Ranking, np.ndarray], float]:
    """Return a function of a ranking: the mean over the classes, each against the rest."""

    def mean(ranking: Ranking, weights: np.ndarray) -> float:
        found = [value for value in find(ranking, weights) if not math.isnan(value)]
        return sum(found) / len(found) if found else math.nan

    return mean


METRICS: dict[str, Metric] = {
    "loss": Metric("loss"),
    "accuracy": Metric("correct", "judged", of="classes", higher_is_better=True, fraction=True),
    "robust_accuracy": Metric("withstood", "judged", of="classes", higher_is_better=True, fraction=True, attacked=True),
    "balanced_accuracy": Metric(of_confusion=balanced_accuracy, of="classes", higher_is_better=True, fraction=True),
    "macro_f1": Metric(of_confusion=macro_f1, of="classes", higher_is_better=True, fraction=True),
    "matthews": Metric(of_confusion=_matthews, of="classes", higher_is_better=True),
    "auroc": Metric(of_scores=_of_classes(Ranking.areas_under_roc), of="classes", higher_is_better=True, fraction=True),
    "average_precision": Metric(
        of_scores=_of_classes(Ranking.average_precisions), of="classes", higher_is_better=True, fraction=True
    ),
    "mse": Metric("squares", of="values"),
    "rmse": Metric("squares", of_mean=math.sqrt, of="values"),
    "mae": Metric("magnitudes", of="values"),
    "mape": Metric("percentages", "nonzero", of="values", fraction=True, upper=math.inf),
    "smape": Metric("symmetric", of="values", fraction=True, upper=2.0),
    "mase": Metric("scaled", "weights", of="forecasts"),
    "pinball": Metric("pinball", of="quantiles"),
    # From the cross-entropy per token in nats: its exponential, or its value in bits.
    "perplexity": Metric("loss", of_mean=_exp, of="tokens"),
    "bits_per_character": Metric("loss", of_mean=_bits, of="tokens"),
    "bits_per_byte": Metric("loss", of_mean=_bits, of="tokens"),
    "bleu": Metric(
        sums=BLEU_SUMS, of_sums=bleu, of="texts", higher_is_better=True, upper=100.0, signature=bleu_signature
    ),
    "chrf": Metric(
        sums=CHRF_SUMS, of_sums=chrf, of="texts", higher_is_better=True, upper=100.0, signature=chrf_signature
    ),
}


def metrics_of(measured: Iterable[Measured]) -> tuple[str, ...]:
    """Return the metrics that are defined for the answers of a model, those of tokens excepted.

    A unit of text has one metric, which its task names.
    """
    answers = {"any", *measured} - {"tokens"}
    return tuple(name for name, metric in METRICS.items() if metric.of in answers)


def better(metric: str, new: float, old: float) -> bool:
    """Return True if ``new`` is strictly better than ``old``; a value that is not a number never is."""
    return new > old if METRICS[metric].higher_is_better else new < old


def reaches(metric: str, value: float, target: float) -> bool:
    """Return True if ``value`` is at or past ``target``; a value that is not a number never is."""
    return value >= target if METRICS[metric].higher_is_better else value <= target


def signatures(metrics: Iterable[str]) -> dict[str, str]:
    """Return a description of each metric that can be computed in more than one way."""
    found = {name: METRICS[name].signature for name in metrics}
    return {name: signature() for name, signature in found.items() if signature is not None}
