"""The survey of streamed data: one pass over the row groups for all that training must know of them beforehand.

It is kept in the cache, so that it is made once on each machine. It has the sequences that are held out of training;
of the others it has sums, and four bytes each.

Axes: R row groups, n training sequences, m sequences held out, D features, K targets, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from momentum_cli.data.files.cache import kept_folder, read_index, write_index
from momentum_cli.data.files.checking import find_untrained
from momentum_cli.data.files.gathered import Gathered
from momentum_cli.data.files.labels import Labels
from momentum_cli.data.files.normalisation import Moments
from momentum_cli.data.files.parquet import RowGroup
from momentum_cli.data.files.shards import Shards
from momentum_cli.data.files.steps import Steps, StepWriter
from momentum_cli.data.kept import keep
from momentum_cli.data.problems import Problems
from momentum_cli.errors import DataError


@dataclass(frozen=True)
class Survey:
    """What is known of streamed data before training.

    Args:
        groups: R row groups.
        counts: (R,) int64, training sequences of each.
        held: The sequences held out; `missing` counts the missing values of all sequences.
        splits: (m,) int64, the split of each: a place in `SPLITS`.
        features, targets: Moments of the steps, and of the predicted values, of the training sequences; with classes
            the latter have no columns.
        every: Moments of the steps of all sequences.
        classes: (C,) int64, training sequences of each class.
        lengths: (n, 1) int32, steps of each training sequence.
    """

    groups: tuple[RowGroup, ...]
    counts: np.ndarray
    held: Gathered
    splits: np.ndarray
    features: Moments
    targets: Moments
    every: Moments
    classes: np.ndarray
    lengths: Steps

    @property
    def longest(self) -> int:
        """T, steps of the longest training sequence."""
        return self._ends[1]

    @property
    def even(self) -> bool:
        """True if all training sequences have T steps."""
        return self._ends[0] == self._ends[1]

    @cached_property
    def _ends(self) -> tuple[int, int]:
        low, high = np.iinfo(np.int32).max, 0
        for begin in range(0, len(self.lengths), 1 << 20):
            block = self.lengths.read(begin, min(begin + (1 << 20), len(self.lengths)))
            low, high = min(low, int(block.min())), max(high, int(block.max()))
        return low, high


def survey(shards: Shards, problems: Problems) -> Survey | None:
    """Survey data, or read the survey that an earlier run has made.

    Args:
        shards: The data.
        problems: Receives every mistake, and the warnings.

    Returns:
        None if there are mistakes.

    Raises:
        DataError: The data cannot be read at all.
    """
    problems.files = shards.names
    groups = shards.row_groups(problems)
    holdout = shards.holdout
    options = ["streamed", shards.missing, holdout.validation, holdout.test, holdout.seed]
    kept = kept_folder(shards.path, shards.files, shards.schema, *options)
    if not kept.is_dir() and not keep(kept, lambda folder: _Surveyor(shards, folder, problems).survey(groups)):
        return None
    if problems:
        return None
    found = _read(kept, groups)
    find_untrained(found.held.labels, np.flatnonzero(found.classes), None, None, "sequence", problems)
    return found


class _Surveyor:
    """Collects a survey in a folder."""

    def __init__(self, shards: Shards, folder: Path, problems: Problems) -> None:
        schema = shards.schema
        self._shards, self._folder, self._problems = shards, folder, problems
        self._labels = Labels(schema.similar_labels, schema.target[0])
        self._features_of: tuple[str, ...] = ()
        self._counts: list[int] = []
        self._held: list[Gathered] = []
        self._splits: list[np.ndarray] = []
        self._steps: StepWriter | None = None
        self._lengths = StepWriter(1, np.int32, folder / "lengths.bin")
        self._classes = np.zeros(0, np.int64)
        self._features = self._targets = self._others = Moments.none(0)

    def survey(self, groups: Sequence[RowGroup]) -> bool:
        """Read all row groups and write what was found; return False if there are mistakes."""
        try:
            for group in groups:
                with self._shards.noting(group.file, self._problems):
                    self._read(group)
        finally:
            self._lengths.close()
            if self._steps is not None:
                self._steps.close()
        self._labels.find_similar(self._problems)
        found = np.concatenate([np.empty(0, np.int64), *self._splits])
        self._find_empty(found)
        if self._problems:
            return False
        self._write(found)
        return True

    def _read(self, group: RowGroup) -> None:
        mistakes = self._mistakes()
        gathered = self._shards.gather(group, self._problems)
        self._shards = self._shards.with_features(gathered.columns)
        before, now = self._features_of or gathered.feature_names, gathered.feature_names
        if now != before:
            raise DataError(f"{group.file}: its features are {', '.join(now)}, and before they are {', '.join(before)}")
        self._features_of = now
        splits = self._shards.splits(group, gathered, self._problems)
        # A row without a label has a number, too.
        codes = self._codes(gathered) if self._mistakes() == mistakes else np.empty(0, np.int64)
        if not self._problems:
            self._take(gathered, splits, codes)

    def _mistakes(self) -> int:
        """Return the number of rows with mistakes so far."""
        return sum(problem.count for problem in self._problems.all)

    def _codes(self, gathered: Gathered) -> np.ndarray:
        """Return the number of each label of a row group among all labels; none without classes."""
        rows = [int(gathered.rows[gathered.targets == code][0]) for code in range(len(gathered.labels))]
        return np.array(list(map(self._labels.code, gathered.labels, rows)), np.int64)

    def _take(self, gathered: Gathered, splits: np.ndarray, codes: np.ndarray) -> None:
        """Add the sequences of a row group, whose labels have these numbers."""
        columns, steps = gathered.features.columns, gathered.features.array
        assert steps is not None
        assert gathered.targets is not None
        if self._steps is None:
            self._steps = StepWriter(columns, gathered.features.dtype, self._folder / "features.bin")
            values = 0 if self._shards.schema.target_is_class else gathered.targets.shape[1]
            self._features, self._others, self._targets = (Moments.none(count) for count in (columns, columns, values))
        trained = splits == 0
        of_training = np.repeat(trained, gathered.lengths)
        self._features = self._features.merged(Moments.of([steps[of_training]], columns))
        self._others = self._others.merged(Moments.of([steps[~of_training]], columns))
        targets = gathered.targets
        if self._shards.schema.target_is_class:
            targets = codes[targets]
            count = max(len(self._classes), int(codes.max()) + 1)
            before = np.pad(self._classes, (0, count - len(self._classes)))
            self._classes = before + np.bincount(targets[trained], minlength=count)
        else:
            self._targets = self._targets.merged(Moments.of([targets[trained]], targets.shape[1]))
        self._counts.append(int(trained.sum()))
        self._lengths.append(gathered.lengths[trained][:, None])
        self._steps.append(steps[~of_training])
        self._splits.append(splits[~trained])
        self._held.append(_rows_of(gathered, targets, ~trained))

    def _find_empty(self, splits: np.ndarray) -> None:
        """Add splits without sequences to the problems."""
        if self._problems:
            return
        wanted = {"train": sum(self._counts), "test": int((splits == 2).sum())}
        if self._shards.schema.split_column is None and self._shards.holdout.validation > 0:
            wanted["validation"] = int((splits == 1).sum())
        for name, count in wanted.items():
            if not count:
                self._problems.add("empty_split", f"the split {name} has no sequences")

    def _write(self, splits: np.ndarray) -> None:
        labels, recode = self._labels.sorted()
        first = self._held[0]
        targets = np.concatenate([one.targets for one in self._held])
        lengths = np.concatenate([one.lengths for one in self._held])
        is_class = self._shards.schema.target_is_class
        held = Gathered(
            Steps(self._folder / "features.bin", first.features.dtype, first.features.columns),
            None,
            first.feature_names,
            np.concatenate([one.names for one in self._held]),
            np.concatenate([one.rows for one in self._held]),
            np.cumsum(lengths) - lengths,
            lengths,
            recode[targets] if is_class else targets,
            None,
            labels if is_class else (),
            np.sum([one.missing for one in self._held], 0),
            first.facts,
            first.columns,
        )
        write_index(self._folder, held)
        classes = np.zeros(len(held.labels), np.int64)
        classes[recode] = self._classes
        arrays: dict[str, np.ndarray] = {"counts": np.array(self._counts), "splits": splits, "classes": classes}
        every = self._features.merged(self._others)
        for name, moments in (("features", self._features), ("targets", self._targets), ("every", every)):
            arrays[name] = np.stack([getattr(moments, part) for part in _PARTS])
        np.savez(self._folder / "survey.npz", allow_pickle=False, **arrays)


_PARTS = "count", "mean", "squares", "low", "high"


def _rows_of(gathered: Gathered, targets: np.ndarray, chosen: np.ndarray) -> Gathered:
    """Return what is kept in memory of some sequences of a row group: all but their steps."""
    return Gathered(
        Steps(np.empty((0, gathered.features.columns), gathered.features.dtype)),
        None,
        gathered.feature_names,
        gathered.names[chosen],
        gathered.rows[chosen],
        gathered.starts[chosen],
        gathered.lengths[chosen],
        targets[chosen],
        None,
        gathered.labels,
        gathered.missing,
        gathered.facts,
        gathered.columns,
    )


def _read(folder: Path, groups: Sequence[RowGroup]) -> Survey:
    held = read_index(folder)
    try:
        with np.load(folder / "survey.npz", allow_pickle=False) as arrays:
            found: dict[str, Any] = dict(arrays)
        lengths = Steps(folder / "lengths.bin", np.int32, 1)
        features, targets, every = (Moments(*found[name]) for name in ("features", "targets", "every"))
        return Survey(
            tuple(groups), found["counts"], held, found["splits"], features, targets, every, found["classes"], lengths
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder}: damaged ({error}); delete it, and it is made again from the data") from error
