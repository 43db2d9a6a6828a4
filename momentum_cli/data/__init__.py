"""Data: one file a task. `TASKS[name](**options).load(data_dir, progress)` returns a `Dataset`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from momentum_cli.data.batching import (
    Groups,
    ShuffledGroups,
    WindowGroups,
    epoch_order,
    evaluation_groups,
    training_order,
)
from momentum_cli.data.dataset import (
    NOT_SCORED,
    Batch,
    Dataset,
    Sequences,
    Split,
    Task,
    default_data_dir,
    scored_terms,
)
from momentum_cli.data.digits import Digits
from momentum_cli.data.files import Files
from momentum_cli.data.language.task import Language
from momentum_cli.data.language.text import TokenText
from momentum_cli.data.language.vocabulary import Vocabulary
from momentum_cli.data.mnist import MNIST, PermutedMNIST
from momentum_cli.data.speech import Speech, SpeechClassify
from momentum_cli.data.synthetic import Adding, Copying
from momentum_cli.progress import NO_PROGRESS, DownloadProgress, NoProgress

TASKS: dict[str, type[Task]] = {
    "digits": Digits,
    "mnist": MNIST,
    "pmnist": PermutedMNIST,
    "adding": Adding,
    "copying": Copying,
    "language": Language,
    "files": Files,
    "speech": Speech,
    "speech-classify": SpeechClassify,
}

__all__ = [
    "MNIST",
    "NOT_SCORED",
    "NO_PROGRESS",
    "TASKS",
    "Adding",
    "Batch",
    "Copying",
    "Dataset",
    "Digits",
    "DownloadProgress",
    "Files",
    "Groups",
    "Language",
    "NoProgress",
    "PermutedMNIST",
    "Sequences",
    "ShuffledGroups",
    "Speech",
    "SpeechClassify",
    "Split",
    "Task",
    "TokenText",
    "Vocabulary",
    "WindowGroups",
    "default_data_dir",
    "epoch_order",
    "evaluation_groups",
    "scored_terms",
    "training_order",
]


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
        return (Language(**{key: value for key, value in task.items() if key != "name"}).metric, "loss")
    if task["name"] == "files":
        from momentum_cli.data.files import METRICS as METRICS_OF_KIND

        return METRICS_OF_KIND[task["kind"]]
    return METRICS[task["name"]]
