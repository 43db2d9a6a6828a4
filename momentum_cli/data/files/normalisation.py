"""Means and scales of the training data, and the conversion of stored steps to the inputs of a model.

Axes: t steps, D features, W channels of the model, C columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, Literal

import numpy as np

from momentum_cli.errors import DataError
from momentum_cli.messages import refuse

Normalise = Literal["standard", "range", "sequence", "none"]
COARSE = 1e-3
"""Rounding of a scaled column, in its standard deviations, from which on it is refused."""
OTHER = "other"
"""Name of the channel for characters outside the training texts."""


@dataclass(frozen=True)
class Scaling:
    """Scaling by column: x' = (x - offset) / scale, and back x = x' scale + offset.

    Args:
        offset, scale: (C,) float64; scale > 0. Or (G, C), one of each group, of which `chosen` picks some.
        fill: Replaces a missing value before scaling; the same shape.
    """

    offset: np.ndarray
    scale: np.ndarray
    fill: np.ndarray

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return (…, C) float32 scaled values, `fill` in place of NaN."""
        filled = np.where(np.isnan(values), self.fill, values)
        # In float64, because a large offset, such as a pressure's, would cost the digits that matter.
        return np.asarray((filled - self.offset) / self.scale, np.float32)

    @property
    def size(self) -> int:
        """C, number of channels."""
        return int(self.offset.shape[-1])

    @property
    def places(self) -> list[list[int]]:
        """The channels of each column: one."""
        return [[place] for place in range(self.offset.shape[-1])]

    def chosen(self, groups: np.ndarray | None) -> Scaling:
        """Return the scaling of sequences by their groups, for values (B, …, C); itself where there are no groups.

        Args:
            groups: (B,) int64, places among the G groups; or None.
        """
        if groups is None:
            return self
        return Scaling(*(each[groups][:, None] for each in (self.offset, self.scale, self.fill)))

    @classmethod
    def stacked(cls, each: Sequence[Scaling]) -> Scaling:
        """Return the scaling of groups from those of each, (C,)."""
        return cls(*(np.stack([getattr(one, name) for one in each]) for name in ("offset", "scale", "fill")))

    def dump(self) -> dict[str, Any]:
        """Return plain lists; `Scaling.of` reads them."""
        return {"offset": self.offset.tolist(), "scale": self.scale.tolist(), "fill": self.fill.tolist()}

    @classmethod
    def of(cls, plain: dict[str, Any]) -> Scaling:
        """Return the scaling that `dump` wrote."""
        return cls(*(np.array(plain[name], np.float64) for name in ("offset", "scale", "fill")))


@dataclass(frozen=True)
class Moments:
    """Moments and range of steps, by column.

    Args:
        count: (C,) float64, number of values that are not missing.
        mean: (C,) float64, 0 without values.
        squares: (C,) float64, the sum of squared distances from the mean.
        low, high: (C,) float64; infinite without values.

    Reference: means and squares are merged as in Chan, Golub and LeVeque, Updating Formulae and a Pairwise
    Algorithm for Computing Sample Variances, COMPSTAT 1982, equation 2.1.
    """

    count: np.ndarray
    mean: np.ndarray
    squares: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def none(cls, columns: int) -> Moments:
        """Return the moments of no steps."""
        zeros = np.zeros(columns)
        return cls(zeros, zeros, zeros, np.full(columns, np.inf), np.full(columns, -np.inf))

    @classmethod
    def of(cls, blocks: Iterable[np.ndarray], columns: int) -> Moments:
        """Return the moments of blocks (t, C), NaN where a value is missing, in one pass."""
        return reduce(Moments.merged, map(cls._of_block, blocks), cls.none(columns))

    @classmethod
    def _of_block(cls, block: np.ndarray) -> Moments:
        values = block.astype(np.float64)
        present = ~np.isnan(values)
        count = present.sum(0).astype(np.float64)
        mean = np.where(present, values, 0.0).sum(0) / np.maximum(count, 1)
        spread = np.where(present, values - mean, 0.0)
        low = np.where(present, values, np.inf).min(0, initial=np.inf)
        high = np.where(present, values, -np.inf).max(0, initial=-np.inf)
        return cls(count, mean, (spread**2).sum(0), low, high)

    def merged(self, other: Moments) -> Moments:
        """Return the moments of the steps of both."""
        total = self.count + other.count
        share = other.count / np.maximum(total, 1)
        apart = other.mean - self.mean
        squares = self.squares + other.squares + apart**2 * self.count * share
        low, high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        return Moments(total, self.mean + apart * share, squares, low, high)

    @property
    def deviation(self) -> np.ndarray:
        """(C,) float64, the standard deviation of the population; 0 without values."""
        return np.asarray(np.sqrt(self.squares / np.maximum(self.count, 1)))

    @property
    def constant(self) -> np.ndarray:
        """(C,) bool, True for a column that varies less than its own rounding."""
        return np.asarray(self.deviation <= 1e-12 * np.maximum(np.abs(self.mean), 1e-30))

    def fit(self, how: Normalise) -> Scaling:
        """Return the `scaling` that a word stands for.

        Raises:
            DataError: The scaled values lose too many digits in float32, in which a model computes.
        """
        scaling = self.scaling(how)
        lost = self.lost(scaling)
        coarse = np.flatnonzero(lost > COARSE)
        if len(coarse):
            at = int(coarse[0])
            values = f"values from {self.low[at]:.12g} to {self.high[at]:.12g}"
            raise DataError(
                f"{refuse('task.normalise', how, 'be standard or range')}: {values} are rounded in float32, "
                f"by {lost[at]:.2g} standard deviations"
            )
        return scaling

    def scaling(self, how: Normalise) -> Scaling:
        """Return the scaling for a value of `Files.normalise`; a constant column is only shifted.

        `standard`: mean 0 and standard deviation 1; `range`: smallest value 0 and largest 1; `none`: unchanged.
        """
        if how in ("standard", "sequence"):
            offset, scale = self.mean, self.deviation
        elif how == "range":
            known = np.isfinite(self.low)
            offset, scale = np.where(known, self.low, 0.0), np.where(known, self.high - self.low, 1.0)
        else:
            offset, scale = np.zeros(len(self.mean)), np.ones(len(self.mean))
        return Scaling(offset, np.where(self.constant, 1.0, scale), self.mean)

    def lost(self, scaling: Scaling) -> np.ndarray:
        """Return (C,) the spacing of float32 inputs, in standard deviations of the column.

        Standard scaling gives about 1e-7; an unscaled series around 1.6e9 is rounded to multiples of 128.
        """
        ends = np.maximum(np.abs(self.low - scaling.offset), np.abs(self.high - scaling.offset))
        known = np.isfinite(ends) & ~self.constant
        steps = np.spacing(np.where(known, ends / scaling.scale, 0.0).astype(np.float32)).astype(np.float64)
        return np.where(known, steps * scaling.scale / np.where(known, self.deviation, 1.0), 0.0)


def standardised(values: np.ndarray, but: Sequence[int]) -> np.ndarray:
    """Return (t, D) values of a sequence with mean 0 and standard deviation 1 in each column; a constant one is 0.

    Args:
        values: NaN where one is missing.
        but: Columns that are left unchanged.
    """
    moments = Moments.of([values], values.shape[1])
    offset, scale = moments.mean.copy(), np.where(moments.constant, 1.0, moments.deviation)
    offset[list(but)], scale[list(but)] = 0.0, 1.0
    return np.asarray((values - offset) / scale)


def fit(blocks: Iterable[np.ndarray], columns: int, how: Normalise) -> Scaling:
    """Fit a scaling to the steps of the training data, blocks (t, C) with NaN where a value is missing.

    Raises:
        DataError: See `Moments.fit`.
    """
    return Moments.of(blocks, columns).fit(how)


@dataclass(frozen=True)
class OneHot:
    """A channel for each character of the training texts, and one for all others.

    Args:
        channels: (number of different characters,) int64, the channel of each code.
        size: W.
    """

    channels: np.ndarray
    size: int

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return (…, W) float32 for codes (…, 1)."""
        rows = np.eye(self.size, dtype=np.float32)
        return np.asarray(rows[self.channels[values[..., 0].astype(np.int64)]])

    def chosen(self, groups: np.ndarray | None) -> OneHot:
        """Return itself: a channel has no scale."""
        return self

    @classmethod
    def of(cls, met: Sequence[str], known: Sequence[str]) -> OneHot:
        """Return the channels of characters `met` for a model that knows `known`, plus the channel `OTHER`."""
        places = {character: place for place, character in enumerate(known)}
        return cls(np.array([places.get(character, len(known)) for character in met], np.int64), len(known) + 1)


@dataclass(frozen=True)
class Mixed:
    """Scaled numbers, and a channel for each word of categorical columns, in the order of the columns.

    Args:
        scaling: Scaling of all columns; that of categorical ones is not used.
        words: Its known words, by the place of a categorical column.
    """

    scaling: Scaling
    words: dict[int, OneHot]

    @property
    def size(self) -> int:
        """W, number of channels."""
        return self.scaling.size + sum(one.size - 1 for one in self.words.values())

    @property
    def places(self) -> list[list[int]]:
        """The channels of each column."""
        found, begin = [], 0
        for column in range(self.scaling.size):
            end = begin + (self.words[column].size if column in self.words else 1)
            found.append(list(range(begin, end)))
            begin = end
        return found

    def chosen(self, groups: np.ndarray | None) -> Mixed:
        """Return the channels of sequences of some groups; see `Scaling.chosen`."""
        return replace(self, scaling=self.scaling.chosen(groups))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return (…, W) float32 for values (…, D), codes of words in categorical columns; a missing one is another."""
        scaled = self.scaling(values)
        parts = []
        for column in range(values.shape[-1]):
            if column not in self.words:
                parts.append(scaled[..., column : column + 1])
                continue
            one = self.words[column]
            codes = values[..., column : column + 1]
            absent = np.isnan(codes)
            # Every code stands for a word that was met, and one more for the missing ones.
            known = OneHot(np.append(one.channels, one.size - 1), one.size)
            parts.append(known(np.where(absent, len(one.channels), codes)))
        return np.concatenate(parts, -1)
