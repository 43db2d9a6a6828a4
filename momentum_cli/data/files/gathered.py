"""All sequences of a file, assembled.

Axes: n sequences, S steps of all of them, D features, K targets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from momentum_cli.data.files.ordering import Clock
from momentum_cli.data.files.steps import Steps


@dataclass
class Gathered:
    """All sequences of a file.

    Attributes:
        features: (S, D) steps as exact as in the file, in the type of the source; NaN where the mean of the training
            data is filled in.
        step_targets: (S, 1) int64 classes or (S, K) float64 values of every step, or None.
        feature_names: D names; one for a wide table or text.
        names: (n,) names of the sequences.
        rows: (n,) int64, the first row of each.
        starts, lengths: (n,) int64, the first step of each, and its number of steps.
        targets: (n,) int64 classes, (n, K) float64 values, or None.
        splits: (n,) texts, or None.
        labels: Names of the classes, sorted; () without classes.
        missing: Missing values of each feature, before the policy.
        facts: Facts found by the reader.
        columns: Names of the columns or arrays with the features.
        breaks: Steps before which a series has a gap that no window may span, int64, increasing.
        times: (S,) times of the steps if requested, or None.
        groups: (n,) texts, the group of each sequence, or None.
        open_steps: (n,) int64, steps at the end of each without values but those known in advance, if such are allowed.
        clocks: (n,) the last time of each series and the spacing of its steps; [] for other data, and from the cache.
    """

    features: Steps
    step_targets: Steps | None
    feature_names: tuple[str, ...]
    names: np.ndarray
    rows: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    targets: np.ndarray | None
    splits: np.ndarray | None
    labels: tuple[str, ...]
    missing: np.ndarray
    facts: dict[str, Any] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    breaks: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    clocks: list[Clock] = field(default_factory=list)
    times: np.ndarray | None = None
    groups: np.ndarray | None = None
    open_steps: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self.starts)
