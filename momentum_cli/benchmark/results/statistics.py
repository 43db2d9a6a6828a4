"""The arithmetic of a comparison: pure functions of numbers, with misses as infinities.

A time to target is a number of seconds, steps or samples; a run that never reached the target has the time infinity,
which counts in every median like any other number, so a run that misses can never improve a result. The median is that
of Python's `statistics`: of an even number the mean of the middle two, infinite if one of them is.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, median_high, median_low

from momentum_cli.metrics import METRICS, reaches

# n seeds have n**n resamples: up to five seeds all of them are used, so that the interval is not random.
EXHAUSTIVE_UP_TO = 5
DRAWS = 10_000
LARGEST_RATIO = 4.0


@dataclass(frozen=True, slots=True)
class Point:
    """One evaluation of a run.

    Args:
        step: optimizer steps done, >= 0.
        samples: training sequences seen.
        train_seconds: the scored clock.
        wall_seconds: all time spent on the run, including evaluations and checkpoints.
        value: the metric of the target.
    """

    step: int
    samples: int
    train_seconds: float
    wall_seconds: float
    value: float


# id of a run -> name -> (step, value): diagnostics of its optimizer, at the logged steps
Traces = Mapping[str, Mapping[str, Sequence[tuple[int, float]]]]


def first_crossing(points: Iterable[Point], metric: str, target: float) -> Point | None:
    """Return the first evaluation at or past the target, or None.

    The time to target is that of the evaluation itself; nothing is interpolated between evaluations. NaN never reaches
    a target.

    Args:
        points: evaluations in the order of their steps.
        metric: name of the metric, which determines the direction.
        target: the target; a value equal to it reaches it.
    """
    return next((point for point in points if reaches(metric, point.value, target)), None)


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the lower quartile, the median and the upper quartile, linear between order statistics.

    Raises:
        ValueError: `values` is empty.
    """
    if not values:
        raise ValueError("the quartiles of nothing")
    ordered = sorted(values)

    def at(place: float) -> float:
        below = math.floor(place)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (place - below) * (ordered[above] - ordered[below])

    low, middle, high = (at(part * (len(ordered) - 1)) for part in (0.25, 0.5, 0.75))
    return low, middle, high


def pooled(metric: str, values: Sequence[float]) -> float:
    """Return the median; of an even number the one of the middle two that is easier to reach.

    So at least half of the runs with these values reach it, and the baseline's median time is finite.

    Args:
        metric: name of the metric, which determines what is easier.
        values: one per seed.
    """
    return median_low(values) if METRICS[metric].higher_is_better else median_high(values)


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean and the sample standard deviation (n - 1), None below two values; a NaN stays one.

    Raises:
        ValueError: `values` is empty.
    """
    if not values:
        raise ValueError("the mean of nothing")
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return mean, None
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def ratio(numerator: float, denominator: float) -> float:
    """Return numerator / denominator over [0, inf]: inf / x = inf, x / inf = 0, inf / inf and 0 / 0 are NaN."""
    if math.isinf(numerator) and math.isinf(denominator):
        return math.nan
    if denominator == 0:
        return math.nan if numerator == 0 else math.inf
    return numerator / denominator


def speed_up(baseline: Sequence[float], cell: Sequence[float]) -> float:
    """Return median(baseline) / median(cell): above 1 the cell is faster.

    0 if the cell misses, infinity if the baseline misses, NaN if both do.
    """
    return ratio(median(baseline), median(cell))


def bootstrap_interval(
    baseline: Sequence[float], cell: Sequence[float], *, level: float = 0.95, seed: int = 0
) -> tuple[float, float] | None:
    """Return the percentile bootstrap interval of `speed_up` over seeds.

    The two cells share seeds, so n of n seeds are drawn with replacement, and both cells take the times of the drawn
    ones. All n**n resamples are used up to five seeds, 10,000 random ones above. The bounds are order statistics
    (nearest rank), because infinities cannot be interpolated. A resample in which both cells miss is uninformative: it
    counts as 0 for the lower and as infinity for the upper bound.

    Args:
        baseline: times of the baseline, one per seed.
        cell: times of the cell, the same seeds in the same order.
        level: in (0, 1).
        seed: seed of the random resamples.

    Returns:
        (lower, upper), or None for one seed, where there is nothing to resample.

    Raises:
        ValueError: the two do not have the same number of times.

    Reference: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3.
    """
    count = len(baseline)
    if count != len(cell):
        raise ValueError(f"{count} times of the baseline and {len(cell)} of the cell: they must share their seeds")
    if count < 2:
        return None
    draws: Iterable[tuple[int, ...]]
    if count <= EXHAUSTIVE_UP_TO:
        draws = itertools.product(range(count), repeat=count)
    else:
        generator = random.Random(seed)
        draws = (tuple(generator.choices(range(count), k=count)) for _ in range(DRAWS))
    ratios = [speed_up([baseline[i] for i in draw], [cell[i] for i in draw]) for draw in draws]
    tail = (1 - level) / 2
    lower = sorted(0.0 if math.isnan(value) else value for value in ratios)
    upper = sorted(math.inf if math.isnan(value) else value for value in ratios)
    # 1e-9: 0.975 * 1000 is 975.0000000000001 in floating point, and its ceiling would be one rank too high
    first = max(math.ceil(tail * len(ratios) - 1e-9), 1)
    last = min(math.ceil((1 - tail) * len(ratios) - 1e-9), len(ratios))
    return lower[first - 1], upper[last - 1]


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean over [0, inf]: one 0 gives 0, one infinity infinity, both or a NaN give NaN.

    Raises:
        ValueError: there are no values, or one is negative.
    """
    if not values:
        raise ValueError("the geometric mean of nothing")
    if any(value < 0 for value in values):
        raise ValueError("the geometric mean is defined for values >= 0 only")
    if any(map(math.isnan, values)) or (0 in values and math.inf in values):
        return math.nan
    if 0 in values:
        return 0.0
    return math.exp(math.fsum(map(math.log, values)) / len(values))


def performance_ratios(times: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """Return each cell's time over the best time of that workload; infinite for a miss, even if all miss.

    Args:
        times: cell -> its median time on each workload, in one order of workloads.

    Raises:
        ValueError: the cells do not have the same number of workloads, or there are none.
    """
    lengths = {len(row) for row in times.values()}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError("every cell needs a time on every workload, and there must be at least one")
    best = [min(column) for column in zip(*times.values(), strict=True)]
    return {
        cell: [
            math.inf if math.isinf(time) else 1.0 if time == low else ratio(time, low)
            for time, low in zip(row, best, strict=True)
        ]
        for cell, row in times.items()
    }


def performance_profile(ratios: Sequence[float], factor: float) -> float:
    """Return the fraction of the workloads on which a cell is within `factor` of the best one.

    Reference: Dolan and Moré, Benchmarking optimization software with performance profiles, 2002, equation (2.1).
    """
    return sum(value <= factor for value in ratios) / len(ratios)


def profile_score(ratios: Sequence[float], largest: float = LARGEST_RATIO) -> float:
    """Return the mean of the performance profile from 1 to `largest`, in [0, 1].

    The profile is a step function, so the mean is exact: a workload with ratio r adds (largest - r) / (largest - 1).

    Reference: Dahl et al., Benchmarking Neural Network Training Algorithms, 2023, section 4.3 (AlgoPerf, up to 4).
    """
    return math.fsum(max(0.0, largest - value) for value in ratios) / ((largest - 1) * len(ratios))
