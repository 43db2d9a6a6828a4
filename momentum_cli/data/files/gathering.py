"""Assembling pieces of sequences: order and duplicates, missing values, targets, splits. All mistakes are collected.

Axes: n sequences, S steps of all of them, D features, K targets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from momentum_cli.data.files.calendar import calendar_features, calendar_names
from momentum_cli.data.files.future import open_steps
from momentum_cli.data.files.gathered import Gathered
from momentum_cli.data.files.labels import Labels
from momentum_cli.data.files.normalisation import standardised
from momentum_cli.data.files.ordering import Clock, Ordering
from momentum_cli.data.files.resampling import resampled
from momentum_cli.data.files.schema import Piece, Schema, Source
from momentum_cli.data.files.steps import Steps, StepWriter
from momentum_cli.data.problems import Problems
from momentum_cli.errors import DataError
from momentum_cli.messages import refuse

POLICIES = ("refuse", "forward_fill", "mean", "drop_step")


@dataclass
class _Current:
    """State of the sequence whose pieces are being read."""

    name: str
    clock: Clock = field(default_factory=Clock)
    last_values: np.ndarray | None = None
    last_target: np.ndarray | None = None
    target: Any = None
    split: Any = None
    group: Any = None
    first_row: int = 0


class Gatherer:
    """Collects the pieces of a source and checks them.

    Args:
        schema: Meaning of the columns.
        missing: One of `POLICIES`.
        source: Source of the pieces.
        problems: Receives every mistake.
        folder: Folder for the steps as files; None keeps them in memory.
        whole: True if each piece is a whole sequence, so that its steps may be sorted.
        keep_times: Keep the times of all steps.
        open_end: Sequences may end in steps with no values but those known in advance, as in files to forecast from.
    """

    def __init__(
        self,
        schema: Schema,
        missing: str,
        source: Source,
        problems: Problems,
        folder: Path | None,
        *,
        whole: bool,
        keep_times: bool = False,
        open_end: bool = False,
    ) -> None:
        self.schema, self.missing, self.source, self.problems, self.whole = schema, missing, source, problems, whole
        self._folder = folder
        self._added = calendar_names(schema.date_features)
        channels = source.channels + len(self._added)
        self._features = StepWriter(channels, source.dtype, None if folder is None else folder / "features.bin")
        self._targets: StepWriter | None = None
        self._labels = Labels(schema.similar_labels, schema.target[0] if schema.target else "")
        self._ordering = Ordering(schema, whole, problems)
        self._breaks: list[int] = []
        self._clocks: list[Clock] = []
        self._keep_times, self._times = keep_times, list[np.ndarray]()
        self._taken = 0
        self._seen: set[str] = set()
        self._names: list[str] = []
        self._rows: list[int] = []
        self._lengths: list[int] = []
        self._sequence_targets: list[Any] = []
        self._splits: list[str] = []
        self._groups: list[str] = []
        self._open: list[int] = []
        known = schema.known_future
        self._unknown = [n for n, name in enumerate(source.features) if name not in known] if open_end else []
        self._current: _Current | None = None
        self._missing = np.zeros(source.channels, np.int64)

    def gather(self) -> Gathered:
        """Read everything, and add the mistakes to the problems."""
        for piece in self.source.pieces:
            self._take(piece)
        lengths = np.array(self._lengths, np.int64)
        for place in np.flatnonzero(lengths == 0):
            name = self._names[place]
            self.problems.add("empty", f"sequence {name!r} has no steps", [self._rows[place]], sequence=name)
        if not len(lengths):
            self.problems.add("empty", "the file has no sequences")
        self._labels.find_similar(self.problems)
        labels, recode = self._labels.sorted()
        features = self._features.close()
        step_targets = None if self._targets is None else self._targets.close()
        targets = None
        if self._sequence_targets and self.schema.target_is_class:
            targets = recode[np.array(self._sequence_targets, np.int64)] if labels else None
        elif self._sequence_targets:
            targets = np.array(self._sequence_targets, np.float64)
        coded = self.schema.target_every_step and self.schema.target_is_class
        if coded and self._targets is not None:
            step_targets = self._recoded(step_targets, recode)
        if self._folder is not None:
            columns = self.source.channels + len(self._added)
            features = Steps(self._folder / "features.bin", self.source.dtype, columns)
            if not coded and self._targets is not None:
                step_targets = Steps(self._folder / "targets.bin", np.float64, self._targets.columns)
        assert features is not None
        return Gathered(
            features,
            step_targets,
            (*self.source.features, *self._added),
            np.array(self._names, dtype=object),
            np.array(self._rows, np.int64),
            np.cumsum(lengths) - lengths,
            lengths,
            targets,
            np.array(self._splits, dtype=object) if self._splits else None,
            labels,
            np.concatenate((self._missing, np.zeros(len(self._added), np.int64))),
            self.source.facts,
            self.source.columns or self.source.features,
            np.array(self._breaks, np.int64),
            self._clocks,
            np.concatenate(self._times) if self._times else None,
            np.array(self._groups, dtype=object) if self._groups else None,
            np.array(self._open, np.int64),
        )

    def _recoded(self, steps: Steps | None, recode: np.ndarray) -> Steps:
        """Return classes of steps, renumbered by the sorted labels."""
        if steps is not None:
            assert steps.array is not None
            return Steps(recode[steps.array] if len(recode) else steps.array)
        assert self._folder is not None
        path = self._folder / "targets.bin"
        raw = Steps(path, np.int64, 1)
        writer = StepWriter(1, np.int64, path.with_name("labels.bin"))
        for start in range(0, len(raw), 1 << 20):
            writer.append(recode[raw.read(start, min(start + (1 << 20), len(raw)))])
        writer.close()
        path.with_name("labels.bin").replace(path)
        return Steps(path, np.int64, 1)

    def _take(self, piece: Piece) -> None:
        current = self._current
        if current is None or current.name != piece.sequence:
            if piece.sequence in self._seen:
                self._apart(piece)
                return
            self._seen.add(piece.sequence)
            current = self._current = _Current(piece.sequence, first_row=int(piece.rows[0]) if len(piece.rows) else 0)
            self._names.append(piece.sequence)
            self._rows.append(current.first_row)
            self._lengths.append(0)
            self._clocks.append(current.clock)
            self._open.append(0)
            if piece.split is not None:
                self._splits.append("")
            if piece.group is not None:
                self._groups.append("")
            if piece.target is not None and not self.schema.target_every_step:
                self._sequence_targets.append(0 if self.schema.target_is_class else [np.nan] * piece.target.shape[1])
        gaps = np.zeros(len(piece.features), bool)
        if piece.order is not None:
            piece, gaps = self._ordering.sorted(piece, current.clock, self._even)
        self._open[-1] = open_steps(piece.features, self._unknown)
        piece = self._filled(piece, current)
        if self.missing == "forward_fill" and self.schema.is_series and not self.schema.target_is_class:
            piece, gaps = self._begun(piece, gaps)
        if self.schema.gaps == "split":
            self._breaks += (self._taken + np.flatnonzero(gaps)).tolist()
        if piece.split is not None:
            self._take_word(piece.split, piece, current, "split")
        if piece.group is not None:
            self._take_word(piece.group, piece, current, "group")
        if piece.target is not None:
            take = self._take_step_targets if self.schema.target_every_step else self._take_target
            take(piece, current)
        if self.schema.each_scaled and "characters" not in self.source.facts:
            self._refuse_parts("task.normalise", "sequence")
            piece.features = standardised(piece.features, self._words)
        if self._added and piece.order is not None:
            found = calendar_features(piece.order, self.schema.date_features, self.schema.order_timezone)
            piece.features = np.concatenate((piece.features, found), 1)
        self._features.append(piece.features)
        if self._keep_times and piece.order is not None:
            self._times.append(piece.order)
        self._lengths[-1] += len(piece.features)
        self._taken += len(piece.features)

    def _even(self, piece: Piece) -> Piece:
        """Return a piece with even steps, if the task has ``resample``."""
        if self.schema.resample is None or not len(piece.features):
            return piece
        self._refuse_parts("task.resample", self.schema.resample)
        return resampled(piece, self.schema.resample, self._words)

    def _refuse_parts(self, option: str, value: Any) -> None:
        """Refuse an option that needs whole sequences where they come in parts."""
        if not self.whole:
            must = "be left out with a file too large for memory"
            raise DataError(refuse(option, value, must, "do it in the file itself"))

    @property
    def _words(self) -> list[int]:
        """Return the places of the features that are categories."""
        return [place for place, name in enumerate(self.source.features) if name in self.schema.categorical]

    def _apart(self, piece: Piece) -> None:
        """Report a name that recurs after another one."""
        if self.whole:
            text = f"two sequences have the name {piece.sequence!r}"
        else:
            rule = "files too large for memory must be sorted by sequence and time"
            text = f"sequence {piece.sequence!r}: its rows must be together; {rule}"
        self.problems.add("apart", text, piece.rows[:1], sequence=piece.sequence)

    def _filled(self, piece: Piece, current: _Current) -> Piece:
        """Apply the policy for missing values to the features and the forecast values."""
        absent = np.isnan(piece.features)
        absent[len(absent) - self._open[-1] :, self._unknown] = False
        if absent.any():
            self._missing += absent.sum(0)
            if self.missing == "refuse":
                self._refuse_missing(piece, absent)
            elif self.missing == "drop_step":
                keep = ~absent.any(1)
                piece = piece.picked(np.flatnonzero(keep))
            elif self.missing == "forward_fill":
                piece.features = _forward_filled(piece.features, current.last_values)
        if self.schema.is_series and not self.schema.target_is_class and piece.target is not None:
            gaps = np.isnan(piece.target)
            if gaps.any() and self.missing == "forward_fill":
                piece.target = _forward_filled(piece.target, current.last_target)
            if len(piece.target):
                current.last_target = piece.target[-1]
        if len(piece.features):
            current.last_values = piece.features[-1]
        return piece

    def _begun(self, piece: Piece, gaps: np.ndarray) -> tuple[Piece, np.ndarray]:
        """Return a filled piece and its gaps without the leading steps that lack a target even after filling.

        In a series that is read without targets, to forecast from it, the features themselves are the targets.
        """
        values = piece.features if piece.target is None and self.schema.wide_series else piece.target
        if values is None or len(values) != len(piece.features):
            return piece, gaps
        begun = ~np.isnan(values).any(1)
        if begun.all():
            return piece, gaps
        self._open[-1] = min(self._open[-1], int(begun.sum()))
        return piece.picked(np.flatnonzero(begun)), gaps[begun]

    def _refuse_missing(self, piece: Piece, absent: np.ndarray) -> None:
        wide = self.source.wide
        for column in range(absent.shape[1]):
            places = np.flatnonzero(absent[:, column])
            if not len(places):
                continue
            rows = np.broadcast_to(piece.rows, len(absent)) if len(piece.rows) == 1 else piece.rows
            if wide:
                for place in places:
                    self._missing_value(self.source.features[place], piece.rows, piece.sequence)
            else:
                name = self.source.features[min(column, len(self.source.features) - 1)]
                self._missing_value(name, rows[places], piece.sequence)

    def _missing_value(self, column: str, rows: np.ndarray, sequence: str) -> None:
        self.problems.add("missing", f"column {column!r}: missing value", rows, column=column, sequence=sequence)

    def _take_word(self, words: np.ndarray, piece: Piece, current: _Current, what: str) -> None:
        """Read the split, or the group, of a sequence, which must be the same in all its rows."""
        known = getattr(current, what)
        if _all_are(words, known):
            return
        column, found, several = {
            "split": (self.schema.split_column, self._splits, "two_splits"),
            "group": (self.schema.group_name, self._groups, "two_groups"),
        }[what]
        for place, word in enumerate(words):
            here, rows = piece.rows[place : place + 1], [int(piece.rows[place])]
            if word is None:
                text = f"column {column!r}: missing value"
                self.problems.add("missing", text, here, column=column, sequence=piece.sequence)
            elif known is None:
                known = found[-1] = word
                setattr(current, what, word)
                if _all_are(words, word):
                    return
            elif word != known:
                text = f"sequence {piece.sequence!r} is in two {what}s, {known} and {word}"
                again = any(p.code == several and p.text == text for p in self.problems.all)
                first = [] if again else [current.first_row]
                self.problems.add(several, text, first + rows, column=column, sequence=piece.sequence)

    def _take_target(self, piece: Piece, current: _Current) -> None:
        """Read the target of a sequence, which must be the same in all its rows."""
        assert piece.target is not None
        if _all_are(piece.target, current.target):
            return
        names = ", ".join(map(repr, self.schema.target)) or "'class'"
        for place, value in enumerate(piece.target):
            rows = piece.rows[place : place + 1]
            gone = value is None if self.schema.target_is_class else bool(np.isnan(value).any())
            if gone:
                self.problems.add("missing", f"target {names}: missing value", rows, sequence=piece.sequence)
            elif current.target is None:
                current.target = value
                if self.schema.target_is_class:
                    self._sequence_targets[-1] = self._labels.code(value, int(rows[0]))
                else:
                    self._sequence_targets[-1] = value
                if _all_are(piece.target, value):
                    return
            elif not np.array_equal(value, current.target):
                text = f"sequence {piece.sequence!r}: the target {names} changes within the sequence"
                self.problems.add("target_changes", text, rows, sequence=piece.sequence)

    def _take_step_targets(self, piece: Piece, current: _Current) -> None:
        assert piece.target is not None
        if len(piece.target) == 1 != len(piece.features):
            # One target of the sequence is that of each step.
            piece.target = np.repeat(piece.target, len(piece.features), axis=0)
        names = ", ".join(map(repr, self.schema.target)) or "'x'"
        if self.schema.target_is_class:
            gone = np.array([value is None for value in piece.target], bool)
            rows = np.broadcast_to(piece.rows, len(gone)) if len(piece.rows) == 1 else piece.rows
            labels = zip(piece.target.tolist(), rows.tolist(), strict=True)
            codes = [0 if label is None else self._labels.code(label, row) for label, row in labels]
            found = np.array(codes, np.int64).reshape(-1, 1)
        else:
            gone = np.isnan(piece.target).any(1)
            found = piece.target
        if gone.any():
            rows = piece.rows[gone] if len(piece.rows) == len(gone) else piece.rows
            column = self.schema.target[0] if len(self.schema.target) == 1 else None
            if column is None or column not in self.source.features or self.missing != "refuse":
                text = f"target {names}: missing value"
                self.problems.add("missing", text, rows, column=column, sequence=piece.sequence)
        if self._targets is None:
            path = None if self._folder is None else self._folder / "targets.bin"
            self._targets = StepWriter(found.shape[1], np.int64 if self.schema.target_is_class else np.float64, path)
        self._targets.append(found)


def _all_are(values: np.ndarray, known: Any) -> bool:
    """Return True if all values equal the known one, without a slow loop over rows."""
    return known is not None and bool(np.all(values == known))


def _forward_filled(values: np.ndarray, before: np.ndarray | None) -> np.ndarray:
    """Return (t, C) values with each NaN replaced by the last number before it; there may be none before the first."""
    whole = values if before is None else np.concatenate((before[None], values))
    places = np.where(np.isnan(whole), 0, np.arange(len(whole))[:, None])
    np.maximum.accumulate(places, axis=0, out=places)
    filled = np.take_along_axis(whole, places, 0)
    return filled if before is None else filled[1:]
