"""The options of the task `files`, checked: each is in its range, and none contradicts another."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Literal

from momentum_cli.data.batching import check_seed
from momentum_cli.data.files.dates import check_form
from momentum_cli.data.files.normalisation import Normalise
from momentum_cli.data.files.reading import Reading
from momentum_cli.data.files.resampling import interval
from momentum_cli.data.fractions import check_fractions, unused_fraction
from momentum_cli.messages import Said, refuse
from momentum_cli.metrics import Measured

METRICS = {
    "classification": ("accuracy", "loss"),
    "labelling": ("accuracy", "loss"),
    "regression": ("mse", "mae", "loss"),
    "forecasting": ("mse", "mae", "loss"),
}
"""Metrics of each kind, the headline one first."""


# Options that may be lists of columns.
_NAMES = "sequence", "order", "features", "categorical", "date_features", "target", "known_future", "normalise_by"


@dataclass(frozen=True)
class FileOptions:
    """The options of `momentum_cli.data.files.Files`; docs/data.md describes formats and layouts.

    Args:
        path: File or folder, relative to the folder of the recipe or to the folder of data sets; or a pattern of files
            such as ``"data/*.csv"``. The files of a folder, or of a pattern, are one table.
        kind: ``"classification"`` or ``"regression"`` of whole sequences, ``"labelling"`` of every step, or
            ``"forecasting"`` of the following steps.
        format: ``"csv"``, ``"parquet"``, ``"jsonl"``, ``"ts"``, ``"npz"``, ``"npy"``, ``"wav"`` or ``"text"``
            (folders); None: by the ending of the path, compressed or not.
        sequence: Column with the name of the sequence that a row belongs to, or several that name it together. None:
            with classification and regression each row is a sequence and its features are the steps; with windows all
            rows are one series.
        order: Column of times, by which the steps of a sequence are sorted, or up to six that are a time together,
            such as a date and a time of day, or year, month and day; None: in the order of the file.
        order_format: Format of these times, such as ``"%d.%m.%Y %H:%M"`` (for several columns with blanks between
            them); None: numbers, or ISO 8601 such as 2024-01-31T12:00:00+01:00.
        order_timezone: Time zone of clock times without one, such as ``"Europe/Berlin"``; None: taken as they are.
        gaps: With windows: a step that comes more than 10 times the usual spacing after the one before it is refused
            (``"refuse"``), no window spans it (``"split"``), or it is a step like any other (``"ignore"``).
        features: Columns of inputs; None: every column without another role.
        categorical: Features of a table that hold words: one channel for each word of the training data, and one for
            all others.
        date_features: Any of ``"hour"``, ``"weekday"`` and ``"month"``: each adds two features, the sine and cosine of
            the share of the day, week or year that has passed.
        resample: Length of even steps, such as ``"15min"``, or a number where the order is one; see
            `momentum_cli.data.files.resampling.resampled`. None: steps are as they are.
        target: Column or columns to predict; the classes of folders are their names. Forecasting from a table without
            `order`: None if each row is a series and its feature columns are the steps.
        window: Forecasting: steps that a forecast is made from, >= 1. Classification and regression: sequences are cut
            into windows of that many steps, and the target of a window is that of its last step.
        horizon: Forecasting: steps that are forecast, >= 1, all at once; or a rising list such as ``[1, 6, 24]``, to
            forecast only these.
        known_future: Forecasting from a table: features whose values at the forecast steps are known when the forecast
            is made, such as holidays, prices or a weather forecast; these values are inputs as well.
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
            has been scaled to mean 0 and standard deviation 1 on its own.
        normalise_by: Column, or columns, with the group of a sequence, such as its shop, or those of `sequence`: each
            group has its own mean and scale, those of its training data. None: one for all.
        missing: ``"refuse"``; ``"forward_fill"``: the last value of the sequence, before the first one the training
            mean, and a series begins with the first value of its targets; ``"mean"``: the training mean;
            ``"drop_step"``: leave the step out. Windows take the first two.
        missing_values: Texts and numbers that stand for a missing value, besides the empty text; None: na, n/a, nan,
            null and none, in any case.
        similar_labels: Classes that differ only in case, or in the notation of a number: ``"refuse"``; ``"fold"``: they
            are one class; ``"keep"``: they are different classes.
        csv: Notation of a text file: ``delimiter``, ``decimal``, ``thousands``, ``encoding``, ``skip_rows``,
            ``comment``, ``header`` and ``units``, see `momentum_cli.data.files.reading.Reading`.
        lengths: NPZ and NPY: array with the number of valid steps of each sequence.
        samples_per_step: WAV: samples that are one step, >= 1.
        streamed: Classification and regression of Parquet files whose rows are sequences: training data stay in the
            files, and each process holds this many row groups at a time and shuffles them together, >= 1; None: all
            data are read before the training. See `momentum_cli.data.files.streamed`.

    Raises:
        ValueError: An option is outside its range, or contradicts another one.
    """

    path: str
    kind: Literal["classification", "regression", "labelling", "forecasting"]
    format: Literal["csv", "parquet", "jsonl", "ts", "npz", "npy", "wav", "text"] | None = None
    sequence: str | list[str] | None = None
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
    horizon: int | list[int] = 1
    known_future: list[str] | None = None
    stride: int = 1
    season: int | None = None
    quantiles: list[float] | None = None
    split: Literal["fraction", "time"] | None = None
    split_column: str | None = None
    validation_fraction: float = 0.15
    test_fraction: float = 0.15
    split_seed: int = 0
    normalise: Normalise = "standard"
    normalise_by: str | list[str] | None = None
    missing: Literal["refuse", "forward_fill", "mean", "drop_step"] = "refuse"
    missing_values: list[str | int | float] | None = None
    similar_labels: Literal["refuse", "fold", "keep"] = "refuse"
    csv: dict[str, Any] | None = None
    lengths: str | None = None
    samples_per_step: int = 1
    streamed: int | None = None

    def __post_init__(self) -> None:
        if not self.path:
            raise ValueError(refuse("path", self.path, "name a file or a folder"))
        check_seed("split_seed", self.split_seed)
        for name in ("stride", "samples_per_step"):
            if getattr(self, name) < 1:
                raise ValueError(refuse(name, getattr(self, name), "be >= 1"))
        _check_horizon(self.horizon)
        check_fractions(self.validation_fraction, self.test_fraction)
        if self.features is not None and not self.features:
            remedy = "leave it out to take every column without another role"
            raise ValueError(refuse("features", Said("an empty list"), "name at least one column", remedy))
        for name in ("sequence", "normalise_by"):
            if getattr(self, name) == []:
                raise ValueError(refuse(name, Said("an empty list"), "name at least one column"))
        for name in _NAMES:
            given = getattr(self, name)
            twice = [one for one in given if given.count(one) > 1] if isinstance(given, list) else []
            if twice:
                raise ValueError(refuse(name, Said(f"{twice[0]!r} twice"), "name each column once"))
        for name in self.categorical or ():
            if name not in (self.features or [name]) or name in ([self.target] if isinstance(self.target, str) else []):
                raise ValueError(refuse("categorical", name, "be a feature, and no target"))
        if self.resample is not None:
            interval(self.resample)
        for name in ("date_features", "resample"):
            if getattr(self, name) is not None and self.order is None:
                raise ValueError(refuse(name, getattr(self, name), "be left out without task.order"))
        # This refuses a wrong value.
        Reading.of(self.csv, self.missing_values)
        self._check_order()
        self._check_kind()
        self._check_known_future(self.known_future or [])
        self._check_groups()
        if self.quantiles is not None:
            self._check_quantiles(self.quantiles)
        if self.streamed is not None:
            self._check_streamed(self.streamed)

    def _check_streamed(self, held: int) -> None:
        if held < 1:
            raise ValueError(refuse("streamed", held, "be a number of row groups, >= 1"))
        if self.kind not in ("classification", "regression") or self.window is not None:
            given = self.kind if self.window is None else f"windows of {self.kind}"
            must = "be left out unless whole sequences are classified, or are given a value by regression"
            raise ValueError(refuse("streamed", Said(f"{held} with {given}"), must))
        if self.format not in (None, "parquet"):
            raise ValueError(
                refuse("streamed", Said(f"{held} with format {self.format}"), "be left out unless format is parquet")
            )
        for name in ("categorical", "normalise_by"):
            if getattr(self, name) is not None:
                raise ValueError(refuse(name, getattr(self, name), "be left out with task.streamed"))

    def _check_quantiles(self, levels: list[float]) -> None:
        if self.kind not in ("regression", "forecasting"):
            raise ValueError(refuse("quantiles", levels, f"be left out with kind {self.kind}"))
        rising = all(0 < low < high < 1 for low, high in itertools.pairwise(levels))
        around = all(abs(low + high - 1) < 1e-9 for low, high in zip(levels, levels[::-1], strict=True))
        if len(levels) < 3 or len(levels) % 2 == 0 or not (rising and around):
            must = "rise, and be 0.5 with as many levels below as above it, such as [0.1, 0.5, 0.9]"
            raise ValueError(refuse("quantiles", levels, must))

    def _check_order(self) -> None:
        if isinstance(self.order, list) and not 1 <= len(self.order) <= 6:
            columns = Said(f"{len(self.order)} columns")
            must = "be a column, or two to six that are a time together, such as a date and a time of day"
            raise ValueError(refuse("order", columns, must))
        for name in ("order_format", "order_timezone"):
            if getattr(self, name) is not None and self.order is None:
                raise ValueError(refuse(name, getattr(self, name), "be left out without task.order"))
        if isinstance(self.order, list) and len(self.order) > 1 and self.order_format is None:
            raise ValueError("order_format: missing; several columns of a time need one, such as '%d/%m/%Y %H:%M:%S'")
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
        of_windows = {"stride": 1, "gaps": "refuse"}
        of_forecasts = {"horizon": 1, "season": None, "known_future": None}
        for name, default in (of_forecasts | ({} if self.window is not None else of_windows)).items():
            if getattr(self, name) != default and not forecasting:
                must = "be left out " + ("without task.window" if name in of_windows else "unless kind is forecasting")
                raise ValueError(refuse(name, getattr(self, name), must))
        if self.split == "time" and self.window is None:
            remedy = "windows alone are split by time; give task.window"
            raise ValueError(refuse("split", self.split, f"be 'fraction' with kind {self.kind}", remedy))
        if self.normalise == "sequence" and (forecasting or self.by_time):
            # The mean of a whole series would reveal values that are to be predicted.
            must = "be 'standard', 'range' or 'none' with series that are split by time, and with forecasts"
            raise ValueError(refuse("normalise", self.normalise, must))
        if self.split is not None and self.split_column is not None:
            raise ValueError(refuse("split", self.split, "be left out where split_column is given"))
        if self.split_column is not None and (unused := unused_fraction(self, "where split_column is given")):
            raise ValueError(unused)
        if self.window is not None and self.missing in ("mean", "drop_step"):
            raise ValueError(refuse("missing", self.missing, "be 'refuse' or 'forward_fill' with windows"))
        if isinstance(self.target, list) and len(self.target) != 1 and self.kind in ("classification", "labelling"):
            columns = Said(", ".join(self.target) or "none")
            raise ValueError(refuse("target", columns, f"be one column with kind {self.kind}"))

    def _check_known_future(self, names: list[str]) -> None:
        if self.known_future is not None and not names:
            remedy = "leave it out where nothing is known in advance"
            raise ValueError(refuse("known_future", Said("an empty list"), "name at least one feature", remedy))
        targets = [self.target] if isinstance(self.target, str) else self.target or []
        for name in names:
            if name in targets:
                must = "be a feature that is known in advance, and no target"
                raise ValueError(refuse("known_future", name, must))
            if name not in (self.features or [name]):
                raise ValueError(refuse("known_future", name, "be one of the features"))

    def _check_groups(self) -> None:
        if self.normalise_by is not None and self.normalise not in ("standard", "range"):
            must = "be left out unless normalise is 'standard' or 'range'"
            raise ValueError(refuse("normalise_by", self.normalise_by, must))

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

    @property
    def steps_ahead(self) -> tuple[int, ...]:
        """Steps that are forecast, counted from the last one of a window, rising; () unless forecasting."""
        if self.kind != "forecasting":
            return ()
        return tuple(self.horizon) if isinstance(self.horizon, list) else tuple(range(1, self.horizon + 1))

    @property
    def reach(self) -> int:
        """Steps after a window that it needs: the last one that is forecast, or 0."""
        return max(self.steps_ahead, default=0)

    @property
    def windowed(self) -> bool:
        """True if sequences are cut into windows, each with its own target."""
        return self.window is not None and self.kind != "forecasting"

    @property
    def by_time(self) -> bool:
        """True if the splits are parts of each series."""
        return self.split_column is None and (
            self.split == "time"
            or (self.split is None and (self.kind == "forecasting" or (self.windowed and self.sequence is None)))
        )


def _check_horizon(horizon: int | list[int]) -> None:
    steps = horizon if isinstance(horizon, list) else [horizon]
    numbers = all(isinstance(step, int) and not isinstance(step, bool) for step in steps)
    if not steps or not numbers or steps[0] < 1 or any(later <= step for step, later in itertools.pairwise(steps)):
        must = "be a number >= 1, or a list of rising ones such as [1, 6, 24]"
        raise ValueError(refuse("horizon", Said("an empty list") if not steps else horizon, must))
