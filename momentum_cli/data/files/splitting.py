"""Division of sequences, or of each series, into training, validation and test.

Axes: n sequences.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from momentum_cli.data.batching import stratified_holdout, stream
from momentum_cli.data.files.tables import rows_of_block
from momentum_cli.data.problems import Problems
from momentum_cli.errors import DataError
from momentum_cli.messages import Said, refuse

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Part:
    """The part of a file that is one split.

    Args:
        sequences: (m,) int64, the sequences.
        begins, ends: (m,) int64, the range of steps of each that belongs to the split.
        reaches_back: (m,) int64, the first step that may be an input, before `begins` if the past is known.
    """

    sequences: np.ndarray
    begins: np.ndarray
    ends: np.ndarray
    reaches_back: np.ndarray

    @classmethod
    def whole(cls, sequences: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> Part:
        """Return whole sequences."""
        begins = starts[sequences]
        return cls(sequences, begins, begins + lengths[sequences], begins)


def by_column(names: np.ndarray, rows: np.ndarray, sequences: np.ndarray, problems: Problems) -> dict[str, np.ndarray]:
    """Return the sequences of each split as the file names them: train, validation, test.

    Args:
        names: (n,) values of the column.
        rows: (n,) first row of each sequence, for messages.
        sequences: (n,) their names, for messages.
        problems: Receives unknown words and empty splits.
    """
    for place in np.flatnonzero(~np.isin(names.astype(str), (*SPLITS, ""))):
        text = f"the split {str(names[place])[:40]!r} is not one of {', '.join(SPLITS)}"
        problems.add("split_name", text, [rows[place]], sequence=str(sequences[place]))
    found = {split: np.flatnonzero(names.astype(str) == split) for split in SPLITS}
    for split in ("train", "test"):
        if not len(found[split]):
            problems.add("empty_split", f"the split {split} has no sequences")
    return found


def by_fraction(
    n: int, classes: np.ndarray | None, validation: float | Literal["none"], test: float, seed: int, remedy: str = ""
) -> dict[str, np.ndarray]:
    """Draw whole sequences for each split, the classes in proportion.

    Args:
        n: Number of sequences.
        classes: (n,) int64, or None if sequences have no class.
        validation, test: Fractions, in (0, 1); at least one sequence each.
        seed: Selects the sequences.
        remedy: End of the message that refuses too few sequences.

    Raises:
        DataError: There are too few sequences.
    """
    import torch

    needed = 2 if validation == "none" else 3
    if n < needed:
        raise DataError(refuse("the sequences", Said(f"{n}"), f"be {needed} or more, one for each split", remedy))
    codes = torch.from_numpy(classes) if classes is not None else torch.zeros(n, dtype=torch.int64)
    held = min(max(1, round(n * test)), n - needed + 1)
    rest, tested = stratified_holdout(codes, held, stream("files", seed, "test"))
    found = {"train": rest.numpy(), "validation": np.empty(0, np.int64), "test": tested.numpy()}
    if validation != "none":
        held = min(max(1, round(n * validation)), len(rest) - 1)
        kept, chosen = stratified_holdout(codes[rest], held, stream("files", seed, "validation"))
        found |= {"train": rest[kept].numpy(), "validation": rest[chosen].numpy()}
    return found


def by_time(
    starts: np.ndarray, lengths: np.ndarray, validation: float | Literal["none"], test: float
) -> dict[str, Part]:
    """Cut each series at the same fractions of its steps: first train, then validation, then test.

    The predicted steps are in the split; their inputs may reach back before it.
    """
    share = 0.0 if validation == "none" else validation
    ends = starts + lengths
    test_at = ends - np.round(lengths * test).astype(np.int64)
    validation_at = test_at - np.round(lengths * share).astype(np.int64)
    everything = np.arange(len(starts))
    return {
        "train": Part(everything, starts, validation_at, starts),
        "validation": Part(everything, validation_at, test_at, starts),
        "test": Part(everything, test_at, ends, starts),
    }


def read_blocks(steps: Any, part: Part) -> Iterator[np.ndarray]:
    """Yield the steps of a split by sequence, several sequences together where they are short."""
    size = rows_of_block(steps.columns)
    found: list[np.ndarray] = []
    count = 0
    for begin, end in _runs(part, size):
        for block in _in_blocks(steps, begin, end, size):
            if found and count + len(block) > size:
                yield np.concatenate(found)
                found, count = [], 0
            found.append(block)
            count += len(block)
    if found:
        yield np.concatenate(found)


def _runs(part: Part, size: int) -> Iterator[tuple[int, int]]:
    """Yield begins and ends of steps; adjacent sequences are one run, because one read is cheaper than many."""
    begin = end = 0
    # Lists of a million sequences would take five times the memory of the arrays.
    for start, stop in zip(array("q", part.begins.tobytes()), array("q", part.ends.tobytes()), strict=True):
        if start == end and stop - begin <= size:
            end = stop
            continue
        yield begin, end
        begin, end = start, stop
    yield begin, end


def _in_blocks(steps: Any, begin: int, end: int, size: int) -> Iterator[np.ndarray]:
    for index in range(math.ceil((end - begin) / size)):
        at = begin + index * size
        yield steps.read(at, min(at + size, end))
