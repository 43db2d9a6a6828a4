"""The result of a grid of learning rates for an arm (a cell with its optimizer): its best rate and its working range.

Pure functions of numbers. A learning rate *reaches* the target if the median run over seeds does, with misses as
infinities, so the medians are the same as in every other table.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from momentum_cli.messages import Said, refuse
from momentum_cli.metrics import better


@dataclass(frozen=True, slots=True)
class Robustness:
    """The widest range of learning rates that reach the target without a gap.

    Args:
        decades: log10(high / low), >= 0: 0 for a single rate, None if no rate reaches the target.
        low, high: its ends, which are points of the grid; None if there is none.
        reached: rates of the whole grid that reach the target, including those beyond a gap.
        open_below, open_above: True if the range ends with the grid, so that it may be wider.
    """

    decades: float | None
    low: float | None
    high: float | None
    reached: int
    open_below: bool
    open_above: bool


def robustness(rates: Sequence[float], reached: Sequence[bool]) -> Robustness:
    """Return the width in decades of the learning rates that reach the target.

    The width is that of the longest run of adjacent grid points that all reach the target, from the first to the last
    of them: nothing is added for the distance to the neighbours that miss, so a single point has the width 0. A rate in
    between that misses is a gap and ends the range: something that works at 0.01 and at 1 but not at 0.1 has to be
    tuned. Of ranges of equal width the one with the smaller rates counts.

    Args:
        rates: the grid, increasing, > 0.
        reached: True for each rate whose median run reaches the target.

    Raises:
        ValueError: the two differ in length, or the grid does not increase.
    """
    if len(rates) != len(reached) or any(one >= other for one, other in itertools.pairwise(rates)):
        got = Said(f"{len(reached)} results for {list(rates)}")
        raise ValueError(refuse("the rates", got, "increase, with one result each"))
    best: tuple[float, int, int] | None = None
    start: int | None = None
    for index, hit in enumerate(reached):
        if not hit:
            start = None
            continue
        start = index if start is None else start
        width = math.log10(rates[index] / rates[start])
        # 1e-9: equal widths must compare as equal whatever the rounding of their ends.
        if best is None or width > best[0] + 1e-9:
            best = (width, start, index)
    if best is None:
        return Robustness(None, None, None, 0, False, False)
    width, first, last = best
    return Robustness(width, rates[first], rates[last], sum(reached), first == 0, last == len(rates) - 1)


def best_rate(rows: Sequence[Mapping[str, Any]], metric: str) -> int:
    """Return the index of the best learning rate of an arm.

    It has the fewest median steps to the target (not seconds, so that the choice is the same on a busy machine); of
    equal ones, and if none reaches it, the best mean metric. A mean over fewer runs, because others ended before their
    first evaluation, ranks below every mean over more. Of equal rates the smaller one wins.

    Args:
        rows: one per rate, from the smallest: ``steps`` with its ``median`` and ``best`` with ``mean`` and ``runs``.
        metric: name of the metric, which determines the direction.
    """

    def key(index: int) -> tuple[float, int, float]:
        row = rows[index]
        mean = row["best"]["mean"]
        known = mean is not None and not math.isnan(mean)
        rank = math.inf if not known else -mean if better(metric, 1.0, 0.0) else mean
        return row["steps"]["median"], -row["best"]["runs"], rank

    return min(range(len(rows)), key=key)
