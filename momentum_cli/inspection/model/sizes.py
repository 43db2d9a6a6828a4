"""Sizes of a task's sequences, told without loading its data where its options decide them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from momentum_cli.data import Dataset, Task
from momentum_cli.data.digits import Digits
from momentum_cli.data.mnist import MNIST, PermutedMNIST
from momentum_cli.data.synthetic import Adding, Copying
from momentum_cli.progress import DownloadProgress


@dataclass(frozen=True)
class Sizes:
    """What a model and a batch are built for.

    Args:
        length: T, steps of the longest sequence.
        input_size: D.
        output_size: O, classes or values.
        output: Whether the head reads the ``"last"`` step or ``"every"`` one.
        loss: ``"cross_entropy"`` or ``"mse"``.
    """

    length: int
    input_size: int
    output_size: int
    output: Literal["last", "every"]
    loss: Literal["cross_entropy", "mse"]

    @classmethod
    def of(cls, dataset: Dataset) -> Sizes:
        """Return the sizes of a loaded data set."""
        return cls(dataset.train.longest, dataset.input_size, dataset.output_size, dataset.output, dataset.loss)


def sizes(task: Task, data_dir: Path | None, progress: DownloadProgress) -> Sizes:
    """Return the sizes of a task; nothing is downloaded for one that comes with this package.

    Args:
        task: Not yet loaded.
        data_dir: Folder of the data sets, for a task whose sizes only its data tell.
        progress: Told about downloads.

    Raises:
        DataError: The data had to be loaded and are missing.
    """
    if isinstance(task, MNIST | PermutedMNIST):
        return Sizes(784 // task.pixels_per_step, task.pixels_per_step, 10, "last", "cross_entropy")
    if isinstance(task, Digits):
        return Sizes(64 // task.pixels_per_step, task.pixels_per_step, 10, "last", "cross_entropy")
    if isinstance(task, Adding):
        return Sizes(task.length, 2, 1, "last", "mse")
    if isinstance(task, Copying):
        length = task.delay + 2 * task.copy_length
        return Sizes(length, task.symbols + 2, task.symbols + 1, "every", "cross_entropy")
    return Sizes.of(task.load(data_dir, progress))
