"""The data set that a task gives to training: its splits, and the meaning of their numbers.

Axes: `n` sequences of a split, `B` sequences of a batch, `T` time steps, `D` input channels.

`torch` is imported for type checking only, so that recipes can be parsed, listed and validated without it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from momentum_cli.data.batching import Groups, Separate, Sharing, Windows
from momentum_cli.data.problems import Problem
from momentum_cli.data.sizes import Sizes
from momentum_cli.errors import DataError, SettingError
from momentum_cli.metrics import METRICS, Measured
from momentum_cli.progress import NO_PROGRESS, DownloadProgress
from momentum_cli.reading import check_data, expanded

if TYPE_CHECKING:
    import torch
    from torch import Tensor

NOT_SCORED = -100
"""Class of a step that counts neither in the loss nor in metrics (`ignore_index` of torch's cross-entropy)."""


@dataclass(frozen=True)
class Batch:
    """One mini-batch.

    Args:
        inputs: (B, T, D) float32.
        targets: int64 classes, (B,) or (B, T), `NOT_SCORED` (-100) where a step does not count; or float32 values,
            (B,), (B, K) or, per step, (B, T, K), NaN where a value does not count.
        lengths: (B,) int64 on the CPU, or None if every sequence has T steps.
        units: (2, B, K) float64, the scale and the offset of each target where they differ from sequence to sequence,
            in place of `Dataset.target_scale` and `target_offset`; None: they do not.
        naive_errors: (2, B, K) float64, of forecasts what `mase` divides each error by, and the weight of the quotient,
            0 where it is not defined; None for other data.
        references: Where a model answers in words, the right answer to each sequence.
    """

    inputs: Tensor
    targets: Tensor
    lengths: Tensor | None
    units: Tensor | None = None
    naive_errors: Tensor | None = None
    references: tuple[str, ...] = ()


class Naive(Protocol):
    """The interface of a naive predictor, which predicts in place of a model; see `momentum_cli.data.naive`."""

    @property
    def name(self) -> str:
        """Its name in results."""

    def outputs(self, split: Sequences, index: Tensor, batch: Batch) -> Tensor:
        """Return predictions for a batch, in the shape of a model's outputs and on the device of the batch.

        Args:
            split: The split that the batch is from.
            index: Numbers of its sequences in the split.
            batch: The batch.
        """


class Sequences(Protocol):
    """The interface of a split for training, evaluation and export, however it is stored."""

    @property
    def lengths(self) -> Tensor | None:
        """(n,) int64 on the CPU, valid steps of each sequence; None if all are equal."""

    @property
    def longest(self) -> int:
        """T, steps of the longest sequence."""

    @property
    def scored(self) -> Tensor:
        """(n,) int64 on the CPU, terms of the loss that each sequence has."""

    @property
    def class_counts(self) -> Tensor | None:
        """(C,) int64, sequences of each class where that is known without reading them; None: it is not."""

    def __len__(self) -> int:
        """Return n, the number of sequences."""

    def batch(self, index: Tensor) -> Batch:
        """Return the sequences `index`, (B,) int64 in [0, n), padded to the longest of them."""

    def place(self, index: int) -> dict[str, Any]:
        """Describe the origin of a sequence for readers: its ``number`` in the split, and whatever else is known."""

    def to(self, device: torch.device | str) -> Sequences:
        """Return the split with batches on `device`."""

    def head(self, count: int) -> Sequences:
        """Return the first `count` sequences."""

    @property
    def batch_unit(self) -> str:
        """What the size of a batch counts: ``"sequences"``, ``"streams"`` of a text, or ``"tokens"``."""

    @property
    def carried(self) -> bool:
        """True if state is carried from one group to the next, within an epoch or an evaluation."""

    def training_groups(
        self, size: int, seed: int, windows: Windows | None = None, sharing: Sharing | None = None
    ) -> Groups:
        """Return the groups of optimizer steps.

        Args:
            size: Sequences, or parallel streams of a text, per optimizer step over all processes, >= 1.
            seed: Training seed.
            windows: Windows of a text; None for other data.
            sharing: How several processes share a group, for data of which each reads its own part; None: there is one.
        """

    def evaluation_groups(self, size: int) -> Iterator[Tensor]:
        """Yield groups of `size` sequences or streams that cover everything once; windows of a text are in order."""

    def parts(self, group: Tensor, size: int) -> tuple[Tensor, ...]:
        """Cut the group of an optimizer step into parts of `size` sequences, each in memory at one time."""

    def scored_in(self, group: Tensor) -> int:
        """Return how many terms of the loss a group has."""


def scored_terms(targets: Tensor) -> Tensor:
    """Return how many terms of the loss each sequence has, (n,) int64, for targets as in `Batch`."""
    counted = ~targets.isnan() if targets.is_floating_point() else targets != NOT_SCORED
    return counted.long() if counted.ndim == 1 else counted.flatten(1).sum(1)


@dataclass(frozen=True)
class Split(Separate):
    """The sequences of one split in memory; implements `Sequences`.

    Args:
        inputs: (n, T, D) float32, or uint8, a quarter of the memory, which `batch` converts and multiplies by `scale`.
        targets: (n,) int64 classes, (n,) float32 values, or (n, T) int64 classes per step, `NOT_SCORED` (-100) where a
            step does not count.
        scale: factor applied to uint8 inputs; 1 for float32.
        lengths: (n,) int64 on the CPU, valid steps of each sequence; None if all have T.

    Raises:
        ValueError: the tensors differ in the number of sequences, or float inputs have a scale.
    """

    inputs: Tensor
    targets: Tensor
    scale: float = 1.0
    lengths: Tensor | None = None

    def __post_init__(self) -> None:
        n = self.inputs.shape[0]
        if self.inputs.ndim != 3 or self.targets.shape[0] != n:
            raise ValueError(
                f"inputs must be (n, T, D) and targets (n, …), got {tuple(self.inputs.shape)} "
                f"and {tuple(self.targets.shape)}"
            )
        if self.lengths is not None and tuple(self.lengths.shape) != (n,):
            raise ValueError(f"lengths must be ({n},), got {tuple(self.lengths.shape)}")
        if self.inputs.is_floating_point() and self.scale != 1.0:
            raise ValueError(f"scale applies to uint8 inputs and must be 1 for floating point, got {self.scale}")

    def __len__(self) -> int:
        return int(self.inputs.shape[0])

    @property
    def longest(self) -> int:
        """T."""
        return int(self.inputs.shape[1])

    @cached_property
    def scored(self) -> Tensor:
        """(n,) int64 on the CPU, terms of the loss that each sequence has."""
        return scored_terms(self.targets).cpu()

    def batch(self, index: Tensor) -> Batch:
        """Return the sequences `index`: one gather and, for uint8, one conversion; no work per sequence in Python.

        Args:
            index: (B,) int64, each in [0, n), preferably on the CPU; it is moved to the device of the data.

        Returns:
            Batch with inputs (B, T, D) float32 on the device of the split.
        """
        # index_select is the same gather as inputs[index] and about twice as fast on the CPU
        there = index.to(self.inputs.device, non_blocking=True)
        inputs = self.inputs.index_select(0, there)
        if not inputs.is_floating_point():
            inputs = inputs.float().mul_(self.scale)
        lengths = None if self.lengths is None else self.lengths.index_select(0, index.cpu())
        return Batch(inputs, self.targets.index_select(0, there), lengths)

    def to(self, device: torch.device | str) -> Split:
        """Return the split with inputs and targets on `device`; lengths stay on the CPU, where packing needs them."""
        return replace(self, inputs=self.inputs.to(device), targets=self.targets.to(device))

    def head(self, count: int) -> Split:
        """Return the first `count` sequences."""
        lengths = None if self.lengths is None else self.lengths[:count]
        return replace(self, inputs=self.inputs[:count], targets=self.targets[:count], lengths=lengths)


@dataclass(frozen=True)
class Dataset:
    """A loaded task.

    Args:
        name: name of the task in recipes.
        train, validation, test: the splits; validation is None under `validation: none`, when all training sequences
            are trained on.
        input_size: D, channels per step.
        output_size: number of classes, or of regressed values.
        output: whether the head reads the "last" valid step or "every" step.
        loss: "cross_entropy" (mean over scored steps), "mse" or "pinball".
        metrics: keys of `momentum_cli.metrics.METRICS`, the headline one first.
        labels: name of each class, or None.
        preprocessing: JSON-able description of the way from raw input to model input (see docs/data.md).
        licence: licence and source of the data.
        metric_steps: with output "every", the time steps over which the metric is taken; None: every scored step.
            The loss always covers every scored step.
        naive: predictors without a model; one that is no better than these has not learned the task.
        target_scale, target_offset: with normalised targets (…, K), K numbers each, and original = normalised * scale +
            offset; metrics are in the original units then. None: targets are in their own unit, or batches have
            `units`. The loss is never rescaled.
        quantiles: levels, rising, of the quantiles that a model predicts for each target; () where it predicts one
            value.
        neighbours: consecutive sequences of a split that share steps with any one of them, itself included; a bootstrap
            resample draws that many together.
        warnings: sentences on what makes results on these data less trustworthy.
        spell: where a model answers in words, the function from its tokens to text.
        input_range: the lowest and the highest value that an input can have, as the model gets it; None: any number.
    """

    name: str
    train: Sequences
    validation: Sequences | None
    test: Sequences
    input_size: int
    output_size: int
    output: Literal["last", "every"]
    loss: Literal["cross_entropy", "mse", "pinball"]
    metrics: tuple[str, ...]
    labels: tuple[str, ...] | None
    preprocessing: dict[str, Any] = field(default_factory=dict)
    licence: str = ""
    metric_steps: slice | None = None
    naive: tuple[Naive, ...] = ()
    target_scale: tuple[float, ...] | None = None
    target_offset: tuple[float, ...] | None = None
    quantiles: tuple[float, ...] = ()
    neighbours: int = 1
    warnings: tuple[str, ...] = ()
    spell: Callable[[SequenceOf[int]], str] | None = None
    input_range: tuple[float, float] | None = None

    @property
    def metric(self) -> str:
        """The headline metric."""
        return self.metrics[0]

    @property
    def unattacked(self) -> Dataset:
        """The data with the metrics that need no attack, for what is not an evaluation of an adversarial training."""
        return replace(self, metrics=tuple(name for name in self.metrics if not METRICS[name].attacked))

    @property
    def sizes(self) -> Sizes:
        """Sizes of a model and a batch."""
        # The loss of quantiles costs what a squared error does.
        loss = "mse" if self.loss == "pinball" else self.loss
        return Sizes(len(self.train), self.train.longest, self.input_size, self.output_size, self.output, loss)


class Task(Protocol):
    """The base of every task, a frozen dataclass of its recipe options: its methods suit data that are no files."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics of its evaluations, the headline one first: keys of `momentum_cli.metrics.METRICS`."""

    @property
    def measured(self) -> tuple[Measured, ...]:
        """What its models predict (classes, values, …), which decides the metrics that a recipe may name."""
        return (METRICS[self.metrics[0]].of,)

    def sizes(self) -> Sizes | None:
        """Return the sizes of its data if the options determine them, else None."""

    def load(self, data_dir: Path | None = None, progress: DownloadProgress = NO_PROGRESS) -> Dataset:
        """Load or generate the data.

        Args:
            data_dir: folder of data sets; None: `default_data_dir()`. Tasks without files ignore it.
            progress: receives the progress of downloads.

        Raises:
            DataError: data is missing, damaged or cannot be fetched.
        """

    @classmethod
    def availability(cls, data_dir: Path) -> str:
        """Say for `momentumrnn doctor` whether the data are available; nothing is downloaded.

        Args:
            data_dir: folder of data sets.
        """
        return "ready, needs no files"

    def source(self, data_dir: Path | None = None) -> Path | None:
        """Return the user's file or folder that the task reads, or None.

        Raises:
            DataError: it does not exist.
        """
        return None

    def describe(self, data_dir: Path | None = None) -> dict[str, Any]:
        """Return the facts about the source that `momentumrnn data describe` shows before the splits, JSON-able.

        Raises:
            DataError: the source is missing or cannot be read.
        """
        return {}

    def check(self, data_dir: Path | None = None, progress: DownloadProgress = NO_PROGRESS) -> list[Problem]:
        """Return every mistake in the data, in the order in which they were found, and the warnings.

        Raises:
            DataError: the data cannot be read at all.
        """
        try:
            found = self.load(data_dir, progress).warnings
        except DataError as error:
            return [Problem("data", str(error))]
        return [Problem("data", text, warning=True) for text in found]


def find_data(path: str, data_dir: Path | None) -> Path:
    """Return the user's file or folder that the option ``path`` of a task names.

    Raises:
        DataError: It does not exist; the message names the paths that were tried.
    """
    wanted, folder = expanded(path), data_dir or default_data_dir()
    # After a move to another machine, a run finds its file by name in the folder of data sets.
    places = [wanted, folder / wanted.name] if wanted.is_absolute() else [folder / wanted, wanted]
    for place in places:
        if place.exists():
            return check_data(place)
    raise DataError(
        f"task.path: not found (tried {places[0]} and {places[1]}); a path is resolved against the folder of the "
        "recipe, then --data-dir, then the current folder"
    )


def default_data_dir() -> Path:
    """Return the default folder for data sets: $MOMENTUMRNN_DATA, else `cache_dir`."""
    chosen = os.environ.get("MOMENTUMRNN_DATA")
    return expanded(chosen) if chosen else cache_dir()


def cache_dir() -> Path:
    """Return `momentumrnn` in the user's cache folder.

    That is $XDG_CACHE_HOME or ~/.cache, ~/Library/Caches on macOS, %LOCALAPPDATA% on Windows.

    Raises:
        SettingError: The user has no home folder, and no variable names another place.
    """
    try:
        return _user_cache() / "momentumrnn"
    except RuntimeError as error:
        raise SettingError("no home folder is known; set XDG_CACHE_HOME (or HOME) to a folder for caches") from error


def _user_cache() -> Path:
    if sys.platform == "win32":
        cache = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        cache = Path.home() / "Library" / "Caches"
    else:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache)
