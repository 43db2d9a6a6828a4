"""Times of the paper's figure 4, ours and published: that of an epoch, and that until the accuracy of the LSTM."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from momentum_cli.benchmark.plan.figures import (
    PUBLISHED_EPOCH_SECONDS,
    PUBLISHED_MINUTES,
    PUBLISHED_SIZE,
    PUBLISHED_TARGET,
)
from momentum_cli.benchmark.results.statistics import speed_up
from momentum_cli.benchmark.tables.comparison import times_text
from momentum_cli.pages.table import Table
from momentum_cli.wording import NOTHING, metric_text, time_text


@dataclass(frozen=True)
class Times:
    """Times of the paper's figure 4, ours or published.

    Args:
        epoch: cell -> seconds of an epoch, one per seed; {} where seconds cannot be compared.
        total: cell -> time until the target, one per seed, infinite for a miss.
        unit: of `total`.
        baseline: cell that speed-ups are relative to.
        places: cell -> its number among all cells, for its colour.
        target: the value to reach, nan where every seed has its own.
    """

    epoch: Mapping[str, Sequence[float]]
    total: Mapping[str, Sequence[float]]
    unit: str
    baseline: str
    places: Mapping[str, int]
    target: float = math.nan

    def middle(self, which: str, label: str) -> float:
        """Return the median over seeds of ``"epoch"`` or ``"total"``."""
        return float(median((self.epoch if which == "epoch" else self.total)[label]))

    def speed_up(self, label: str) -> float:
        """Return the speed of a cell at the target relative to the baseline, over [0, inf]; NaN if both miss."""
        return speed_up(self.total[self.baseline], self.total[label])

    def row(self, label: str) -> list[str]:
        """Return a table row: the time of an epoch if known, the whole time, the speed-up; dashes for the rest."""
        if label not in self.total:
            return [NOTHING] * (3 if self.epoch else 2)
        epoch = [time_text(self.middle("epoch", label))] if self.epoch else []
        return [*epoch, self._number("total", label), times_text(self.speed_up(label))]

    def text(self, which: str, label: str) -> str:
        """`551 (1.39×)`: the median and, for the whole time, the speed-up."""
        number = self._number(which, label)
        return number if which == "epoch" else f"{number} ({times_text(self.speed_up(label))})"

    def _number(self, which: str, label: str) -> str:
        value = self.middle(which, label)
        return f"{value:.3g}" if self.unit == "epochs" and math.isfinite(value) else time_text(value)


def our_times(comparison: Mapping[str, Any], summary: Mapping[str, Any]) -> Times:
    """Return our times: minutes or seconds, or epochs where seconds are not the scored clock.

    Args:
        comparison: one of ``comparisons`` of bench.json, with a target.
        summary: bench.json.
    """
    runs: dict[str, list[Mapping[str, Any]]] = {cell["label"]: [] for cell in comparison["cells"]}
    for run in comparison["runs"]:
        runs[run["label"]].append(run)
    places = {label: number for number, label in enumerate(runs)}
    if summary["scored"] == "steps":
        total = {label: [_epochs_to_target(run) for run in mine] for label, mine in runs.items()}
        return Times({}, total, "epochs", comparison["baseline"], places)
    epoch = {label: [_epoch_seconds(run) for run in mine] for label, mine in runs.items()}
    seconds = {label: [run["to_target"]["train_seconds"] for run in mine] for label, mine in runs.items()}
    finite = [value for row in seconds.values() for value in row if math.isfinite(value)]
    factor, unit = (60.0, "minutes") if max(finite, default=0.0) >= 300 else (1.0, "seconds")
    total = {label: [value / factor for value in row] for label, row in seconds.items()}
    known = all(math.isfinite(value) for row in epoch.values() for value in row)
    return Times(epoch if known else {}, total, unit, comparison["baseline"], places)


def their_times() -> Times:
    """Return the published times, of permuted MNIST with N = 256 on the authors' GPU."""
    places = {cell: number for number, cell in enumerate(PUBLISHED_MINUTES)}
    total = {cell: [float(value)] for cell, value in PUBLISHED_MINUTES.items()}
    epoch = {cell: [float(value)] for cell, value in PUBLISHED_EPOCH_SECONDS.items()}
    return Times(epoch, total, "minutes", "lstm", places, PUBLISHED_TARGET)


def times_table(comparison: Mapping[str, Any], summary: Mapping[str, Any]) -> Table | None:
    """Return the table of figure 4, ours and published; None for other benchmarks.

    Args:
        comparison: one of ``comparisons`` of bench.json.
        summary: bench.json.
    """
    if not summary.get("figure") or comparison["target"] is None or "baseline" not in comparison["target"]:
        return None
    ours, theirs = our_times(comparison, summary), their_times()
    rows = [
        [label, *(text for times in (ours, theirs) for text in times.row(label))]
        for label in dict.fromkeys([*ours.total, *theirs.total])
    ]
    columns = ["cell", *(["s per epoch"] if ours.epoch else []), f"{ours.unit} to target", "speed-up"]
    columns += ["published: s per epoch", "minutes to target", "speed-up "]
    title = (
        f"{comparison['name']}: time to the best {comparison['metric']} of {comparison['baseline']}, ours and "
        f"published (N = {PUBLISHED_SIZE}, {metric_text('accuracy', PUBLISHED_TARGET)}, their GPU)"
    )
    return Table(title, columns, rows)


def _epoch_seconds(run: Mapping[str, Any]) -> float:
    return run["train_seconds"] / run["epochs"] if run["epochs"] else math.inf


def _epochs_to_target(run: Mapping[str, Any]) -> float:
    return run["to_target"]["steps"] * run["epochs"] / run["steps"] if run["epochs"] else math.inf
