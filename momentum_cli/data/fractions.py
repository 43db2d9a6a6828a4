"""Fractions of the data that are held out for validation and test."""

from __future__ import annotations

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
