"""Training data that are streamed: row groups are read when their sequences are due, and few are held at a time.

Axes: R row groups, n training sequences, B sequences of a batch, T longest of them, W channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from momentum_cli.data.batching import Groups, Separate, Sharing, Windows
from momentum_cli.data.dataset import Batch, Dataset, Naive
from momentum_cli.data.files.assembly import describe_inputs, finished, require_classes, split_of
from momentum_cli.data.files.checking import find_constant, ranges_of
from momentum_cli.data.files.naive import training_mean
from momentum_cli.data.files.normalisation import Scaling
from momentum_cli.data.files.options import FileOptions
from momentum_cli.data.files.places import Places
from momentum_cli.data.files.schema import Schema
from momentum_cli.data.files.sequences import FileSplit
from momentum_cli.data.files.shards import Holdout, Shards
from momentum_cli.data.files.splitting import SPLITS, Part
from momentum_cli.data.files.stream_order import StreamedGroups
from momentum_cli.data.files.survey import Survey, survey
from momentum_cli.data.naive import of_counts
from momentum_cli.data.problems import Problems
from momentum_cli.errors import DataError
from momentum_cli.messages import refuse

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Reader:
    """Reads the training sequences of row groups, and keeps those that were used last.

    Args:
        task: The options.
        shards, survey: The data.
        scaling, target_scaling: Those of the training data; the latter None for classes.
        held: Row groups that are kept, >= 1.
    """

    def __init__(
        self,
        task: FileOptions,
        shards: Shards,
        survey: Survey,
        scaling: Scaling,
        target_scaling: Scaling | None,
        held: int,
    ) -> None:
        self._task, self._shards, self._survey = task, shards.with_features(survey.held.columns), survey
        self._scaling, self._target_scaling = scaling, target_scaling
        self._held = held
        self._open: dict[int, FileSplit] = {}

    def read(self, number: int) -> FileSplit:
        """Return the training sequences of a row group.

        Raises:
            DataError: It cannot be read, or is not what it was when it was surveyed.
        """
        found = self._open.pop(number, None)
        # Before the next one is read, so that never more are in memory.
        while found is None and len(self._open) >= self._held:
            del self._open[next(iter(self._open))]
        self._open[number] = found = self._read(number) if found is None else found
        return found

    def _read(self, number: int) -> FileSplit:
        group, problems = self._survey.groups[number], Problems()
        problems.files = self._shards.names
        gathered = self._shards.gather(group, problems)
        chosen = np.flatnonzero(self._shards.splits(group, gathered, problems) == 0)
        problems.refuse(str(self._shards.path))
        labels, names = self._survey.held.labels, self._survey.held.feature_names
        known = set(gathered.labels) <= set(labels) and gathered.feature_names == names
        if len(chosen) != self._survey.counts[number] or not known:
            raise DataError(f"{group.file} has changed since this run began; start the run again")
        if gathered.targets is not None and labels:
            recode = np.array([labels.index(label) for label in gathered.labels], np.int64)
            gathered = replace(gathered, targets=recode[gathered.targets])
        part = Part.whole(chosen, gathered.starts, gathered.lengths)
        places = Places(gathered.names, gathered.starts, gathered.lengths)
        return split_of(self._task, gathered, part, self._scaling, self._scaling.size, self._target_scaling, places)


@dataclass(frozen=True)
class StreamedSplit(Separate):
    """Training sequences in row groups; see `momentum_cli.data.Sequences`.

    Args:
        reader: Reads them.
        survey: What is known of them.
        held: Row groups that a process holds and shuffles together.
        terms: Terms of the loss that each sequence has.
        count: n, or fewer: only the first ones.
        where: Device of batches.
    """

    reader: Reader
    survey: Survey
    held: int
    terms: int
    count: int
    where: torch.device | str = "cpu"

    def __len__(self) -> int:
        return self.count

    @property
    def longest(self) -> int:
        """T."""
        return self.survey.longest

    @property
    def lengths(self) -> Tensor | None:
        """(n,) int64 on the CPU, or None if all are equal; they are on the disk until they are asked for."""
        import torch

        if self.survey.even:
            return None
        return torch.from_numpy(self.survey.lengths.read(0, self.count)[:, 0].astype(np.int64))

    @property
    def scored(self) -> Tensor:
        """(n,) int64 on the CPU, terms of the loss of each sequence."""
        import torch

        return torch.tensor(self.terms).expand(self.count)

    @property
    def class_counts(self) -> Tensor | None:
        """(C,) int64, sequences of each class; None without classes, and of the first sequences only."""
        import torch

        known = len(self.survey.classes) > 0 and self.count == self.survey.counts.sum()
        return torch.from_numpy(self.survey.classes) if known else None

    def batch(self, index: Tensor) -> Batch:
        """Read the sequences `index`, (B,) int64, from their row groups.

        Returns:
            Batch with inputs (B, T, W) float32, 0 after the end of a sequence; targets (B,) or (B, K).
        """
        import torch

        places = index.cpu().numpy()
        numbers, own = self._sections(places)
        here = [np.flatnonzero(numbers == number) for number in dict.fromkeys(numbers.tolist())]
        batches = [self.reader.read(int(numbers[at[0]])).batch(torch.from_numpy(own[at])) for at in here]
        longest, first = max(batch.inputs.shape[1] for batch in batches), batches[0]
        inputs = torch.zeros(len(places), longest, first.inputs.shape[2])
        targets = torch.empty(len(places), *first.targets.shape[1:], dtype=first.targets.dtype)
        lengths = torch.empty(len(places), dtype=torch.int64)
        for at, batch in zip(here, batches, strict=True):
            steps = batch.inputs.shape[1]
            inputs[at, :steps] = batch.inputs
            targets[at] = batch.targets
            lengths[at] = steps if batch.lengths is None else batch.lengths
        same = bool((lengths == longest).all())
        return Batch(
            inputs.to(self.where, non_blocking=True),
            targets.to(self.where, non_blocking=True),
            None if same else lengths,
        )

    def _sections(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the row group of each sequence, and its place among the training sequences there."""
        ends = np.cumsum(self.survey.counts)
        numbers = np.searchsorted(ends, places, side="right")
        return numbers, places - (ends - self.survey.counts)[numbers]

    def place(self, index: int) -> dict[str, Any]:
        """Return the number of a sequence in the split, and its name."""
        numbers, own = self._sections(np.array([index]))
        return self.reader.read(int(numbers[0])).place(int(own[0])) | {"number": index}

    def to(self, device: torch.device | str) -> StreamedSplit:
        """Return the split with batches on `device`."""
        return replace(self, where=device)

    def head(self, count: int) -> StreamedSplit:
        """Return the first `count` sequences."""
        return replace(self, count=min(count, self.count))

    def training_groups(
        self, size: int, seed: int, windows: Windows | None = None, sharing: Sharing | None = None
    ) -> Groups:
        """Return groups in the order of `StreamedGroups`; `windows` is for texts and not used."""
        counts = self.survey.counts
        counts = np.clip(self.count - (np.cumsum(counts) - counts), 0, counts)
        return StreamedGroups(counts, self.longest, size, seed, self.held, sharing)

    def evaluation_groups(self, size: int) -> Iterator[Tensor]:
        """Yield groups of `size` sequences, in order; the last one may be smaller."""
        import torch

        for begin in range(0, self.count, size):
            yield torch.arange(begin, min(begin + size, self.count))


def streamed_dataset(task: FileOptions, path: Path, schema: Schema, held: int, problems: Problems) -> Dataset | None:
    """Return the splits of a table of Parquet files, normalised by the training data, which are streamed.

    Args:
        task: The options.
        path: The table.
        schema: Meaning of its columns.
        held: As for `StreamedSplit`.
        problems: Receives every mistake, and the warnings.

    Returns:
        None if there are mistakes.

    Raises:
        DataError: The data cannot be read at all, there are fewer than two classes, or scaled values lose their digits.
    """
    shards = _shards(task, path, schema)
    found = survey(shards, problems)
    if found is None:
        return None
    gathered, columns = found.held, found.held.features.columns
    scaling = found.features.fit(task.normalise)
    if len(gathered.feature_names) == columns:
        find_constant(gathered.feature_names, found.features.constant, found.features.mean, problems)
    description = describe_inputs(task, schema, gathered) | {"scaling": scaling.dump(), "tokens": None}
    names, target_scaling, naive = _targets(task, found, schema, problems)
    places = Places(gathered.names, gathered.starts, gathered.lengths)
    splits: dict[str, Any] = {}
    for number, name in enumerate(SPLITS[1:], start=1):
        part = Part.whole(np.flatnonzero(found.splits == number), gathered.starts, gathered.lengths)
        splits[name] = split_of(task, gathered, part, scaling, columns, target_scaling, places)
    reader = Reader(task, shards, found, scaling, target_scaling, held)
    splits["train"] = StreamedSplit(reader, found, held, max(1, len(names)), int(found.counts.sum()))
    return finished(task, splits, columns, description, (names, target_scaling), gathered.labels, (naive,))


def described(task: FileOptions, path: Path, schema: Schema) -> list[dict[str, Any]]:
    """Return the range of each feature in original units, with the count of missing values.

    Raises:
        DataError: The data have mistakes.
    """
    problems = Problems()
    found = survey(_shards(task, path, schema), problems)
    problems.refuse(str(path))
    assert found is not None
    return ranges_of(found.held, found.every)


def _shards(task: FileOptions, path: Path, schema: Schema) -> Shards:
    if schema.format != "parquet":
        raise DataError(f"{path}: {refuse('task.streamed', schema.format, 'be left out unless the format is parquet')}")
    return Shards(path, schema, task.missing, Holdout(task.validation_fraction, task.test_fraction, task.split_seed))


def _targets(
    task: FileOptions, found: Survey, schema: Schema, problems: Problems
) -> tuple[list[str], Scaling | None, Naive]:
    """Return the names of the predicted values, their scaling, and the naive predictor; [] and None for classes."""
    import torch

    if schema.target_is_class:
        require_classes(task, found.held.labels)
        return [], None, of_counts("majority class", torch.from_numpy(found.classes))
    names, scaling = list(schema.target), found.targets.fit(task.normalise)
    find_constant(names, found.targets.constant, found.targets.mean, problems, target=True)
    return names, scaling, training_mean(scaling, 1, len(task.quantiles or [0.5]))
