"""The arithmetic of a benchmark, against tables computed by hand."""

from __future__ import annotations

import math
from statistics import median

import pytest

from momentum_cli.benchmark.results.statistics import (
    Point,
    bootstrap_interval,
    first_crossing,
    geometric_mean,
    mean_and_deviation,
    performance_profile,
    performance_ratios,
    profile_score,
    quartiles,
    ratio,
    speed_up,
)

INF = math.inf


def points(*values: float) -> list[Point]:
    return [Point(10 * i, 320 * i, 0.5 * i, 0.7 * i, value) for i, value in enumerate(values, start=1)]


@pytest.mark.parametrize(
    ("metric", "values", "target", "step"),
    [
        ("accuracy", (0.1, 0.5, 0.9, 0.8), 0.9, 30),  # equal to the target counts
        ("accuracy", (0.1, 0.95, 0.2, 0.99), 0.9, 20),  # the first one, though it falls below again
        ("accuracy", (0.1, 0.2), 0.9, None),
        ("accuracy", (math.nan, 0.9), 0.9, 20),
        ("accuracy", (), 0.9, None),
        ("mse", (0.5, 0.01, 0.001), 0.01, 20),  # an error is reached from above
        ("mse", (0.5, math.nan), 0.01, None),
        ("loss", (-1.0,), 0.0, 10),
    ],
)
def test_first_crossing(metric: str, values: tuple[float, ...], target: float, step: int | None) -> None:
    found = first_crossing(points(*values), metric, target)
    assert (found.step if found else None) == step


def test_first_crossing_gives_all_clocks_of_that_evaluation() -> None:
    assert first_crossing(points(0.0, 1.0), "accuracy", 0.5) == Point(20, 640, 1.0, 1.4, 1.0)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3.0], 3.0),
        ([4.0, 1.0, 2.0], 2.0),
        ([4.0, 1.0, 2.0, 8.0], 3.0),
        ([INF, 1.0, 2.0], 2.0),  # a miss moves the median, but one of three does not make it infinite
        ([INF, INF, 2.0], INF),
        ([1.0, INF], INF),  # half of the runs missed: the typical run has no finite time
        ([INF, INF], INF),
        ([INF], INF),
    ],
)
def test_median_counts_misses_as_infinite(values: list[float], expected: float) -> None:
    assert median(values) == expected


def test_a_miss_never_makes_a_median_better() -> None:
    times = [5.0, 1.0, 4.0, 2.0, 3.0]
    for missed in range(len(times)):
        worse = [INF if i == missed else time for i, time in enumerate(times)]
        assert median(worse) >= median(times)


def test_mean_and_sample_deviation() -> None:
    assert mean_and_deviation([2.0, 4.0, 9.0]) == (5.0, pytest.approx(math.sqrt((9 + 1 + 16) / 2)))
    assert mean_and_deviation([7.0]) == (7.0, None)
    assert mean_and_deviation([1.0, 1.0]) == (1.0, 0.0)
    assert math.isnan(mean_and_deviation([1.0, math.nan])[0])


@pytest.mark.parametrize("function", [quartiles, mean_and_deviation, geometric_mean])
def test_nothing_has_no_average(function: object) -> None:
    with pytest.raises(ValueError, match="nothing"):
        function([])  # type: ignore[operator]


@pytest.mark.parametrize(
    ("baseline", "cell", "expected"),
    [
        ([10.0, 20.0, 30.0], [5.0, 10.0, 20.0], 2.0),
        ([10.0], [10.0], 1.0),
        ([10.0, 20.0, INF], [INF, 5.0, 10.0], 2.0),
        ([10.0], [INF], 0.0),
        ([INF], [10.0], INF),
    ],
)
def test_speed_up(baseline: list[float], cell: list[float], expected: float) -> None:
    assert speed_up(baseline, cell) == expected


def test_two_misses_cannot_be_compared() -> None:
    assert math.isnan(speed_up([INF], [INF]))
    assert math.isnan(ratio(0.0, 0.0))
    assert ratio(1.0, 0.0) == INF


def test_bootstrap_of_two_seeds_by_hand() -> None:
    # resamples (1,1) (1,2) (2,1) (2,2): 8/2 = 4, (8+4)/2 / (2+4)/2 = 2 twice, 4/4 = 1
    assert bootstrap_interval([8.0, 4.0], [2.0, 4.0]) == (1.0, 4.0)
    # nearest rank of 4 resamples 1, 2, 2, 4: with level 0.4 ranks ceil(0.3 * 4) = 2 and ceil(0.7 * 4) = 3
    assert bootstrap_interval([8.0, 4.0], [2.0, 4.0], level=0.4) == (2.0, 2.0)


def test_bootstrap_of_three_seeds_by_hand() -> None:
    # Baseline 1 throughout, cell 1, 1/2, 1/4: the speed-up is 1 / median. Of 27 resamples the median is the first seed
    # when it is drawn at least twice (1 + 3*2 = 7 of 27), the third likewise; so ranks ceil(.025*27) = 1 and
    # ceil(.975*27) = 27 are the extremes, and at level 0.4 ranks 9 and 19 are both the middle one.
    baseline, cell = [1.0, 1.0, 1.0], [1.0, 0.5, 0.25]
    assert bootstrap_interval(baseline, cell) == (1.0, 4.0)
    assert bootstrap_interval(baseline, cell, level=0.4) == (2.0, 2.0)
    # 7 of 27 = 25.9 %: a tail of 25 % ends on rank 7, the last of the extreme ones
    assert bootstrap_interval(baseline, cell, level=0.5) == (1.0, 4.0)


def test_bootstrap_keeps_the_pairs_of_seeds() -> None:
    # every seed is exactly twice as fast, however much the seeds differ among themselves
    assert bootstrap_interval([2.0, 20.0, 200.0], [1.0, 10.0, 100.0]) == (2.0, 2.0)


def test_bootstrap_with_misses_is_open_where_it_must_be() -> None:
    assert bootstrap_interval([1.0, 1.0], [INF, INF]) == (0.0, 0.0)
    assert bootstrap_interval([INF, INF], [1.0, 1.0]) == (INF, INF)
    assert bootstrap_interval([INF, INF], [INF, INF]) == (0.0, INF)
    # one seed of the cell missed: from 0 (that seed alone) to the ratio of the other
    assert bootstrap_interval([4.0, 4.0], [INF, 2.0]) == (0.0, 2.0)


def test_bootstrap_of_one_seed_says_nothing() -> None:
    assert bootstrap_interval([1.0], [2.0]) is None


def test_bootstrap_refuses_unpaired_seeds() -> None:
    with pytest.raises(ValueError, match="share their seeds"):
        bootstrap_interval([1.0, 2.0], [1.0])


def test_random_resamples_of_many_seeds_repeat_and_contain_the_truth() -> None:
    baseline = [10.0 + i % 3 for i in range(9)]
    cell = [5.0 + i % 2 for i in range(9)]
    interval = bootstrap_interval(baseline, cell)
    assert interval == bootstrap_interval(baseline, cell)
    assert interval is not None
    assert interval[0] <= speed_up(baseline, cell) <= interval[1]
    assert interval[0] < interval[1]


def test_geometric_mean() -> None:
    assert geometric_mean([2.0, 8.0]) == pytest.approx(4.0)
    assert geometric_mean([0.5, 2.0]) == pytest.approx(1.0)
    assert geometric_mean([0.0, 2.0]) == 0.0
    assert geometric_mean([INF, 2.0]) == INF
    assert math.isnan(geometric_mean([INF, 0.0]))
    assert math.isnan(geometric_mean([math.nan, 1.0]))
    with pytest.raises(ValueError, match="values >= 0 only"):
        geometric_mean([-1.0])


def test_performance_profile_by_hand() -> None:
    times = {"a": [10.0, 30.0, 8.0, INF], "b": [20.0, 10.0, 8.0, INF], "c": [60.0, INF, 9.0, INF]}
    ratios = performance_ratios(times)
    # workload 3 is a tie (both best), workload 4 nobody solved: it counts against everybody
    assert ratios == {"a": [1.0, 3.0, 1.0, INF], "b": [2.0, 1.0, 1.0, INF], "c": [6.0, INF, 9 / 8, INF]}
    assert [performance_profile(ratios["a"], t) for t in (1.0, 2.9, 3.0, 4.0)] == [0.5, 0.5, 0.75, 0.75]
    assert [performance_profile(ratios["c"], t) for t in (1.0, 1.125, 4.0)] == [0.0, 0.25, 0.25]
    # integral of the staircase over [1, 4] / 3: a: 2 workloads * 3 + 1 * 1 = 7 of 12
    assert profile_score(ratios["a"]) == pytest.approx(7 / 12)
    assert profile_score(ratios["b"]) == pytest.approx((2 + 3 + 3) / 12)
    assert profile_score(ratios["c"]) == pytest.approx((4 - 9 / 8) / 12)


def test_profile_score_equals_a_numerical_integral() -> None:
    ratios = [1.0, 1.3, 2.71, 3.999, 4.0, 17.0, INF]
    n = 300_000
    total = sum(performance_profile(ratios, 1 + 3 * (i + 0.5) / n) for i in range(0, n, 100)) / (n / 100)
    assert profile_score(ratios) == pytest.approx(total, abs=1e-3)


def test_all_miss_and_all_best() -> None:
    assert profile_score([INF, INF]) == 0.0
    assert profile_score([1.0, 1.0]) == 1.0
    assert performance_ratios({"a": [INF], "b": [INF]}) == {"a": [INF], "b": [INF]}
    assert performance_ratios({"a": [0.0], "b": [0.0]}) == {"a": [1.0], "b": [1.0]}


def test_performance_ratios_need_a_whole_table() -> None:
    with pytest.raises(ValueError, match="every workload"):
        performance_ratios({"a": [1.0, 2.0], "b": [1.0]})
    with pytest.raises(ValueError, match="every workload"):
        performance_ratios({"a": []})
