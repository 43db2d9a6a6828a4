"""Data: one file per task. `TASKS[name](**options).load(data_dir, progress)` returns a `Dataset`."""

from __future__ import annotations

from momentum_cli.data.batching import Groups, epoch_order, training_order
from momentum_cli.data.dataset import (
    NOT_SCORED,
    Batch,
    Dataset,
    Naive,
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
from momentum_cli.data.sizes import Sizes
from momentum_cli.data.speech import Speech, SpeechClassify
from momentum_cli.data.synthetic import Adding, Copying
from momentum_cli.data.translation.task import Translation
from momentum_cli.progress import NO_PROGRESS, DownloadProgress, NoProgress

TASKS: dict[str, type[Task]] = {
    "digits": Digits,
    "mnist": MNIST,
    "pmnist": PermutedMNIST,
    "adding": Adding,
    "copying": Copying,
    "language": Language,
    "translation": Translation,
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
    "Naive",
    "NoProgress",
    "PermutedMNIST",
    "Sequences",
    "Sizes",
    "Speech",
    "SpeechClassify",
    "Split",
    "Task",
    "TokenText",
    "Translation",
    "Vocabulary",
    "default_data_dir",
    "epoch_order",
    "scored_terms",
    "training_order",
]
