"""Areas of a ranking against their definitions by pairs and by thresholds, one after the other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest

from momentum_cli.ranking import Ranking


def random_ranking() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    # Few different scores, so that there are many ties.
    return generator.integers(0, 6, (40, 3)).astype(float), generator.integers(0, 3, 40), generator.integers(0, 4, 40)


def by_pairs(scores: np.ndarray, own: np.ndarray) -> float:
    pairs = list(itertools.product(scores[own], scores[~own]))
    return sum(1.0 if high > low else 0.5 if high == low else 0.0 for high, low in pairs) / len(pairs)


def by_thresholds(scores: np.ndarray, own: np.ndarray) -> float:
    total, before = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        chosen = scores >= threshold
        recall = (chosen & own).sum() / own.sum()
        total += (recall - before) * (chosen & own).sum() / chosen.sum()
        before = recall
    return total


def test_areas_are_those_of_the_definitions_also_with_ties() -> None:
    scores, classes, _ = random_ranking()
    ranking, ones = Ranking(scores, classes), np.ones(len(classes))
    for number in range(3):
        own = classes == number
        assert ranking.areas_under_roc(ones)[number] == pytest.approx(by_pairs(scores[:, number], own))
        assert ranking.average_precisions(ones)[number] == pytest.approx(by_thresholds(scores[:, number], own))


@pytest.mark.parametrize("areas", [Ranking.areas_under_roc, Ranking.average_precisions])
def test_a_weight_is_a_row_that_is_there_so_often(areas: Callable[[Ranking, np.ndarray], list[float]]) -> None:
    scores, classes, weights = random_ranking()
    times = np.repeat(np.arange(len(weights)), weights)
    again = areas(Ranking(scores[times], classes[times]), np.ones(len(times)))
    assert areas(Ranking(scores, classes), weights.astype(float)) == pytest.approx(again)


def test_a_class_without_a_row_or_without_a_rest_has_no_area() -> None:
    scores, ones = np.random.default_rng(0).random((5, 3)), np.ones(5)
    found = Ranking(scores, np.array([0, 1, 0, 1, 1])).areas_under_roc(ones)
    assert [math.isnan(area) for area in found] == [False, False, True]
    assert all(math.isnan(area) for area in Ranking(scores, np.zeros(5, np.int64)).average_precisions(ones))
    assert all(math.isnan(area) for area in Ranking(scores[:0], np.zeros(0, np.int64)).areas_under_roc(ones[:0]))
