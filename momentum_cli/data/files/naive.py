"""Naive predictors of the user's files: shares of the classes, means, and the last or seasonal value of a series.

Axes: S steps, K targets, h horizon, B batch.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from momentum_cli.data.dataset import Batch, Dataset, Naive, Sequences
from momentum_cli.data.files.normalisation import Scaling
from momentum_cli.data.files.sequences import FileSplit
from momentum_cli.data.files.splitting import Part, read_blocks
from momentum_cli.data.files.steps import Steps
from momentum_cli.data.naive import Constant, of_counts, shares
from momentum_cli.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

# Two seasons forecast as well as one, up to noise, so the shortest period with an error this close to the least is
# taken.
_AS_GOOD = 0.05
# Quarters, months and weeks of a year, days and hours of a week, hours and quarters of an hour of a day. Where a series
# grows, a period that is one step shorter is nearly as good, because it lacks the growth of that step.
_CALENDAR = (4, 7, 12, 24, 52, 96, 168)
# Steps that are read at a time.
_BLOCK = 1 << 20
# Series that a warning names.
_NAMED = 5
# Number of training steps in which a season is looked for, the latest ones.
_SEARCHED = 20_000


@dataclass(frozen=True)
class Repeated:
    """Forecasts the values of the last `period` steps, over and over; with a period of 1, the last value.

    Args:
        name: Its name in results.
        period: Steps, from 1 to the length of a window.
        quantiles: Number of quantiles that each value is repeated for.
    """

    name: str
    period: int
    quantiles: int = 1

    def outputs(self, split: Sequences, index: Tensor, batch: Batch) -> Tensor:
        """Return (B, h K), or (B, h K Q) with the same value for each quantile."""
        import torch

        assert isinstance(split, FileSplit)
        found = repeated(split, index.cpu().numpy(), self.period)
        return torch.from_numpy(np.repeat(found, self.quantiles, axis=1)).to(batch.targets.device)


@dataclass(frozen=True)
class MeanOfGroup:
    """Predicts the training mean of the group of a sequence.

    Args:
        value: (G, O) float32, scaled.
        name: Its name in results.
    """

    value: Tensor
    name: str = "training mean"

    def outputs(self, split: Sequences, index: Tensor, batch: Batch) -> Tensor:
        """Return (B, O)."""
        assert isinstance(split, FileSplit)
        groups = split.groups(index.cpu().numpy())
        return self.value[groups].to(batch.targets.device)


def repeated(split: FileSplit, index: np.ndarray, period: int) -> np.ndarray:
    """Return the scaled values of the last `period` steps of windows, repeated over the horizon, (B, h K) float32."""
    ahead = split.before(index, period)[:, (np.array(split.ahead) - 1) % period]
    return split.scaled(ahead, split.windows[index][0]).reshape(len(index), -1)


def of_classes(train: FileSplit, part: Part, classes: int, *, every: bool) -> tuple[Naive, ...]:
    """Return the majority class, for the targets of a training split."""
    if not isinstance(train.targets, Steps):
        return (shares("majority class", train.targets, classes),)
    import torch

    counts = np.zeros(classes, np.int64)
    if train.at_end:
        for at in range(0, len(train), 1 << 16):
            starts, lengths = train.windows[np.arange(at, min(at + (1 << 16), len(train)))]
            last = train.targets.padded(starts + lengths - 1, np.ones(len(starts), np.int64))
            counts += np.bincount(last.reshape(-1), minlength=classes)
        return (of_counts("majority class", torch.from_numpy(counts)),)
    for block in read_blocks(train.targets, part):
        labels = block[:, 0].astype(np.int64)
        counts += np.bincount(labels[labels >= 0], minlength=classes)
    return (of_counts("majority class", torch.from_numpy(counts), every=every),)


def training_mean(scaling: Scaling, times: int, quantiles: int = 1) -> Naive:
    """Return the predictor of the training mean of each target, repeated for `times` steps and for each quantile.

    With groups it is the mean of the group.
    """
    import torch

    mean = np.asarray((scaling.fill - scaling.offset) / scaling.scale, np.float32)
    value = torch.from_numpy(np.repeat(np.tile(mean, times), quantiles, axis=-1))
    return Constant("training mean", value) if value.ndim == 1 else MeanOfGroup(value)


def of_forecasts(
    train: FileSplit, part: Part, breaks: np.ndarray, window: int, season: int | None, quantiles: int = 1
) -> tuple[Naive, ...]:
    """Return the naive forecasts of a series: the last value, the season if there is one, the training mean.

    Args:
        train: The training data.
        part: Their place in the file.
        breaks: Steps before which a series has a gap.
        window: As for `momentum_cli.data.files.Files`.
        season: Steps of the season, or None to look for one: the shortest period, at most a window, whose naive
            forecast has about the least mean absolute error in the latest training steps, unless the last value has.
            A season of the calendar that is one step longer and about as good is preferred.
        quantiles: As for `Repeated`.
    """
    assert train.target_scaling is not None
    period = season or _season(train, [(begin, end) for _, begin, end in _stretches(part, breaks)], window)
    found: list[Naive] = [Repeated("last value", 1, quantiles)]
    if period is not None and period > 1:
        found.append(Repeated(f"seasonal naive ({period} steps)", period, quantiles))
    return (*found, training_mean(train.target_scaling, len(train.ahead), quantiles))


def naive_errors(targets: Steps, part: Part, breaks: np.ndarray, period: int, count: int) -> np.ndarray:
    """Return the mean absolute error of the naive forecast within the training part of each series.

    That of y_t is y_{t - period}: the denominator of MASE (Hyndman and Koehler, Another Look at Measures of Forecast
    Accuracy, International Journal of Forecasting 22 (2006)).

    Args:
        targets: Steps of all series, (S, K).
        part: The training parts.
        breaks: Steps before which a series has a gap, which is no step of the naive forecast.
        period: Steps, >= 1.
        count: n, number of series in the file.

    Returns:
        (n, K) float64, NaN for a series without a training part longer than the period.
    """
    total, terms = np.zeros((count, targets.columns)), np.zeros((count, targets.columns))
    for number, begin, end in _stretches(part, breaks):
        for at in range(begin + period, end, _BLOCK):
            steps = targets.read(at - period, min(at + _BLOCK, end)).astype(np.float64)
            change = np.abs(steps[period:] - steps[:-period])
            total[number] += np.nansum(change, 0)
            terms[number] += (~np.isnan(change)).sum(0)
    return np.asarray(np.divide(total, terms, out=np.full_like(total, np.nan), where=terms > 0))


def without_mase(dataset: Dataset) -> tuple[str, ...]:
    """Return a warning for each split that has series without a MASE: they are left out of the mean.

    Args:
        dataset: Data of forecasts; each target of a series is a series here.

    Raises:
        DataError: A split that is evaluated has no series with one.
    """
    found = []
    targets = dataset.preprocessing["targets"]["names"]
    for name, split in (("validation", dataset.validation), ("test", dataset.test)):
        if split is None:
            continue
        assert isinstance(split, FileSplit)
        assert split.places is not None
        assert split.mase_weights is not None
        forecast = np.unique(split.places.numbers(split.windows.first[split.windows.counts > 0]))
        lacking = np.argwhere(split.mase_weights[forecast] == 0)
        count = len(forecast) * len(targets)
        if len(lacking) == count:
            raise DataError(
                f"metrics: mase is not defined: none of the {count} series of the {name} split has a training part of "
                "its own in which it changes; split series in time (task.split: time), or choose another metric"
            )
        names = [str(split.places.names[forecast[row]]) for row, _ in lacking[:_NAMED].tolist()]
        if len(targets) > 1:
            names = [f"{one} {targets[column]}" for one, column in zip(names, lacking[:, 1].tolist(), strict=False)]
        if names:
            text = f"mase of the {name} split leaves out {len(lacking)} of {count} series, for lack of a training part"
            found.append(f"{text} in which they change: {', '.join(names)}{', …' if len(lacking) > _NAMED else ''}")
    return tuple(found)


def _stretches(part: Part, breaks: np.ndarray) -> list[tuple[int, int, int]]:
    """Return of each stretch without a gap its series, its first step and the one after its end."""
    found = []
    inner = np.searchsorted(breaks, part.begins, "right"), np.searchsorted(breaks, part.ends, "left")
    rows = zip(*(each.tolist() for each in (part.sequences, part.begins, part.ends, *inner)), strict=True)
    for number, begin, end, low, high in rows:
        cuts = [begin, *breaks[low:high].tolist(), end]
        found += [(number, *stretch) for stretch in itertools.pairwise(cuts)]
    return found


def _season(train: FileSplit, stretches: list[tuple[int, int]], window: int) -> int | None:
    """Return the period from 2 to `window` with the best naive forecast; None if the last value is as good."""
    assert isinstance(train.targets, Steps)
    longest = window + train.ahead[-1]
    errors, counts = np.zeros(longest + 1), np.zeros(longest + 1)
    left = _SEARCHED
    for first, end in reversed(stretches):
        begin = max(first, end - left)
        left -= end - begin
        series = train.scaled(train.targets.read(begin, end)[None], np.array([begin]))[0].astype(np.float64)
        for lag in range(1, min(longest, len(series) - 1) + 1):
            change = np.abs(series[lag:] - series[:-lag])
            errors[lag] += change.sum()
            counts[lag] += change.size
        if left <= 0:
            break
    mean = np.divide(errors, counts, out=np.full(longest + 1, np.inf), where=counts > 0)
    ahead = np.array(train.ahead)
    # A forecast j steps ahead repeats the value of ceil(j / period) periods before.
    of_period = {period: mean[period * -(-ahead // period)].mean() for period in range(1, window + 1)}
    lowest = min(of_period.values())
    good = [period for period, error in of_period.items() if error <= (1 + _AS_GOOD) * lowest] or [1]
    best = good[0] + 1 if good[0] + 1 in _CALENDAR and good[0] + 1 in good else good[0]
    return best if good[0] > 1 else None
