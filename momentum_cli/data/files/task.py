"""The task `files`: the user's data, from a file on disk to splits that can be trained on.

Axes: n sequences, S steps of all of them, D features, W channels of the model, K targets, h horizon.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from momentum_cli.data.batching import check_seed
from momentum_cli.data.dataset import Dataset, Task, find_data
from momentum_cli.data.fractions import check_fractions
from momentum_cli.errors import DataError
from momentum_cli.messages import Said, refuse
from momentum_cli.progress import NO_PROGRESS, DownloadProgress

if TYPE_CHECKING:
    from momentum_cli.data.files.gathering import Gathered
    from momentum_cli.data.files.normalisation import OneHot, Scaling
    from momentum_cli.data.files.schema import Schema
    from momentum_cli.data.files.sequences import FileSplit
    from momentum_cli.data.files.splitting import Part
    from momentum_cli.data.problems import Problem, Problems

METRICS = {
    "classification": ("accuracy", "loss"),
    "labelling": ("accuracy", "loss"),
    "regression": ("mse", "mae", "loss"),
    "forecasting": ("mse", "mae", "loss"),
}
"""Metrics of each kind, the headline one first."""


@dataclass(frozen=True)
class Files(Task):
    """Learn from the user's file or folder of files; docs/data.md describes formats and layouts.

    Args:
        path: File or folder, relative to the folder of the recipe or to the folder of data sets.
        kind: ``"classification"`` or ``"regression"`` of whole sequences, ``"labelling"`` of every step, or
            ``"forecasting"`` of the following steps.
        format: ``"csv"``, ``"parquet"``, ``"jsonl"``, ``"npz"``, ``"npy"``, ``"wav"`` or ``"text"`` (folders); None:
            by the ending of the path.
        sequence: Column with the name of the sequence that a row belongs to. None: with classification and regression
            each row is a sequence and its features are the steps; with forecasting all rows are one series.
        order: Column of times, by which the steps of a sequence are sorted; None: in the order of the file.
        features: Columns of inputs; None: every column without another role.
        target: Column or columns to predict; the classes of folders are their names.
        window: Forecasting: steps that a forecast is made from, >= 1.
        horizon: Forecasting: steps that are forecast, >= 1, all at once.
        stride: Forecasting: steps from one window to the next, >= 1.
        split: ``"fraction"``: whole sequences are drawn for each split, the classes in proportion; ``"time"``, for
            forecasting: the beginning of each series is for training, the end for test. None: time for forecasting,
            else fraction.
        split_column: Column with the words train, validation and test, in place of `split`; of folders the level above
            the classes.
        validation_fraction, test_fraction: Of the sequences, or of each series; >= 0 and > 0, their sum < 1. Without
            validation the best checkpoint is selected on the test set, and the result says so.
        split_seed: Determines which sequences are drawn, in [0, 2**32).
        normalise: ``"standard"`` (mean 0, standard deviation 1), ``"range"`` (0 to 1) or ``"none"``; fitted to the
            training data alone, for features and for predicted values.
        missing: ``"refuse"``; ``"forward_fill"``: the last value of the sequence, before the first one the training
            mean; ``"mean"``: the training mean; ``"drop_step"``: leave the step out. Forecasting takes the first two.
        lengths: NPZ and NPY: array with the number of valid steps of each sequence.
        samples_per_step: WAV: samples that are one step, >= 1.

    Raises:
        ValueError: An option is out of its range, or contradicts another one.
    """

    path: str
    kind: Literal["classification", "regression", "labelling", "forecasting"]
    format: Literal["csv", "parquet", "jsonl", "npz", "npy", "wav", "text"] | None = None
    sequence: str | None = None
    order: str | None = None
    features: list[str] | None = None
    target: str | list[str] | None = None
    window: int | None = None
    horizon: int = 1
    stride: int = 1
    split: Literal["fraction", "time"] | None = None
    split_column: str | None = None
    validation_fraction: float = 0.15
    test_fraction: float = 0.15
    split_seed: int = 0
    normalise: Literal["standard", "range", "none"] = "standard"
    missing: Literal["refuse", "forward_fill", "mean", "drop_step"] = "refuse"
    lengths: str | None = None
    samples_per_step: int = 1

    def __post_init__(self) -> None:
        if not self.path:
            raise ValueError(refuse("path", self.path, "name a file or a folder"))
        check_seed("split_seed", self.split_seed)
        for name in ("horizon", "stride", "samples_per_step"):
            if getattr(self, name) < 1:
                raise ValueError(refuse(name, getattr(self, name), "be >= 1"))
        check_fractions(self.validation_fraction, self.test_fraction)
        if self.features is not None and not self.features:
            remedy = "leave it out to take every column without another role"
            raise ValueError(refuse("features", Said("an empty list"), "name at least one column", remedy))
        self._check_kind()

    def _check_kind(self) -> None:
        forecasting = self.kind == "forecasting"
        if forecasting and self.window is None:
            raise ValueError("window: missing; a forecast needs the number of steps that it is made from")
        if self.window is not None and self.window < 1:
            raise ValueError(refuse("window", self.window, "be >= 1"))
        if not forecasting:
            for name, default in (("window", None), ("horizon", 1), ("stride", 1)):
                if getattr(self, name) != default:
                    must = "be left out unless the kind is forecasting"
                    raise ValueError(refuse(name, getattr(self, name), must))
        if self.split == "time" and not forecasting:
            remedy = "only forecasting splits by time"
            raise ValueError(refuse("split", self.split, f"be 'fraction' with kind {self.kind}", remedy))
        if self.split is not None and self.split_column is not None:
            raise ValueError(refuse("split", self.split, "be left out where split_column is given"))
        if forecasting and self.missing in ("mean", "drop_step"):
            raise ValueError(refuse("missing", self.missing, "be 'refuse' or 'forward_fill' with kind forecasting"))
        if isinstance(self.target, list) and len(self.target) != 1 and self.kind in ("classification", "labelling"):
            columns = Said(", ".join(self.target) or "none")
            raise ValueError(refuse("target", columns, f"be one column with kind {self.kind}"))

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics of an evaluation, the headline one first."""
        return METRICS[self.kind]

    def sizes(self) -> None:
        """Return None: only the data determine them."""

    def load(self, data_dir: Path | None = None, progress: DownloadProgress = NO_PROGRESS) -> Dataset:
        """Read the file; nothing is downloaded.

        Returns:
            Dataset whose splits are `FileSplit`.

        Raises:
            DataError: The file is missing, cannot be read, or has mistakes: each is named.
            RecipeError: An optional package is missing.
        """
        from momentum_cli.data.problems import Problems

        problems = Problems()
        path = self.source(data_dir)
        gathered = self.gather(path, problems)
        problems.refuse(str(path))
        parts = self.parts(gathered, problems)
        problems.refuse(str(path))
        dataset = self.dataset(self.schema(path), gathered, parts, problems)
        problems.refuse(str(path))
        return dataset

    @classmethod
    def availability(cls, data_dir: Path) -> str:
        """Say that the user names the files."""
        return "ready, reads your own files"

    def source(self, data_dir: Path | None = None) -> Path:
        """Return the file or folder.

        Raises:
            DataError: It does not exist; the message names the places that were tried.
        """
        return find_data(self.path, data_dir)

    def describe(self, data_dir: Path | None = None) -> dict[str, Any]:
        """Return ``format`` and ``features``: the range of each in original units, with the count of missing values."""
        from momentum_cli.data.files.checking import ranges
        from momentum_cli.data.problems import Problems

        path = self.source(data_dir)
        return {"format": self.schema(path).format, "features": ranges(self.gather(path, Problems()))}

    def check(self, data_dir: Path | None = None, progress: DownloadProgress = NO_PROGRESS) -> list[Problem]:
        """Return every mistake, each with its rows.

        Those are values that are missing or cannot be read, duplicate times, sequences in two splits or without steps,
        targets that change within a sequence, identical sequences in two splits, classes without a training sequence.
        """
        from momentum_cli.data.files.checking import find_identical, find_untrained
        from momentum_cli.data.problems import Problems

        problems, path = Problems(), self.source(data_dir)
        gathered = self.gather(path, problems)
        if not len(gathered) or not gathered.lengths.any():
            return problems.all
        try:
            parts = self.parts(gathered, problems)
            if not problems:
                self.dataset(self.schema(path), gathered, parts, problems)
            if self.window is None:
                find_identical(gathered, parts, problems)
            if self.kind == "classification":
                find_untrained(gathered, parts, problems)
        except DataError as error:
            problems.add("data", str(error).removeprefix(f"{path}: ").removeprefix(f"{self.path}: "))
        return problems.all

    def schema(self, path: Path) -> Schema:
        """Return the meaning of the columns.

        Raises:
            DataError: The format is unknown, or needs another option.
        """
        from momentum_cli.data.files.schema import FOLDERS, SUFFIXES, TABLES, Schema

        target = () if self.target is None else (self.target,) if isinstance(self.target, str) else tuple(self.target)
        found = self.format or SUFFIXES.get(path.suffix.lower())
        if found is None:
            what = "a folder" if path.is_dir() else f"a file ending in {path.suffix or 'nothing'!r}"
            raise DataError(
                f"{path}: {what}: name its format in task.format (csv, parquet, jsonl, npz, npy, wav, text)"
            )
        if found in FOLDERS and (not path.is_dir() or self.kind != "classification"):
            raise DataError(
                f"{path}: the format {found} needs a folder with one folder of files per class, and classification"
            )
        if found in FOLDERS:
            target = ("class",)
        elif not target and (self.kind != "forecasting" or found in TABLES):
            raise DataError(f"{path}: name the column to predict in task.target")
        if self.kind == "labelling" and found in ("csv", "parquet") and self.sequence is None:
            raise DataError(f"{path}: name the column of sequences in task.sequence; labelling splits whole sequences")
        return Schema(
            found,
            self.kind,
            self.sequence,
            self.order,
            None if self.features is None else tuple(self.features),
            target,
            self.split_column,
            self.lengths,
            self.samples_per_step,
        )

    def gather(self, path: Path, problems: Problems) -> Gathered:
        """Return all sequences of the file, and add their mistakes to the problems."""
        from momentum_cli.data.files.cache import gather

        return gather(path, self.schema(path), self.missing, problems)

    def parts(self, gathered: Gathered, problems: Problems) -> dict[str, Part]:
        """Return the part of the file that each split is.

        Raises:
            DataError: There are too few sequences.
        """
        from momentum_cli.data.files.splitting import Part, by_column, by_fraction, by_time

        share: float | Literal["none"] = self.validation_fraction or "none"
        if gathered.splits is not None:
            chosen = by_column(gathered.splits, gathered.rows, gathered.names, problems)
        elif self.split == "time" or (self.split is None and self.kind == "forecasting"):
            return by_time(gathered.starts, gathered.lengths, share, self.test_fraction)
        else:
            classes = gathered.targets if self.kind == "classification" else None
            chosen = by_fraction(len(gathered), classes, share, self.test_fraction, self.split_seed)
        return {split: Part.whole(index, gathered.starts, gathered.lengths) for split, index in chosen.items()}

    def dataset(self, schema: Schema, gathered: Gathered, parts: dict[str, Part], problems: Problems) -> Dataset:
        """Return the splits, normalised by the training data."""
        prepare, channels, description = self._inputs(schema, gathered, parts["train"])
        names, target_scaling = self._targets(gathered, parts["train"])
        splits = {
            split: self._split(gathered, part, prepare, channels, target_scaling) for split, part in parts.items()
        }
        for split in ("train", "test"):
            if not len(splits[split]):
                longest = int((parts[split].ends - parts[split].begins).max(initial=0))
                text = f"the split {split} is empty"
                if self.window is not None:
                    text += f": its longest series has {longest} steps, and {self.window} + {self.horizon} are needed"
                problems.add("empty_split", text)
        values = target_scaling is not None
        preprocessing = description | {
            "horizon": self.horizon,
            "targets": None if target_scaling is None else {"names": names, **target_scaling.dump()},
        }
        scale = None if target_scaling is None else tuple(target_scaling.scale.tolist()) * self.horizon
        return Dataset(
            name="files",
            train=splits["train"],
            validation=splits["validation"] if len(splits["validation"]) else None,
            test=splits["test"],
            input_size=channels,
            output_size=len(names) * self.horizon if values else len(gathered.labels),
            output="every" if self.kind == "labelling" else "last",
            loss="mse" if values else "cross_entropy",
            metrics=self.metrics,
            labels=None if values else gathered.labels,
            preprocessing=preprocessing,
            licence="that of the data",
            target_scale=scale,
        )

    def _inputs(self, schema: Schema, gathered: Gathered, train: Part) -> tuple[Scaling | OneHot, int, dict[str, Any]]:
        import numpy as np

        from momentum_cli.data.files.normalisation import OTHER, OneHot, fit
        from momentum_cli.data.files.splitting import read_blocks

        description = {
            "kind": "files",
            "schema": schema.with_features(gathered.feature_names).dump(),
            "missing": self.missing,
            "window": self.window,
            "features": list(gathered.feature_names),
            "facts": {key: value for key, value in gathered.facts.items() if key != "characters"},
        }
        met = gathered.facts.get("characters")
        if met is not None:
            used = np.zeros(len(met), bool)
            for block in read_blocks(gathered.features, train):
                used[block[:, 0].astype(np.int64)] = True
            known = sorted(character for character, here in zip(met, used.tolist(), strict=True) if here)
            encoding = OneHot.of(met, known)
            return encoding, encoding.size, description | {"scaling": None, "tokens": [*known, OTHER]}
        scaling = fit(read_blocks(gathered.features, train), gathered.features.columns, self.normalise)
        return scaling, gathered.features.columns, description | {"scaling": scaling.dump(), "tokens": None}

    def _targets(self, gathered: Gathered, train: Part) -> tuple[list[str], Scaling | None]:
        """Return the names of the predicted values and their scaling; [] and None for classes."""
        from momentum_cli.data.files.normalisation import fit
        from momentum_cli.data.files.splitting import read_blocks

        if self.kind in ("classification", "labelling"):
            if len(gathered.labels) < 2:
                classes = Said(f"{len(gathered.labels)}")
                raise DataError(f"{self.path}: {refuse('the target', classes, 'have two or more classes')}")
            return [], None
        given = [self.target] if isinstance(self.target, str) else list(self.target or gathered.feature_names)
        if self.kind == "regression":
            assert gathered.targets is not None
            columns = gathered.targets.shape[1]
            scaling = fit([gathered.targets[train.sequences]], columns, self.normalise)
        else:
            assert gathered.step_targets is not None
            columns = gathered.step_targets.columns
            scaling = fit(read_blocks(gathered.step_targets, train), columns, self.normalise)
        names = given if len(given) == columns else [f"{given[0]}[{index}]" for index in range(columns)]
        return names, scaling

    def _split(
        self,
        gathered: Gathered,
        part: Part,
        prepare: Scaling | OneHot,
        channels: int,
        target_scaling: Scaling | None,
    ) -> FileSplit:
        import numpy as np
        import torch

        from momentum_cli.data.files.sequences import FileSplit, Windows

        if self.window is not None:
            first = np.maximum(part.reaches_back, part.begins - self.window)
            room = part.ends - self.horizon - self.window - first
            counts = np.where(room >= 0, room // self.stride + 1, 0)
            windows = Windows(first, counts, self.stride, np.full(len(first), self.window, np.int64))
            assert gathered.step_targets is not None
            return FileSplit(
                gathered.features, windows, prepare, channels, gathered.step_targets, self.horizon, target_scaling
            )
        count = np.ones(len(part.sequences), np.int64)
        windows = Windows(part.begins, count, 1, part.ends - part.begins)
        if gathered.targets is None:
            assert gathered.step_targets is not None
            return FileSplit(gathered.features, windows, prepare, channels, gathered.step_targets)
        chosen = gathered.targets[part.sequences]
        targets = torch.from_numpy(chosen if target_scaling is None else target_scaling(chosen))
        return FileSplit(gathered.features, windows, prepare, channels, targets)
