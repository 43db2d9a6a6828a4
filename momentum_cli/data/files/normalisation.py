"""Means and scales of the training data, and the way from stored steps to the inputs of a model.

Axes: t steps, D features, W channels of the model, C columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Normalise = Literal["standard", "range", "none"]
OTHER = "other"
"""Name of the channel of characters that the training texts do not have."""


@dataclass(frozen=True)
class Scaling:
    """Per column x' = (x - offset) / scale, and back x = x' scale + offset.

    Args:
        offset, scale: (C,) float64; scale > 0.
        fill: (C,) float64, what a missing value is, before scaling.
    """

    offset: np.ndarray
    scale: np.ndarray
    fill: np.ndarray

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return (…, C) float32 scaled values, `fill` in place of NaN."""
        filled = np.where(np.isnan(values), self.fill, values)
        # In float64: a large offset, such as a pressure's, would cost the digits that matter.
        return np.asarray((filled - self.offset) / self.scale, np.float32)

    def dump(self) -> dict[str, list[float]]:
        """Return plain lists; `Scaling.of` reads them."""
        return {"offset": self.offset.tolist(), "scale": self.scale.tolist(), "fill": self.fill.tolist()}

    @classmethod
    def of(cls, plain: dict[str, Sequence[float]]) -> Scaling:
        """Return the scaling that `dump` wrote."""
        return cls(*(np.array(plain[name], np.float64) for name in ("offset", "scale", "fill")))


def fit(blocks: Iterable[np.ndarray], columns: int, how: Normalise) -> Scaling:
    """Fit a scaling to the steps of the training data, in one pass.

    `standard`: mean and standard deviation (of the population); `range`: smallest and largest value become 0 and 1;
    `none`: nothing. A constant column is only moved.

    Args:
        blocks: (t, C) values, NaN where missing.
        columns: C.
        how: Which.

    Reference: means and squares of blocks are merged as in Chan, Golub and LeVeque, Updating Formulae and a Pairwise
    Algorithm for Computing Sample Variances, COMPSTAT 1982, equation 2.1.
    """
    count, mean, squares = np.zeros(columns), np.zeros(columns), np.zeros(columns)
    low, high = np.full(columns, np.inf), np.full(columns, -np.inf)
    for block in blocks:
        values = block.astype(np.float64)
        present = ~np.isnan(values)
        new = present.sum(0)
        here = np.where(present, values, 0.0).sum(0) / np.maximum(new, 1)
        spread = np.where(present, values - here, 0.0)
        total = np.maximum(count + new, 1)
        squares += (spread**2).sum(0) + (here - mean) ** 2 * count * new / total
        mean += (here - mean) * new / total
        count += new
        low = np.minimum(low, np.where(present, values, np.inf).min(0, initial=np.inf))
        high = np.maximum(high, np.where(present, values, -np.inf).max(0, initial=-np.inf))
    if how == "standard":
        offset, scale = mean, np.sqrt(squares / np.maximum(count, 1))
    elif how == "range":
        known = count > 0
        offset, scale = np.where(known, low, 0.0), np.where(known, high - low, 1.0)
    else:
        offset, scale = np.zeros(columns), np.ones(columns)
    # What varies less than its own rounding is constant.
    constant = scale <= 1e-12 * np.maximum(np.abs(mean), 1e-30)
    return Scaling(offset, np.where(constant, 1.0, scale), mean)


@dataclass(frozen=True)
class OneHot:
    """A channel for each character of the training texts, and one for all others.

    Args:
        channels: (number of characters met,) int64, the channel of each code.
        size: W.
    """

    channels: np.ndarray
    size: int

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return (…, W) float32 for codes (…, 1)."""
        rows = np.eye(self.size, dtype=np.float32)
        return np.asarray(rows[self.channels[values[..., 0].astype(np.int64)]])

    @classmethod
    def of(cls, met: Sequence[str], known: Sequence[str]) -> OneHot:
        """Return the channels of characters `met` when a model knows `known`; `OTHER` is one more."""
        places = {character: place for place, character in enumerate(known)}
        return cls(np.array([places.get(character, len(known)) for character in met], np.int64), len(known) + 1)
