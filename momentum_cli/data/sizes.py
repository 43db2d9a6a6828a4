"""Sizes of a data set, for building a model and a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Sizes:
    """Sizes of a data set, which the options of many tasks determine without loading it.

    Args:
        samples: n, training sequences.
        length: T, steps of the longest of them.
        input_size: D, channels of a step.
        output_size: O, classes or values.
        output: Whether the head reads the ``"last"`` step or ``"every"`` one.
        loss: ``"cross_entropy"`` or ``"mse"``.
    """

    samples: int
    length: int
    input_size: int
    output_size: int
    output: Literal["last", "every"]
    loss: Literal["cross_entropy", "mse"]
