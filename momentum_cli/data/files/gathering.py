"""Assembling pieces of sequences: order and duplicates, missing values, targets, splits. All mistakes are collected.

Axes: n sequences, S steps of all of them, D features, K targets.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from momentum_cli.data.files.calendar import calendar_features, calendar_names
from momentum_cli.data.files.future import open_steps
from momentum_cli.data.files.gathered import Gathered
from momentum_cli.data.files.normalisation import standardised
from momentum_cli.data.files.ordering import Clock, Ordering
from momentum_cli.data.files.pieces import Piece, Pieces, Source
from momentum_cli.data.files.resampling import resampled
from momentum_cli.data.files.schema import Schema
from momentum_cli.data.files.steps import Steps, StepWriter
from momentum_cli.data.files.targets import Targets, all_are
from momentum_cli.data.problems import Problems
from momentum_cli.errors import DataError
from momentum_cli.messages import refuse

POLICIES = ("refuse", "forward_fill", "mean", "drop_step")
NO_SEQUENCES = "the file has no sequences"


@dataclass
class _Current:
    """State of the sequence whose pieces are being read."""

    name: str
    clock: Clock = field(default_factory=Clock)
    last_values: np.ndarray | None = None
    last_target: np.ndarray | None = None
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
        open_end: Names of the targets if sequences may end in steps without them, as in files to forecast from with
            features that are known in advance. Without a target among the features these steps lack all other values.
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
        open_end: Sequence[str] | None = None,
    ) -> None:
        self.schema, self.missing, self.source, self.problems, self.whole = schema, missing, source, problems, whole
        self._folder = folder
        self._added = calendar_names(schema.date_features)
        channels = source.channels + len(self._added)
        path = None if folder is None else folder / "features.bin"
        self._features = StepWriter(channels, source.dtype, path, source.most_steps)
        self._targets = Targets(schema, source, missing, problems, folder)
        self._ordering = Ordering(schema, whole, problems)
        self._breaks: list[int] = []
        self._clocks: list[Clock] = []
        self._keep_times, self._times = keep_times, list[np.ndarray]()
        self._taken = 0
        self._seen: set[str] = set()
        self._names: list[str] = []
        self._rows = array("q")
        self._lengths = array("q")
        self._splits: list[str] = []
        self._groups: list[str] = []
        self._open = array("q")
        known = schema.known_future
        self._unknown = [n for n, name in enumerate(source.features) if name not in known and open_end is not None]
        self._telling = [n for n in self._unknown if source.features[n] in (open_end or ())] or self._unknown
        self._current: _Current | None = None
        self._missing = np.zeros(source.channels, np.int64)

    def gather(self, *, part: bool = False) -> Gathered:
        """Read everything, and add the mistakes to the problems.

        Args:
            part: The source is a part of the file, which may be without sequences.
        """
        with self._features, self._targets:
            return self._gather(part)

    def _gather(self, part: bool) -> Gathered:
        for found in self.source.pieces:
            if isinstance(found, Pieces):
                self._take_several(found)
            else:
                self._take(found)
        lengths = np.array(self._lengths, np.int64)
        for place in np.flatnonzero(lengths == 0):
            row = self._rows[place]
            name = str(row) if self.source.numbered else self._names[place]
            self.problems.add("empty", f"sequence {name!r} has no steps", [row], sequence=name)
        if not len(lengths) and not part:
            self.problems.add("empty", NO_SEQUENCES)
        features = self._features.close()
        if self._folder is not None:
            columns = self.source.channels + len(self._added)
            features = Steps(self._folder / "features.bin", self.source.dtype, columns)
        targets = self._targets.close()
        assert features is not None
        return Gathered(
            features,
            targets.of_steps,
            (*self.source.features, *self._added),
            _as_texts(self._rows) if self.source.numbered else np.array(self._names, dtype=object),
            np.array(self._rows, np.int64),
            np.cumsum(lengths) - lengths,
            lengths,
            targets.of_sequences,
            np.array(self._splits, dtype=object) if self._splits else None,
            targets.labels,
            np.concatenate((self._missing, np.zeros(len(self._added), np.int64))),
            self.source.facts,
            self.source.columns or self.source.features,
            np.array(self._breaks, np.int64),
            self._clocks,
            np.concatenate(self._times) if self._times else None,
            np.array(self._groups, dtype=object) if self._groups else None,
            np.array(self._open, np.int64),
        )

    def _take_several(self, pieces: Pieces) -> None:
        """Take sequences, all at once if there is nothing to change in them and nothing to report."""
        if not len(pieces):  # a block whose rows are all empty, comments or of another width
            return
        # The first may continue a sequence, and the last may be continued.
        last = max(1, len(pieces) - 1)
        for piece in pieces.between(0, 1):
            self._take(piece)
        inner = pieces.between(1, last)
        if len(inner) and self._are_plain(inner):
            self._take_plain(inner)
        else:
            for piece in inner:
                self._take(piece)
        for piece in pieces.between(last, len(pieces)):
            self._take(piece)

    def _are_plain(self, pieces: Pieces) -> bool:
        schema = self.schema
        if schema.is_series or schema.resample is not None or schema.each_scaled or np.isnan(pieces.features).any():
            return False
        if not self.source.numbered:
            names = pieces.names.tolist()
            new = set(names)
            if None in new or len(new) < len(names) or not new.isdisjoint(self._seen):
                return False
        if pieces.order is not None and not pieces.is_increasing(pieces.order):
            return False
        words = [values for values in (pieces.split, pieces.group) if values is not None]
        if pieces.target is not None:
            if schema.target_every_step:
                return False
            words.append(pieces.target)
        return all(map(pieces.is_constant, words))

    def _take_plain(self, pieces: Pieces) -> None:
        lengths = np.diff(pieces.starts)
        if not self.source.numbered:
            self._seen.update(pieces.names)
            self._names += pieces.names.tolist()
        self._rows.frombytes(pieces.firsts(pieces.rows).astype(np.int64).tobytes())
        self._lengths.frombytes(lengths.astype(np.int64).tobytes())
        self._open.frombytes(bytes(self._open.itemsize * len(pieces)))
        if pieces.split is not None:
            self._splits += pieces.firsts(pieces.split).tolist()
        if pieces.group is not None:
            self._groups += pieces.firsts(pieces.group).tolist()
        self._targets.take_plain(pieces)
        features = pieces.features
        if pieces.order is not None:
            features = self._dated(features, pieces.order)
            if self._keep_times:
                self._times.append(pieces.order)
        self._features.append(features)
        self._taken += len(features)
        self._current = None

    def _take(self, piece: Piece) -> None:
        current = self._current
        if current is None or current.name != piece.sequence:
            if piece.sequence in self._seen:
                self._apart(piece)
                return
            if not self.source.numbered:
                self._seen.add(piece.sequence)
                self._names.append(piece.sequence)
            current = self._current = _Current(piece.sequence, first_row=int(piece.rows[0]) if len(piece.rows) else 0)
            self._rows.append(current.first_row)
            self._lengths.append(0)
            if self.schema.is_series:
                self._clocks.append(current.clock)
            self._open.append(0)
            if piece.split is not None:
                self._splits.append("")
            if piece.group is not None:
                self._groups.append("")
            self._targets.begin(piece)
        gaps = np.zeros(len(piece.features), bool)
        if piece.order is not None:
            piece, gaps = self._ordering.sorted(piece, current.clock, self._even)
        self._open[-1] = open_steps(piece.features, self._telling)
        piece = self._filled(piece, current)
        if self.missing == "forward_fill" and self.schema.is_series and not self.schema.target_is_class:
            piece, gaps = self._begun(piece, gaps)
        if self.schema.gaps == "split":
            self._breaks += (self._taken + np.flatnonzero(gaps)).tolist()
        if piece.split is not None:
            self._take_word(piece.split, piece, current, "split")
        if piece.group is not None:
            self._take_word(piece.group, piece, current, "group")
        self._targets.take(piece)
        if self.schema.each_scaled and "characters" not in self.source.facts:
            self._refuse_parts("task.normalise", "sequence")
            piece.features = standardised(piece.features, self._words)
        if piece.order is not None:
            piece.features = self._dated(piece.features, piece.order)
        self._features.append(piece.features)
        if self._keep_times and piece.order is not None:
            self._times.append(piece.order)
        self._lengths[-1] += len(piece.features)
        self._taken += len(piece.features)

    def _dated(self, features: np.ndarray, order: np.ndarray) -> np.ndarray:
        """Return features with those that are made of the times."""
        if not self._added:
            return features
        found = calendar_features(order, self.schema.date_features, self.schema.order_timezone)
        return np.concatenate((features, found), 1)

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
        if all_are(words, known):
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
                if all_are(words, word):
                    return
            elif word != known:
                text = f"sequence {piece.sequence!r} is in two {what}s, {known} and {word}"
                again = any(p.code == several and p.text == text for p in self.problems.all)
                first = [] if again else [current.first_row]
                self.problems.add(several, text, first + rows, column=column, sequence=piece.sequence)


def _as_texts(numbers: array[int]) -> np.ndarray:
    """Return (n,) texts of numbers >= 0, each with as many characters as the longest has: no object for each."""
    return np.array(numbers, np.int64).astype(f"U{len(str(max(numbers, default=0)))}")


def _forward_filled(values: np.ndarray, before: np.ndarray | None) -> np.ndarray:
    """Return (t, C) values with each NaN replaced by the last number before it; there may be none before the first."""
    whole = values if before is None else np.concatenate((before[None], values))
    places = np.where(np.isnan(whole), 0, np.arange(len(whole))[:, None])
    np.maximum.accumulate(places, axis=0, out=places)
    filled = np.take_along_axis(whole, places, 0)
    return filled if before is None else filled[1:]
