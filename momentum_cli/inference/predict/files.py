"""Prediction for files of the task `files`: inputs are read by the schema in the model, answers are in original units.

Axes: B samples, t steps, D features, W channels of the model, O outputs, K targets, h horizon, Q quantiles.
"""

from __future__ import annotations

import dataclasses
import itertools
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from momentum_cli.data.files.assembly import mixed_channels
from momentum_cli.data.files.cache import open_source
from momentum_cli.data.files.calendar import calendar_names
from momentum_cli.data.files.compression import COMPRESSED, inner_suffix
from momentum_cli.data.files.future import future_of, horizon_steps, listed_steps
from momentum_cli.data.files.gathered import Gathered
from momentum_cli.data.files.gathering import NO_SEQUENCES, Gatherer
from momentum_cli.data.files.groups import UNSEEN
from momentum_cli.data.files.made import made_inputs
from momentum_cli.data.files.normalisation import Mixed, OneHot, Scaling
from momentum_cli.data.files.ordering import time_texts
from momentum_cli.data.files.parts import are_together, in_blocks, parts_of
from momentum_cli.data.files.schema import ANY_TEXT, FOLDERS, SUFFIXES, Schema, format_of
from momentum_cli.data.problems import Problems
from momentum_cli.errors import DataError
from momentum_cli.inference.opened import Subject
from momentum_cli.inference.predict.predictions import Facts, Named, Predictions, plain_answers, with_quantiles
from momentum_cli.inference.predict.reader import array_batches, in_batches
from momentum_cli.inference.predict.samples import ARRAY, Broken, Places, Samples
from momentum_cli.messages import Said, counted, refuse, unknown
from momentum_cli.progress import Ui
from momentum_cli.temporary import temporary_folder

SHOWN = 6
"""Forecasts of a picture."""


class FileReader:
    """Reads files like those that the model was trained on, without targets.

    Args:
        subject: A model of the task `files`.
        top: Classes to list for each sample, >= 1.

    Attributes:
        pasts: For the first `SHOWN` predicted samples the last values of each target, as far as they are inputs.
    """

    endings: ClassVar[tuple[str, ...]] = (*SUFFIXES, *COMPRESSED, ".wav", ".flac", ".txt")
    line: ClassVar[str | None] = None

    def __init__(self, subject: Subject, top: int) -> None:
        self._subject, self._top = subject, top
        preprocessing = subject.trained_on["preprocessing"]
        schema = Schema.of(preprocessing["schema"])
        self._schema = schema.for_inputs(schema.features)
        self._missing: str = preprocessing["missing"]
        self._window: int | None = preprocessing["window"]
        self._windows: dict[str, int] | None = preprocessing.get("windows")
        self._ahead = horizon_steps(preprocessing)
        self._groups: dict[str, int] | None = None
        if "groups" in preprocessing:
            self._groups = {name: place for place, name in enumerate(preprocessing["groups"]["names"])}
        added = calendar_names(schema.date_features)
        self._features: list[str] = [name for name in preprocessing["features"] if name not in added]
        self._categories: dict[str, list[str]] | None = preprocessing.get("categories")
        self._facts: dict[str, Any] = preprocessing["facts"]
        self._tokens: list[str] | None = preprocessing["tokens"]
        self._scaling = None if preprocessing["scaling"] is None else Scaling.of(preprocessing["scaling"])
        self._levels: tuple[float, ...] = tuple(preprocessing.get("quantiles", ()))
        self._shifts: list[list[float]] | None = subject.trained_on.get("calibration")
        self.pasts: list[dict[str, list[float]]] = []
        self._made = made_inputs(preprocessing)
        targets = preprocessing["targets"]
        self._names: list[str] = [] if targets is None else targets["names"]
        self._targets = None if targets is None else Scaling.of(targets)

    @property
    def _listed(self) -> dict[str, Any]:
        """The steps of a forecast, for a record, unless they are simply the next ones."""
        steps = listed_steps(self._ahead) if self._window is not None else ()
        return {"steps": list(steps)} if steps else {}

    @property
    def forecasts(self) -> list[str]:
        """Names of the targets that are forecast; [] of another model."""
        return self._names if self._window is not None else []

    def predictions(self, sources: list[str], batch_size: int, ui: Ui) -> Iterator[Predictions | Broken]:
        """Predict each sequence of a file; see `Reader`."""
        return in_batches(self._subject, sources, self.read, self._answers, batch_size, ui)

    def predict_array(self, values: np.ndarray, batch_size: int) -> Iterator[Predictions | Broken]:
        """Predict sequences (t, D) or (B, t, D) of the features in original units; see `Reader`."""
        return array_batches(self._subject, self._of_array(values), self._answers, batch_size)

    def _of_array(self, values: np.ndarray) -> Iterator[Samples | Broken]:
        """Yield the samples of sequences; for a forecasting model the last steps of each."""
        if self._scaling is None or self._made:
            made = ", ".join(self._made)
            yield Broken(ARRAY, None, f"inputs that are made from a file ({made}) need one: give its path to predict")
            return
        if values.ndim not in (2, 3) or values.shape[-1] != len(self._features) or values.dtype.kind not in "uif":
            must = f"be numbers (t, {len(self._features)}), of {', '.join(self._features)}, or several of them"
            yield Broken(ARRAY, None, refuse("the array", Said(f"{values.dtype} {values.shape}"), must))
            return
        for number, steps in enumerate(values if values.ndim == 3 else values[None]):
            row = number if values.ndim == 3 else None
            if not np.isfinite(steps).all():
                yield Broken(ARRAY, row, "a value is not a finite number; missing values are read from files only")
                continue
            size, stride = self._window or len(steps), 1
            starts = [len(steps) - size]
            if self._windows is not None:
                size, stride = self._windows["length"], self._windows["stride"]
                starts = list(range(0, len(steps) - size + 1, stride))
            if not starts or starts[0] < 0 or size < 1:
                got = Said(counted(len(steps), "step"))
                yield Broken(ARRAY, row, refuse("a sequence", got, f"have {max(size, 1)}"))
                continue
            for start in starts:
                known = {n: steps[start:, self._features.index(n)] for n in self._names if n in self._features}
                past = {name: column.astype(float).tolist() for name, column in known.items()} if self._window else {}
                at = {"step": start + size - 1} if self._windows is not None else {}
                inputs = self._scaling(steps[start : start + size].astype(np.float64))
                yield Samples(Places([ARRAY], [row], (), [at]), inputs[None], pasts=[past])

    def read(self, source: str) -> Iterator[Samples | Broken]:
        """Read a file, or standard input (CSV or JSON Lines) for ``-``.

        Yields:
            The sequences; for a forecasting model the last steps of each series. Broken ones come last.
        """
        if source == "-":
            with temporary_folder() as folder:
                path = folder / "input"
                with open(path, "wb") as file:
                    shutil.copyfileobj(sys.stdin.buffer, file)
                with open(path, "rb") as file:
                    first = file.read(1)
                yield from self._read(path.rename(path.with_suffix(".jsonl" if first == b"{" else ".csv")), "-")
            return
        yield from self._read(Path(source), source)

    def restore(self, outputs: np.ndarray, groups: Sequence[int] = ()) -> np.ndarray:
        """Return predicted values in their original units.

        Args:
            outputs: (B, K Q), or (B, h K Q) for a forecast; Q is 1 without quantiles.
            groups: The group of each sample whose scale its values have; () where there is one scale.

        Returns:
            (B, h, K, Q) float64; quantiles rise, and are calibrated.
        """
        assert self._targets is not None
        count = max(1, len(self._levels))
        found = np.sort(outputs.astype(np.float64).reshape(len(outputs), -1, count), -1)
        if self._shifts is not None:
            found = np.sort(found + np.array(self._shifts), -1)
        scale, offset = self._targets.scale, self._targets.offset
        if groups:
            scale, offset = (each[np.array(groups)][:, None] for each in (scale, offset))
        steps = found.reshape(len(outputs), -1, len(self._names), count)
        return np.asarray(steps * scale[..., None] + offset[..., None])

    def _answers(self, samples: Samples, outputs: np.ndarray) -> Predictions:
        if self._targets is None:
            return plain_answers(samples, outputs, self._subject.trained_on, self._top)
        values = self.restore(outputs, samples.groups)
        restored = values.reshape(outputs.shape)
        if self._window is None:
            return Predictions(samples.places, restored, Named(self._names, values[:, 0], self._levels))
        self.pasts += samples.pasts[: SHOWN - len(self.pasts)]
        return Predictions(samples.places, restored, Facts([*map(self._forecast, values)]))

    def _forecast(self, values: np.ndarray) -> dict[str, Any]:
        """Return the facts of a forecast (h, K, Q)."""
        by_level = values.transpose(2, 1, 0).tolist()
        named = [dict(zip(self._names, of_level, strict=True)) for of_level in by_level]
        return self._listed | with_quantiles(named, self._levels)

    def _read(self, path: Path, source: str) -> Iterator[Samples | Broken]:
        problems = Problems()
        parts = self._parts(path, problems)
        cut = ""
        while True:
            try:
                gathered = next(parts, None)
            except (DataError, OSError) as error:
                yield from self._broken(problems, source) if cut else ()
                yield Broken(source, None, str(error).removeprefix(f"{path}: ") + cut)
                return
            if gathered is None:
                break
            yield from self._usable(gathered, problems, source)
            cut = "; only sequences before it were predicted"
        yield from self._broken(problems, source)

    def _broken(self, problems: Problems, source: str) -> Iterator[Broken]:
        for problem in problems.all:
            yield Broken(source, None, str(problem))

    def _usable(self, gathered: Gathered, problems: Problems, source: str) -> Iterator[Samples | Broken]:
        usable = []
        for place, name in enumerate(gathered.names.tolist()):
            if name in problems.sequences:
                continue
            word = None if gathered.groups is None else gathered.groups[place]
            if self._groups is not None and word not in self._groups:
                text = f"sequence {name!r}: the group {str(word)[:40]!r} of {self._schema.group_name!r}"
                yield Broken(source, int(gathered.rows[place]), f"{text} {UNSEEN}")
                continue
            usable.append(place)
        if self._window is None and self._windows is None:
            yield from self._whole(gathered, np.array(usable, np.int64), source)
        else:
            for place in usable:
                yield from (self._ending if self._windows is None else self._cut)(gathered, place, source)

    def _whole(self, gathered: Gathered, usable: np.ndarray, source: str) -> Iterator[Samples]:
        """Yield whole sequences, those of one length that follow one another together."""
        lengths = gathered.lengths[usable]
        bounds = [0, *(np.flatnonzero(np.diff(lengths)) + 1).tolist(), len(usable)]
        for low, high in itertools.pairwise(bounds if len(usable) else ()):
            length = int(lengths[low])
            for places in in_blocks(usable[low:high], gathered.features.columns * length):
                names, rows = gathered.names[places].tolist(), gathered.rows[places].tolist()
                origin = Places([source] * len(places), rows, names, self._label_times(gathered, places.tolist()))
                yield self._samples(gathered, origin, places, gathered.starts[places], length)

    def _ending(self, gathered: Gathered, place: int, source: str) -> Iterator[Samples | Broken]:
        """Yield the steps of a series from which to forecast."""
        assert self._window is not None
        name, row = gathered.names[place], int(gathered.rows[place])
        try:
            end = self._last(gathered, place)
            begin = self._first(gathered, place, end, self._window)
        except DataError as error:
            yield Broken(source, row, f"sequence {name!r} {error}")
            return
        origin = Places([source], [row], [name], [self._times(gathered, place, end)])
        found = self._samples(gathered, origin, np.array([place]), np.array([begin]), self._window)
        yield dataclasses.replace(found, pasts=[self._past(gathered, begin, end)])

    def _cut(self, gathered: Gathered, place: int, source: str) -> Iterator[Samples | Broken]:
        """Yield the windows of a sequence, each with the time or the number of its last step."""
        assert self._windows is not None
        size, stride = self._windows["length"], self._windows["stride"]
        name, row = gathered.names[place], int(gathered.rows[place])
        start, length = int(gathered.starts[place]), int(gathered.lengths[place])
        inner = gathered.breaks[(gathered.breaks > start) & (gathered.breaks < start + length)].tolist()
        parts = itertools.pairwise([start, *inner, start + length])
        begins = np.concatenate([np.arange(low, high - size + 1, stride) for low, high in parts])
        if not len(begins):
            text = f"sequence {name!r} has {counted(length, 'step')}, and no {size} without a gap, as a window needs"
            yield Broken(source, row, text)
        for some in in_blocks(begins, gathered.features.columns * size):
            ends, count = some + size - 1, len(some)
            at: list[dict[str, Any]] = [{"step": step} for step in (ends - start).tolist()]
            if gathered.times is not None:
                texts = time_texts(gathered.times[ends])
                at = [each | {"time": text} for each, text in zip(at, texts, strict=True)]
            origin = Places([source] * count, [row] * count, [name] * count, at)
            yield self._samples(gathered, origin, np.full(count, place), some, size)

    def _parts(self, path: Path, problems: Problems) -> Iterator[Gathered]:
        """Yield the sequences of a file, those of a large one some at a time."""
        if not path.is_file():
            raise DataError("no such file")
        trained_on = self._schema.format
        found = trained_on if trained_on in FOLDERS else format_of(path)
        if found is None and trained_on == "csv" and inner_suffix(path) in ANY_TEXT:
            found = trained_on
        if found is None:
            raise DataError(unknown("ending", path.suffix.lower(), [*SUFFIXES, *COMPRESSED]))
        schema = dataclasses.replace(self._schema, format=found)
        if found == "npy":
            schema = dataclasses.replace(schema, features=None)
        opened = open_source(path, schema, problems)
        if opened.channels != len(self._features) and not opened.wide:
            raise DataError(
                f"has {opened.channels} features ({', '.join(opened.features)}), but the model takes "
                f"{len(self._features)} ({', '.join(self._features)})"
            )
        for fact, value in self._facts.items():
            if opened.facts.get(fact) != value:
                raise DataError(refuse(f"the {fact}", opened.facts.get(fact), f"be {value}, as in training"))
        known = bool(schema.known_future)
        keep_times = schema.kind == "labelling" or schema.windowed or known
        open_end = self._names if known else None
        together = are_together(path, schema)
        if together:
            opened = open_source(path, schema, problems, together=True)
        count = 0
        for part in parts_of(opened, schema, together):
            gatherer = Gatherer(
                schema, self._missing, part, problems, None, whole=True, keep_times=keep_times, open_end=open_end
            )
            gathered = gatherer.gather(part=True)
            count += len(gathered)
            yield gathered
        if not count:
            problems.add("empty", NO_SEQUENCES)

    def _last(self, gathered: Gathered, place: int) -> int:
        """Return the end of the steps to forecast from: of all, or of those before the steps known in advance.

        Raises:
            DataError: Too few steps are known in advance.
        """
        start, length = int(gathered.starts[place]), int(gathered.lengths[place])
        if not self._schema.known_future:
            return start + length
        names, reach = ", ".join(self._schema.known_future), self._ahead[-1]
        others = [name for name in self._features if name not in self._schema.known_future]
        if not others:
            # Nothing distinguishes the steps to be forecast from those before.
            return start + max(0, length - reach)
        found = int(gathered.open_steps[place])
        if found < reach:
            open_ones = [name for name in self._names if name in others] or others
            empty = "are empty" if len(open_ones) > 1 else "is empty"
            raise DataError(
                f"ends in {counted(found, 'step')} to forecast, and {reach} are needed: rows with values of {names}, "
                f"in which {', '.join(open_ones)} {empty}"
            )
        return start + length - found

    def _first(self, gathered: Gathered, place: int, end: int, window: int) -> int:
        """Return the first step of the last window that ends before `end`, after all gaps.

        Raises:
            DataError: There are too few steps, or a gap among those known in advance.
        """
        start = int(gathered.starts[place])
        reach = self._ahead[-1] if self._schema.known_future else 0
        inner = gathered.breaks[(gathered.breaks > start) & (gathered.breaks < end + reach)]
        known = end - max(start, int(inner[-1])) if len(inner) else end - start
        if known < window:
            behind = " after its last gap" if len(inner) else ""
            raise DataError(f"has {counted(max(0, known), 'step')}{behind}; a forecast needs {window}")
        return end - window

    def _label_times(self, gathered: Gathered, places: list[int]) -> list[dict[str, Any]]:
        """Return the times of labelled steps; [] without any."""
        if self._schema.kind != "labelling" or gathered.times is None:
            return []
        steps = (slice(gathered.starts[place], gathered.starts[place] + gathered.lengths[place]) for place in places)
        return [{"times": time_texts(gathered.times[here])} for here in steps]

    def _times(self, gathered: Gathered, place: int, end: int) -> dict[str, Any]:
        """Return the last time before a forecast, and those of its steps if they are even."""
        if self._schema.known_future and gathered.times is not None:
            last, *times = time_texts(gathered.times[[end - 1, *(end + step - 1 for step in self._ahead)]])
            return {"after": last, "times": times}
        clock = gathered.clocks[place]
        if clock.last is None:
            return {}
        ahead = {"times": [clock.text(step) for step in self._ahead]} if clock.regular else {}
        return {"after": clock.text(), **ahead}

    def _past(self, gathered: Gathered, start: int, stop: int) -> dict[str, list[float]]:
        """Return the last values of each target that is among the inputs of a forecast, in their units."""
        steps = gathered.features.read(start, stop)
        if self._schema.wide_series:
            return {self._names[0]: steps[:, 0].astype(float).tolist()}
        known = [name for name in self._names if name in self._features]
        return {name: steps[:, self._features.index(name)].astype(float).tolist() for name in known}

    def _samples(
        self, gathered: Gathered, origin: Places, places: np.ndarray, begins: np.ndarray, length: int
    ) -> Samples:
        """Return the steps `begins` … `begins` + `length` - 1 of the sequences `places`, (B,), as inputs."""
        prepare: Scaling | Mixed | OneHot
        future = None
        if self._tokens is not None:
            prepare = OneHot.of(gathered.facts["characters"], self._tokens[:-1])
        else:
            assert self._scaling is not None
            prepare = self._scaling
            if self._categories is not None:
                prepare = mixed_channels(self._scaling, gathered, self._categories)
            future = future_of(self._ahead, self._schema.known_future, gathered.feature_names, prepare)
        known, words = self._groups or {}, gathered.groups
        groups = [known[word] for word in words[places].tolist()] if known and words is not None else []
        reach = 0 if future is None else future.reach
        steps = gathered.features.padded(begins, np.full(len(begins), length + reach))
        found = prepare.chosen(np.array(groups) if groups else None)(steps)
        return Samples(origin, found if future is None else future(found), groups=groups)
