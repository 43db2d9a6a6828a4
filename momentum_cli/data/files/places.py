"""Places in a file: the sequence that a step belongs to, its number in it, and its time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from momentum_cli.data.files.ordering import Clock


@dataclass(frozen=True)
class Places:
    """The sequences of a file one after the other.

    Args:
        names: (n,) texts.
        starts, lengths: (n,) int64, the steps of each; starts increase.
        clocks: Last time and spacing of each, or [] where the times are not known.
        groups: (n,) int64, the group whose scale each sequence has; None: there is one scale.
        naive_errors: (n, K) float64, see `momentum_cli.data.files.naive.naive_errors`; None unless forecasting.
    """

    names: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    clocks: Sequence[Clock] = ()
    groups: np.ndarray | None = None
    naive_errors: np.ndarray | None = None

    def of(self, step: int) -> dict[str, Any]:
        """Return ``sequence`` and ``step``, and ``time`` where the steps of the sequence are regular.

        Args:
            step: Counted from 0 over all sequences; the ``step`` in the result is its number within the sequence.
        """
        place = int(self.numbers(np.array(step)))
        own = step - int(self.starts[place])
        found: dict[str, Any] = {"sequence": str(self.names[place]), "step": own}
        if len(self.clocks):
            clock = self.clocks[place]
            if clock.regular:
                found["time"] = clock.text(own - (int(self.lengths[place]) - 1))
        return found

    def numbers(self, steps: np.ndarray) -> np.ndarray:
        """Return the number of the sequence of each step, int64 in the shape of `steps`."""
        return np.asarray(np.searchsorted(self.starts, steps, side="right") - 1)

    def groups_of(self, steps: np.ndarray) -> np.ndarray | None:
        """Return the group of the sequence of each step, (B,) int64; None without groups."""
        if self.groups is None:
            return None
        return np.asarray(self.groups[self.numbers(steps)])
