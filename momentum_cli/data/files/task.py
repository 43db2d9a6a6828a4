"""The task `files`: the user's data, from a file on disk to splits that can be trained on."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from momentum_cli.data.batching import check_seed
from momentum_cli.data.dataset import Dataset, Task, find_data
from momentum_cli.data.files.dates import check_form
from momentum_cli.data.files.many_files import is_pattern, split_pattern
from momentum_cli.data.files.normalisation import Normalise
from momentum_cli.data.files.reading import Reading
from momentum_cli.data.files.resampling import interval
from momentum_cli.data.fractions import check_fractions
from momentum_cli.errors import DataError
from momentum_cli.messages import Said, refuse
from momentum_cli.metrics import Measured
from momentum_cli.progress import NO_PROGRESS, DownloadProgress

if TYPE_CHECKING:
    from momentum_cli.data.files.gathering import Gathered
    from momentum_cli.data.files.schema import Schema
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
        path: File or folder, relative to the folder of the recipe or to the folder of data sets; or a pattern of files
            such as ``"data/*.csv"``. The files of a folder, or of a pattern, are one table.
        kind: ``"classification"`` or ``"regression"`` of whole sequences, ``"labelling"`` of every step, or
            ``"forecasting"`` of the following steps.
        format: ``"csv"``, ``"parquet"``, ``"jsonl"``, ``"ts"``, ``"npz"``, ``"npy"``, ``"wav"`` or ``"text"``
            (folders); None: by the ending of the path, compressed or not.
        sequence: Column with the name of the sequence that a row belongs to. None: with classification and regression
            each row is a sequence and its features are the steps; with windows all rows are one series.
        order: Column of times, by which the steps of a sequence are sorted, or two of them, a date and a time of day;
            None: in the order of the file.
        order_format: How they are written, such as ``"%d.%m.%Y %H:%M"`` (of two columns with a blank between them);
            None: numbers, or ISO 8601 such as 2024-01-31T12:00:00+01:00.
        order_timezone: Zone of clock times without one, such as ``"Europe/Berlin"``; None: they are taken as they are.
        gaps: With windows: a step that comes more than 10 times the usual spacing after the one before it is refused
            (``"refuse"``), no window spans it (``"split"``), or it is a step like any other (``"ignore"``).
        features: Columns of inputs; None: every column without another role.
        categorical: Features of a table that hold words: one channel for each word of the training data, and one for
            all others.
        date_features: Out of ``"hour"``, ``"weekday"`` and ``"month"``: two more features each, the sine and cosine of
            the share of the day, week and year that has passed.
        resample: Length of even steps, such as ``"15min"``, or a number where the order is one; see
            `momentum_cli.data.files.resampling.resampled`. None: steps are as they are.
        target: Column or columns to predict; the classes of folders are their names.
        window: Forecasting: steps that a forecast is made from, >= 1. Classification and regression: sequences are cut
            into windows of that many steps, and the target of a window is that of its last step.
        horizon: Forecasting: steps that are forecast, >= 1, all at once.
        stride: Steps from one window to the next, >= 1.
        quantiles: Regression and forecasting: levels to predict in place of one value, rising and as many below as
            above 0.5, such as ``[0.1, 0.5, 0.9]``: the median and an interval, which is calibrated on the validation
            split; None: one value.
        season: Forecasting: steps after which a series repeats itself, from 2 to `window`, for the seasonal naive
            forecast and for `mase`; None: the naive forecast looks for it, and `mase` divides by the error of the last
            value.
        split: ``"fraction"``: whole sequences are drawn for each split, the classes in proportion; ``"time"``, for
            forecasting: the beginning of each series is for training, the end for test. None: time for forecasting,
            else fraction.
        split_column: Column with the words train, validation and test, in place of `split`; of folders the level above
            the classes.
        validation_fraction, test_fraction: Of the sequences, or of each series; >= 0 and > 0, their sum < 1. Without
            validation the best checkpoint is selected on the test set, and the result says so.
        split_seed: Determines which sequences are drawn, in [0, 2**32).
        normalise: ``"standard"`` (mean 0, standard deviation 1), ``"range"`` (0 to 1) or ``"none"``; fitted to the
            training data alone, for features and for predicted values. ``"sequence"``: standard, after each sequence
            was given mean 0 and standard deviation 1 by itself.
        missing: ``"refuse"``; ``"forward_fill"``: the last value of the sequence, before the first one the training
            mean; ``"mean"``: the training mean; ``"drop_step"``: leave the step out. Forecasting takes the first two.
        missing_values: Texts and numbers that stand for a missing value, besides the empty text; None: na, n/a, nan,
            null and none, in any case.
        similar_labels: Classes that differ in case alone, or in the way of writing a number: ``"refuse"``; ``"fold"``:
            they are one; ``"keep"``: they are different.
        csv: How a file of text is written: ``delimiter``, ``decimal``, ``thousands``, ``encoding``, ``skip_rows``,
            ``comment``, ``header`` and ``units``, see `momentum_cli.data.files.reading.Reading`.
        lengths: NPZ and NPY: array with the number of valid steps of each sequence.
        samples_per_step: WAV: samples that are one step, >= 1.

    Raises:
        ValueError: An option is outside its range, or contradicts another one.
    """

    path: str
    kind: Literal["classification", "regression", "labelling", "forecasting"]
    format: Literal["csv", "parquet", "jsonl", "ts", "npz", "npy", "wav", "text"] | None = None
    sequence: str | None = None
    order: str | list[str] | None = None
    order_format: str | None = None
    order_timezone: str | None = None
    gaps: Literal["refuse", "split", "ignore"] = "refuse"
    features: list[str] | None = None
    categorical: list[str] | None = None
    date_features: list[Literal["hour", "weekday", "month"]] | None = None
    resample: str | float | None = None
    target: str | list[str] | None = None
    window: int | None = None
    horizon: int = 1
    stride: int = 1
    season: int | None = None
    quantiles: list[float] | None = None
    split: Literal["fraction", "time"] | None = None
    split_column: str | None = None
    validation_fraction: float = 0.15
    test_fraction: float = 0.15
    split_seed: int = 0
    normalise: Normalise = "standard"
    missing: Literal["refuse", "forward_fill", "mean", "drop_step"] = "refuse"
    missing_values: list[str | int | float] | None = None
    similar_labels: Literal["refuse", "fold", "keep"] = "refuse"
    csv: dict[str, Any] | None = None
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
        for name in self.categorical or ():
            if name not in (self.features or [name]) or name in ([self.target] if isinstance(self.target, str) else []):
                raise ValueError(refuse("categorical", name, "be a feature, and no target"))
        if self.resample is not None:
            interval(self.resample)
        for name in ("date_features", "resample"):
            if getattr(self, name) is not None and self.order is None:
                raise ValueError(refuse(name, getattr(self, name), "be left out without task.order"))
        # Refuses what is wrong in them.
        Reading.of(self.csv, self.missing_values)
        self._check_order()
        self._check_kind()
        if self.quantiles is not None:
            self._check_quantiles(self.quantiles)

    def _check_quantiles(self, levels: list[float]) -> None:
        if self.kind not in ("regression", "forecasting"):
            raise ValueError(refuse("quantiles", levels, f"be left out with kind {self.kind}"))
        rising = all(0 < low < high < 1 for low, high in itertools.pairwise(levels))
        around = all(abs(low + high - 1) < 1e-9 for low, high in zip(levels, levels[::-1], strict=True))
        if len(levels) < 3 or len(levels) % 2 == 0 or not (rising and around):
            must = "rise, and be 0.5 with as many levels below as above it, such as [0.1, 0.5, 0.9]"
            raise ValueError(refuse("quantiles", levels, must))

    def _check_order(self) -> None:
        if isinstance(self.order, list) and not 1 <= len(self.order) <= 2:
            columns = Said(f"{len(self.order)} columns")
            raise ValueError(refuse("order", columns, "be a column, or those of a date and a time of day"))
        for name in ("order_format", "order_timezone"):
            if getattr(self, name) is not None and self.order is None:
                raise ValueError(refuse(name, getattr(self, name), "be left out without task.order"))
        if isinstance(self.order, list) and len(self.order) == 2 and self.order_format is None:
            raise ValueError("order_format: missing; two columns of times need one, such as '%d/%m/%Y %H:%M:%S'")
        if self.order_format is not None:
            try:
                check_form(self.order_format)
            except ValueError as error:
                raise ValueError(f"order_format: {error}") from None

    def _check_kind(self) -> None:
        forecasting = self.kind == "forecasting"
        if forecasting and self.window is None:
            raise ValueError("window: missing; a forecast needs the number of steps that it is made from")
        if self.window is not None and self.window < 1:
            raise ValueError(refuse("window", self.window, "be >= 1"))
        if self.season is not None and self.window is not None and not 2 <= self.season <= self.window:
            raise ValueError(refuse("season", self.season, f"be from 2 to window = {self.window}"))
        if self.kind == "labelling" and self.window is not None:
            raise ValueError(refuse("window", self.window, "be left out with kind labelling, which takes every step"))
        of_windows, of_forecasts = {"stride": 1, "gaps": "refuse"}, {"horizon": 1, "season": None}
        for name, default in (of_forecasts | ({} if self.window is not None else of_windows)).items():
            if getattr(self, name) != default and not forecasting:
                must = "be left out " + ("without task.window" if name in of_windows else "unless kind is forecasting")
                raise ValueError(refuse(name, getattr(self, name), must))
        if self.split == "time" and self.window is None:
            remedy = "windows alone are split by time; give task.window"
            raise ValueError(refuse("split", self.split, f"be 'fraction' with kind {self.kind}", remedy))
        if self.normalise == "sequence" and (forecasting or self._by_time):
            # The mean of a whole series gives away values that are to be predicted.
            must = "be 'standard', 'range' or 'none' with series that are split by time, and with forecasts"
            raise ValueError(refuse("normalise", self.normalise, must))
        if self.split is not None and self.split_column is not None:
            raise ValueError(refuse("split", self.split, "be left out where split_column is given"))
        if self.window is not None and self.missing in ("mean", "drop_step"):
            raise ValueError(refuse("missing", self.missing, "be 'refuse' or 'forward_fill' with windows"))
        if isinstance(self.target, list) and len(self.target) != 1 and self.kind in ("classification", "labelling"):
            columns = Said(", ".join(self.target) or "none")
            raise ValueError(refuse("target", columns, f"be one column with kind {self.kind}"))

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics of an evaluation, the headline one first."""
        return METRICS[self.kind] if self.quantiles is None else ("pinball", *METRICS[self.kind])

    @property
    def measured(self) -> tuple[Measured, ...]:
        """Classes or values; forecasts are values too."""
        if self.kind not in ("regression", "forecasting"):
            return ("classes",)
        forecasts: tuple[Measured, ...] = ("forecasts",) if self.kind == "forecasting" else ()
        return ("values", *forecasts, *(() if self.quantiles is None else ("quantiles",)))

    def sizes(self) -> None:
        """Return None: only the data determine them."""

    def load(self, data_dir: Path | None = None, progress: DownloadProgress = NO_PROGRESS) -> Dataset:
        """Read the file; nothing is downloaded.

        Returns:
            Dataset whose splits are `FileSplit`.

        Raises:
            DataError: The file is missing, cannot be read, or has mistakes: each is named.
        """
        from momentum_cli.data.files.assembly import assemble
        from momentum_cli.data.problems import Problems

        problems = Problems()
        path = self.source(data_dir)
        gathered = self.gather(path, problems)
        problems.refuse(str(path))
        parts = self.parts(gathered, problems)
        problems.refuse(str(path))
        dataset = assemble(self, self.schema(path), gathered, parts, problems)
        problems.refuse(str(path))
        self._warn(path, gathered, parts, problems)
        return replace(dataset, warnings=problems.warnings)

    @classmethod
    def availability(cls, data_dir: Path) -> str:
        """Say that the user names the files."""
        return "ready, reads your own files"

    def source(self, data_dir: Path | None = None) -> Path:
        """Return the file or folder.

        Raises:
            DataError: It does not exist; the message names the places that were tried.
        """
        try:
            return find_data(self.path, data_dir)
        except DataError:
            if not is_pattern(self.path):
                raise
        folder, pattern = split_pattern(self.path)
        return find_data(folder, data_dir) / pattern

    def describe(self, data_dir: Path | None = None) -> dict[str, Any]:
        """Return ``format`` and ``features``: the range of each in original units, with the count of missing values."""
        from momentum_cli.data.files.checking import ranges
        from momentum_cli.data.problems import Problems

        path = self.source(data_dir)
        found = [one for one in ranges(self.gather(path, Problems())) if one["name"] not in (self.categorical or ())]
        return {"format": self.schema(path).format, "features": found}

    def check(self, data_dir: Path | None = None, progress: DownloadProgress = NO_PROGRESS) -> list[Problem]:
        """Return every mistake, each with its rows, and the warnings.

        Mistakes are values that are missing or cannot be read, duplicate times, sequences in two splits or without
        steps, targets that change within a sequence. Warnings are those of `momentum_cli.data.files.checking`.
        """
        from momentum_cli.data.files.assembly import assemble
        from momentum_cli.data.problems import Problems

        problems, path = Problems(), self.source(data_dir)
        gathered = self.gather(path, problems)
        if not len(gathered) or not gathered.lengths.any():
            return problems.all
        try:
            parts = self.parts(gathered, problems)
            if not problems:
                assemble(self, self.schema(path), gathered, parts, problems)
            self._warn(path, gathered, parts, problems)
        except DataError as error:
            problems.add("data", str(error).removeprefix(f"{path}: ").removeprefix(f"{self.path}: "))
        return problems.all

    def _warn(self, path: Path, gathered: Gathered, parts: dict[str, Part], problems: Problems) -> None:
        from momentum_cli.data.files.checking import find_warnings
        from momentum_cli.data.files.rows import left_out

        for name in left_out(path, self.schema(path)):
            text = f"column {name!r} has no name and seems to number the rows"
            problems.add(
                "unnamed", f"{text}: it is no feature unless task.features names it", column=name, warning=True
            )
        find_warnings(gathered, parts, self._by_time, problems)

    @property
    def _windowed(self) -> bool:
        return self.window is not None and self.kind != "forecasting"

    @property
    def _by_time(self) -> bool:
        return self.split_column is None and (
            self.split == "time"
            or (self.split is None and (self.kind == "forecasting" or (self._windowed and self.sequence is None)))
        )

    def schema(self, path: Path) -> Schema:
        """Return the meaning of the columns.

        Raises:
            DataError: The format is unknown, or needs another option.
        """
        from momentum_cli.data.files.schema import FOLDERS, TABLES, Schema, format_of
        from momentum_cli.data.files.ts_lines import LABEL

        target = () if self.target is None else (self.target,) if isinstance(self.target, str) else tuple(self.target)
        found = self.format or format_of(path)
        if found is None:
            what = "a folder" if path.is_dir() else f"a file ending in {path.suffix or 'nothing'!r}"
            raise DataError(
                f"{path}: {what}: name its format in task.format (csv, parquet, jsonl, ts, npz, npy, wav, text)"
            )
        if found in FOLDERS and (not path.is_dir() or self.kind != "classification"):
            raise DataError(
                f"{path}: the format {found} needs a folder with one folder of files per class, and classification"
            )
        if found in FOLDERS:
            target = ("class",)
        elif found == "ts" and not target and self.kind != "forecasting":
            target = (LABEL,)
        elif not target and (self.kind != "forecasting" or found in TABLES):
            raise DataError(f"{path}: name the column to predict in task.target")
        if self.kind == "labelling" and found in ("csv", "parquet") and self.sequence is None:
            raise DataError(f"{path}: name the column of sequences in task.sequence; labelling splits whole sequences")
        return Schema(
            found,
            self.kind,
            self.sequence,
            () if self.order is None else (self.order,) if isinstance(self.order, str) else tuple(self.order),
            None if self.features is None else tuple(self.features),
            target,
            self.split_column,
            self.lengths,
            self.samples_per_step,
            self.order_format,
            self.order_timezone,
            self.gaps,
            self.similar_labels,
            Reading.of(self.csv, self.missing_values),
            self._windowed,
            tuple(self.categorical or ()),
            tuple(self.date_features or ()),
            self.resample,
            self.normalise == "sequence",
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
        elif self._by_time:
            return by_time(gathered.starts, gathered.lengths, share, self.test_fraction)
        else:
            classes = gathered.targets if self.kind == "classification" else None
            remedy = "windows of one series are split with task.split=time"
            if self.window is None:
                remedy = "rows that are steps need task.sequence, and task.window cuts long sequences"
            chosen = by_fraction(len(gathered), classes, share, self.test_fraction, self.split_seed, remedy)
        return {split: Part.whole(index, gathered.starts, gathered.lengths) for split, index in chosen.items()}
