"""The metrics of a task's evaluations, by name, for what is checked and planned before any data is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Metrics of each task's evaluations; a test holds the headline metric against the loaded data.
METRICS: dict[str, tuple[str, ...]] = {
    "digits": ("accuracy", "loss"),
    "mnist": ("accuracy", "loss"),
    "pmnist": ("accuracy", "loss"),
    "adding": ("mse", "mae", "loss"),
    "copying": ("accuracy", "loss"),
    # One of the three, by task.level; see `metrics_of`.
    "language": ("bits_per_character", "bits_per_byte", "perplexity", "loss"),
    # By task.kind, likewise.
    "files": ("accuracy", "mse", "mae", "loss"),
    "speech": ("mse", "mae", "loss"),
    "speech-classify": ("accuracy", "loss"),
}


def metrics_of(task: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the metrics of a task's evaluations, the headline one first.

    Args:
        task: A section of a checked recipe: ``name`` and all options.
    """
    if task["name"] == "language":
        from momentum_cli.data import Language

        return (Language(**{key: value for key, value in task.items() if key != "name"}).metric, "loss")
    if task["name"] == "files":
        from momentum_cli.data.files import METRICS as METRICS_OF_KIND

        return METRICS_OF_KIND[task["kind"]]
    return METRICS[task["name"]]
