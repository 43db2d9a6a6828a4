"""Metrics: the direction in which each improves, and those derived from the cross-entropy of a token."""

from __future__ import annotations

import math
from collections.abc import Callable

# Of the cross-entropy of a token in nats: e to it, or it in bits.
TOKEN_METRICS: dict[str, Callable[[float], float]] = {
    "perplexity": lambda nats: math.exp(nats) if nats < 700.0 else math.inf,
    "bits_per_character": lambda nats: nats / math.log(2.0),
    "bits_per_byte": lambda nats: nats / math.log(2.0),
}
HIGHER_IS_BETTER = {"accuracy": True, "loss": False, "mse": False, "mae": False} | dict.fromkeys(TOKEN_METRICS, False)


def better(metric: str, new: float, old: float) -> bool:
    """Return whether ``new`` is strictly better than ``old``; a value that is not a number never is."""
    return new > old if HIGHER_IS_BETTER[metric] else new < old


def reaches(metric: str, value: float, target: float) -> bool:
    """Return whether ``value`` is at or past ``target``; a value that is not a number never is."""
    return value >= target if HIGHER_IS_BETTER[metric] else value <= target
