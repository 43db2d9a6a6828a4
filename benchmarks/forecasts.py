"""Forecasts of learning curves, judged on real runs: python benchmarks/forecasts.py SEARCH

SEARCH is the folder of a search by `momentumrnn tune` without a pruner, whose trials went to the end of their budget.
From the evaluations in the first 20, 40 and 60 % of the steps of each trial the metric at the end is predicted, and
compared with what it came to. Printed beside it: the same for the last value so far in place of a prediction.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from momentum_cli.recipe.recipe import load_recipe
from momentum_cli.runs.metrics_log import read_metrics
from momentum_cli.tuning.laws import Forecast, forecast, plan_of

PARTS = (0.2, 0.4, 0.6)


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Return Spearman's correlation, with the mean rank for equal values."""

    def ranks(values: Sequence[float]) -> np.ndarray:
        array = np.array(values)
        return np.array([((array < value).sum() + (array <= value).sum() - 1) / 2 for value in array])

    return float(np.corrcoef(ranks(one), ranks(other))[0, 1])


def main() -> None:
    """Judge the forecasts and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("search", type=Path)
    parser.add_argument("--metric", default="accuracy")
    given = parser.parse_args()
    runs = []
    for folder in sorted((given.search / "trials").iterdir()):
        if (folder / "result.json").is_file():
            rows = read_metrics(folder, "eval")
            curve = [(row["step"], float(row[given.metric])) for row in rows]
            runs.append((curve, plan_of(load_recipe(folder / "recipe.yaml"), curve[-1][0])))
    ends = [curve[-1][1] for curve, _ in runs]
    span = f"{min(ends):.4f} to {max(ends):.4f}"
    print(f"{len(runs)} runs of {runs[0][0][-1][0]:,} steps; {given.metric} at the end from {span}")
    print(
        "| part of the budget | rank correlation | of the last value | median error | of the last value "
        "| in the 80 % interval | its median width |"
    )
    print("|---|---|---|---|---|---|---|")
    for part in PARTS:
        found: list[Forecast] = []
        last = []
        for curve, plan in runs:
            seen = [point for point in curve if point[0] <= part * curve[-1][0]]
            predicted = forecast(given.metric, seen, plan)
            assert predicted is not None
            found.append(predicted)
            last.append(seen[-1][1])
        held = sum(one.low <= end <= one.high for one, end in zip(found, ends, strict=True))
        values = [one.value for one in found]
        error = np.median([abs(one - end) for one, end in zip(values, ends, strict=True)])
        standing = np.median([abs(one - end) for one, end in zip(last, ends, strict=True)])
        width = np.median([one.high - one.low for one in found])
        ranks = rank_correlation(values, ends), rank_correlation(last, ends)
        print(
            f"| {100 * part:.0f} % | {ranks[0]:.2f} | {ranks[1]:.2f} | {error:.4f} | {standing:.4f} "
            f"| {held} of {len(runs)} | {width:.4f} |"
        )


if __name__ == "__main__":
    main()
