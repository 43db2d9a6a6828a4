"""The targets of all sequences: one of each sequence, or one of each of its steps.

Axes: n sequences, S steps of all of them, K targets.
"""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from momentum_cli.data.files.labels import Labels
from momentum_cli.data.files.pieces import Piece, Pieces, Source
from momentum_cli.data.files.schema import Schema
from momentum_cli.data.files.steps import Steps, StepWriter
from momentum_cli.data.problems import Problems


class Found(NamedTuple):
    """All targets of a file.

    Attributes:
        of_sequences: (n,) int64 classes, (n, K) float64 values, or None.
        of_steps: (S, 1) int64 classes or (S, K) float64 values, or None.
        labels: Names of the classes, sorted; () without classes.
    """

    of_sequences: np.ndarray | None
    of_steps: Steps | None
    labels: tuple[str, ...]


class Targets:
    """Collects the targets of pieces and checks them. A ``with`` closes their file when something fails.

    Args:
        schema: Meaning of the columns.
        source: Source of the pieces.
        missing: Policy for missing values.
        problems: Receives every mistake.
        folder: Folder for the targets of steps as a file; None keeps them in memory.
    """

    def __init__(self, schema: Schema, source: Source, missing: str, problems: Problems, folder: Path | None) -> None:
        self._schema, self._source, self._missing, self._problems = schema, source, missing, problems
        self._labels = Labels(schema.similar_labels, schema.target[0] if schema.target else "")
        self._of_sequences: Any = array("q") if schema.target_is_class else []
        self._path = None if folder is None else folder / "targets.bin"
        self._of_steps: StepWriter | None = None
        self._current: Any = None

    def __enter__(self) -> Targets:
        return self

    def __exit__(self, *failure: object) -> None:
        if self._of_steps is not None:
            self._of_steps.__exit__(*failure)

    def begin(self, piece: Piece) -> None:
        """Begin a sequence."""
        self._current = None
        if piece.target is not None and not self._schema.target_every_step:
            self._of_sequences.append(0 if self._schema.target_is_class else [np.nan] * piece.target.shape[1])

    def take(self, piece: Piece) -> None:
        """Take the target of a sequence, or those of its next steps."""
        if piece.target is None:
            return
        if self._schema.target_every_step:
            self._take_of_steps(piece, piece.target)
        else:
            self._take_of_sequence(piece, piece.target)

    def take_plain(self, pieces: Pieces) -> None:
        """Take the targets of sequences, each of which has one."""
        if pieces.target is None:
            return
        targets = pieces.firsts(pieces.target)
        if self._schema.target_is_class:
            self._of_sequences.extend(map(self._labels.code, targets.tolist(), pieces.firsts(pieces.rows).tolist()))
        else:
            self._of_sequences += targets.tolist()

    def close(self) -> Found:
        """Return everything, with classes numbered by the sorted labels; similar labels are added to the problems."""
        self._labels.find_similar(self._problems)
        labels, recode = self._labels.sorted()
        of_steps = self._close_steps(recode)
        if not self._of_sequences:
            return Found(None, of_steps, labels)
        if self._schema.target_is_class:
            codes = recode[np.array(self._of_sequences, np.int64)] if labels else None
            return Found(codes, of_steps, labels)
        return Found(np.array(self._of_sequences, np.float64), of_steps, labels)

    def _close_steps(self, recode: np.ndarray) -> Steps | None:
        if self._of_steps is None:
            return None
        steps = self._of_steps.close()
        if not self._schema.target_is_class:
            return steps if self._path is None else Steps(self._path, np.float64, self._of_steps.columns)
        if self._path is None:
            assert steps is not None
            assert steps.array is not None
            return Steps(recode[steps.array] if len(recode) else steps.array)
        raw = Steps(self._path, np.int64, 1)
        renumbered = self._path.with_name("labels.bin")
        with StepWriter(1, np.int64, renumbered) as writer:
            for start in range(0, len(raw), 1 << 20):
                writer.append(recode[raw.read(start, min(start + (1 << 20), len(raw)))])
        renumbered.replace(self._path)
        return Steps(self._path, np.int64, 1)

    def _take_of_sequence(self, piece: Piece, target: np.ndarray) -> None:
        """Read the target of a sequence, which must be the same in all its rows."""
        if all_are(target, self._current):
            return
        names = ", ".join(map(repr, self._schema.target)) or "'class'"
        for place, value in enumerate(target):
            rows = piece.rows[place : place + 1]
            gone = value is None if self._schema.target_is_class else bool(np.isnan(value).any())
            if gone:
                self._problems.add("missing", f"target {names}: missing value", rows, sequence=piece.sequence)
            elif self._current is None:
                self._current = value
                code = self._schema.target_is_class
                self._of_sequences[-1] = self._labels.code(value, int(rows[0])) if code else value
                if all_are(target, value):
                    return
            elif not np.array_equal(value, self._current):
                text = f"sequence {piece.sequence!r}: the target {names} changes within the sequence"
                self._problems.add("target_changes", text, rows, sequence=piece.sequence)

    def _take_of_steps(self, piece: Piece, target: np.ndarray) -> None:
        if len(target) == 1 != len(piece.features):
            # One target of the sequence is that of each step.
            target = np.repeat(target, len(piece.features), axis=0)
        names = ", ".join(map(repr, self._schema.target)) or "'x'"
        if self._schema.target_is_class:
            gone = np.array([value is None for value in target], bool)
            rows = np.broadcast_to(piece.rows, len(gone)) if len(piece.rows) == 1 else piece.rows
            labels = zip(target.tolist(), rows.tolist(), strict=True)
            codes = [0 if label is None else self._labels.code(label, row) for label, row in labels]
            found = np.array(codes, np.int64).reshape(-1, 1)
        else:
            gone = np.isnan(target).any(1)
            found = target
        if gone.any():
            rows = piece.rows[gone] if len(piece.rows) == len(gone) else piece.rows
            column = self._schema.target[0] if len(self._schema.target) == 1 else None
            if column is None or column not in self._source.features or self._missing != "refuse":
                text = f"target {names}: missing value"
                self._problems.add("missing", text, rows, column=column, sequence=piece.sequence)
        if self._of_steps is None:
            dtype = np.int64 if self._schema.target_is_class else np.float64
            self._of_steps = StepWriter(found.shape[1], dtype, self._path)
        self._of_steps.append(found)


def all_are(values: np.ndarray, known: Any) -> bool:
    """Return True if all values equal the known one, without a slow loop over rows."""
    return known is not None and bool(np.all(values == known))
