"""Areas under the curves of a ranking: each class against the rest, with weights.

Weights that count how often a bootstrap draws a row give the metric of each resample from one sorting.

Axes: C classes, m rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np


class _Sorted(NamedTuple):
    """The rows by falling score of one class."""

    order: np.ndarray  # (m,) their numbers
    own: np.ndarray  # (m,) bool, rows of the class
    last: np.ndarray  # the last row of each score: rows of one score are one threshold


class Ranking:
    """Rows ranked by their score for each class.

    Args:
        scores: (m, C), which rise with the probability of a class.
        classes: (m,) int64 true classes.
    """

    def __init__(self, scores: np.ndarray, classes: np.ndarray) -> None:
        import numpy as np

        self._sorted = []
        for number in range(scores.shape[1]):
            order = np.argsort(-scores[:, number], kind="stable")
            ranked = scores[order, number]
            last = np.flatnonzero(np.append(np.diff(ranked) != 0, True)) if len(ranked) else np.zeros(0, np.int64)
            self._sorted.append(_Sorted(order, classes[order] == number, last))

    def areas_under_roc(self, weights: np.ndarray) -> list[float]:
        """Return the area under the ROC curve of each class against the rest, NaN where either side is empty.

        That is the probability that a row of the class scores higher than another one, ties counting half.

        Args:
            weights: (m,) >= 0.
        """
        return [self._area(_area_under_roc, each, weights) for each in self._sorted]

    def average_precisions(self, weights: np.ndarray) -> list[float]:
        """Return the average precision of each class against the rest, NaN where either side is empty.

        That is the sum over thresholds of precision times the rise of recall, without interpolation.

        Args:
            weights: (m,) >= 0.
        """
        return [self._area(_average_precision, each, weights) for each in self._sorted]

    def _area(self, area: Callable[[np.ndarray, np.ndarray], float], each: _Sorted, weights: np.ndarray) -> float:
        import numpy as np

        weight = weights[each.order]
        hits, misses = (np.cumsum(np.where(side, weight, 0.0))[each.last] for side in (each.own, ~each.own))
        empty = not len(each.last) or hits[-1] == 0 or misses[-1] == 0
        return float("nan") if empty else area(hits, misses)


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
