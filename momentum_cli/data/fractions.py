"""Fractions of the data that are held out for validation and test."""

from __future__ import annotations

import dataclasses
from typing import Any

from momentum_cli.messages import refuse


def check_fractions(validation: float, test: float) -> None:
    """Check the options `validation_fraction`, in [0, 1), and `test_fraction`, in (0, 1).

    Raises:
        ValueError: One is outside its range, or nothing is left for training.
    """
    if not 0.0 <= validation < 1.0:
        raise ValueError(refuse("validation_fraction", validation, "be in [0, 1)"))
    if not 0.0 < test < 1.0:
        raise ValueError(refuse("test_fraction", test, "be in (0, 1)"))
    if validation + test >= 1.0:
        raise ValueError(refuse("test_fraction", test, f"be less than 1 - validation_fraction = {1 - validation:g}"))


def unused_fraction(task: Any, where: str) -> str | None:
    """Return the refusal of a fraction that a task does not use, as its data have their own splits; None without one.

    Args:
        task: A dataclass with the options `validation_fraction` and `test_fraction`.
        where: Where they are not used, for the message, such as "where the folder has files of each split".
    """
    for field in dataclasses.fields(task):
        if field.name in ("validation_fraction", "test_fraction") and getattr(task, field.name) != field.default:
            return refuse(field.name, getattr(task, field.name), f"be left out {where}")
    return None
