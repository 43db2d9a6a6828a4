"""Areas under the curves of a ranking: each class against the rest, with weights.

Weights that count how often a bootstrap draws a row give the metric of each resample from one sorting.

Axes: C classes, m rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def areas_under_roc(scores: np.ndarray, classes: np.ndarray, weights: np.ndarray) -> list[float]:
    """Return the area under the ROC curve of each class against the rest, NaN where either side is empty.

    That is the probability that a row of the class scores higher than another one, ties counting half.

    Args:
        scores: (m, C), which rise with the probability of a class.
        classes: (m,) int64 true classes.
        weights: (m,) >= 0.
    """
    return _each(_area_under_roc, scores, classes, weights)


def average_precisions(scores: np.ndarray, classes: np.ndarray, weights: np.ndarray) -> list[float]:
    """Return the average precision of each class against the rest, NaN where a side is empty; see `areas_under_roc`.

    That is the sum over thresholds of precision times the rise of recall, without interpolation.
    """
    return _each(_average_precision, scores, classes, weights)


def _each(
    area: Callable[[np.ndarray, np.ndarray], float], scores: np.ndarray, classes: np.ndarray, weights: np.ndarray
) -> list[float]:
    import numpy as np

    found = []
    for number in range(scores.shape[1]):
        order = np.argsort(-scores[:, number], kind="stable")
        ranked, weight = scores[order, number], weights[order]
        own = classes[order] == number
        # Rows of one score are one threshold.
        last = np.flatnonzero(np.append(np.diff(ranked) != 0, True)) if len(ranked) else np.zeros(0, np.int64)
        hits, misses = (np.cumsum(np.where(side, weight, 0.0))[last] for side in (own, ~own))
        empty = not len(last) or hits[-1] == 0 or misses[-1] == 0
        found.append(float("nan") if empty else area(hits, misses))
    return found


def _area_under_roc(hits: np.ndarray, misses: np.ndarray) -> float:
    import numpy as np

    rises = np.diff(misses, prepend=0.0)
    middles = (hits + np.concatenate(([0.0], hits[:-1]))) / 2
    return float((rises * middles).sum() / (hits[-1] * misses[-1]))


def _average_precision(hits: np.ndarray, misses: np.ndarray) -> float:
    import numpy as np

    rises = np.diff(hits, prepend=0.0)
    drawn = hits + misses
    precision = np.divide(hits, drawn, out=np.zeros_like(hits), where=drawn > 0)
    return float((precision * rises).sum() / hits[-1])
