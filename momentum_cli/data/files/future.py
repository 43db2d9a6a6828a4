"""Features whose values are known for the forecast steps: inputs in addition to those of the window.

At each step of a window the model sees, besides all features of that step, those known in advance of the steps that are
forecast from there. So their number of channels grows with the horizon, and a model can still be run step by step.

Axes: B sequences, T steps of a window, r steps that it reaches ahead, D features, W channels of them, F of those that
are known in advance, h forecast steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from momentum_cli.data.files.normalisation import Mixed, Scaling
from momentum_cli.errors import DataError
from momentum_cli.messages import unknown


@dataclass(frozen=True)
class Future:
    """The channels of features that are known in advance.

    Args:
        steps: h forecast steps, rising, counted from the last one of a window.
        channels: F places among the W channels of the features.
    """

    steps: tuple[int, ...]
    channels: tuple[int, ...]

    @property
    def reach(self) -> int:
        """r, steps after a window whose features are read."""
        return self.steps[-1]

    @property
    def size(self) -> int:
        """h F, channels that are added."""
        return len(self.steps) * len(self.channels)

    def __call__(self, prepared: np.ndarray) -> np.ndarray:
        """Return (B, T, W + h F) channels of windows from those of the steps that they reach, (B, T + r, W)."""
        count = prepared.shape[1] - self.reach
        ahead = [prepared[:, step : step + count, self.channels] for step in self.steps]
        return np.ascontiguousarray(np.concatenate([prepared[:, :count], *ahead], -1))


def future_of(
    steps: Sequence[int], known: Sequence[str], features: Sequence[str], prepare: Scaling | Mixed
) -> Future | None:
    """Return the channels of features that are known in advance; None without any.

    Args:
        steps: The forecast steps.
        known: Names of the features.
        features: D names.
        prepare: Converts features to channels.

    Raises:
        DataError: One is not among the features.
    """
    channels: list[int] = []
    for name in known:
        if name not in features:
            raise DataError(f"task.known_future: {unknown('feature', name, features)}")
        channels += prepare.places[list(features).index(name)]
    return Future(tuple(steps), tuple(channels)) if channels else None


def open_steps(features: np.ndarray, others: Sequence[int]) -> int:
    """Return how many steps at the end of a series are to be forecast: they have no values of some features.

    Args:
        features: (t, D), NaN for a missing value.
        others: Places of these features.
    """
    if not len(others) or not len(features):
        return 0
    closed = np.flatnonzero(~np.isnan(features[:, list(others)]).all(1))
    return len(features) - (int(closed[-1]) + 1 if len(closed) else 0)


def channel_names(preprocessing: dict[str, Any]) -> list[str]:
    """Return the names of all channels of a file without categorical features, those known in advance last."""
    names = list(preprocessing["features"])
    known = preprocessing["schema"].get("known_future", ())
    return names + [f"{name} (t+{step})" for step in horizon_steps(preprocessing) for name in known]


def horizon_steps(preprocessing: dict[str, Any]) -> tuple[int, ...]:
    """Return the steps that a model forecasts from the description of its data; (1,) of one that forecasts nothing."""
    horizon = preprocessing.get("horizon", 1)
    return tuple(horizon) if isinstance(horizon, list) else tuple(range(1, horizon + 1))


def listed_steps(steps: Sequence[int]) -> tuple[int, ...]:
    """Return forecast steps that are not simply the next ones; () for these."""
    return () if list(steps) == list(range(1, len(steps) + 1)) else tuple(steps)
