"""Calibration of predicted intervals on data that the model was not fitted to: split conformal prediction.

Axes: n sequences, K targets, P intervals, Q = 2 P + 1 quantiles.

Reference: Romano, Patterson, Candès, Conformalized Quantile Regression, NeurIPS 2019, arXiv 1905.03222, equations 6
to 8.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def conformity(quantiles: Tensor, wanted: Tensor) -> Tensor:
    """Return how far each target is outside each interval, negative inside: max(low - y, y - high).

    Args:
        quantiles: (n, K, Q), rising along Q.
        wanted: (n, K), NaN where there is no target.

    Returns:
        (n, K, P), NaN where there is no target; the widest interval first.
    """
    pairs = quantiles.shape[-1] // 2
    low, high = quantiles[..., :pairs], quantiles.flip(-1)[..., :pairs]
    y = wanted.unsqueeze(-1)
    return torch.maximum(low - y, y - high)


def shifts(scores: Tensor, levels: tuple[float, ...]) -> list[list[float]] | None:
    """Return the shift of each quantile with which each interval covers the share that its level names.

    An interval of level 1 - a grows by the ceil((n + 1) (1 - a))-th smallest of its n scores; it then covers a further
    exchangeable target with a probability of at least 1 - a.

    Args:
        scores: Results of `conformity` on the validation split.
        levels: Q levels.

    Returns:
        (K, Q), 0 for the median; None where there are too few sequences for one of the intervals.
    """
    pairs = len(levels) // 2
    found = []
    for column in scores.unbind(1):
        row = [0.0] * len(levels)
        for number in range(pairs):
            known = column[:, number]
            known = known[~known.isnan()]
            # A product such as 10 * 0.8 may be rounded to slightly above its whole number.
            rank = math.ceil((len(known) + 1) * (levels[-1 - number] - levels[number]) - 1e-9)
            if rank > len(known):
                return None
            margin = float(known.kthvalue(rank).values)
            row[number], row[-1 - number] = -margin, margin
        found.append(row)
    return found
