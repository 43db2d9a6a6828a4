"""Warnings that need the whole file: classes without training data, copies across splits, constant columns, ranges.

`data check` and `train` print them, and the training continues, because its numbers are right for the data as they are.
A mistake that makes a number wrong is found where the file is read, and refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from momentum_cli.data.files.normalisation import Moments
from momentum_cli.data.files.splitting import read_blocks
from momentum_cli.data.files.steps import Steps
from momentum_cli.data.files.tables import rows_of_block
from momentum_cli.data.problems import Problems
from momentum_cli.messages import counted

if TYPE_CHECKING:
    from momentum_cli.data.files.gathered import Gathered
    from momentum_cli.data.files.splitting import Part

COPIES = "results on them look better than on new data: leave the copies out, or keep them in one split"
"""What copies in two splits do, and what to do about them."""
# The most constant columns that are named one by one.
_NAMED = 20


def find_warnings(gathered: Gathered, parts: dict[str, Part], by_time: bool, problems: Problems) -> None:
    """Find what makes the result of a training less trustworthy without stopping it.

    Args:
        gathered: The whole file.
        parts: Its splits.
        by_time: The splits are parts of the same series.
        problems: Receives the warnings.
    """
    rows = gathered.rows
    if not by_time:
        sequences = {split: part.sequences for split, part in parts.items()}
        starts, lengths = gathered.starts, gathered.lengths
        find_copies(gathered.features, starts, lengths, sequences, lambda at: str(gathered.names[at]), rows, problems)
    trained: Iterable[int] | None = None
    if gathered.labels and gathered.targets is not None:
        trained = gathered.targets[parts["train"].sequences].tolist()
    elif gathered.labels and gathered.step_targets is not None:
        trained = (code for block in read_blocks(gathered.step_targets, parts["train"]) for code in np.unique(block))
    if trained is not None:
        where = None if gathered.targets is None else gathered.targets
        find_untrained(gathered.labels, trained, where, rows, "sequence", problems)


def find_copies(
    steps: Steps,
    starts: np.ndarray,
    lengths: np.ndarray,
    splits: Mapping[str, np.ndarray],
    name: Callable[[int], str],
    rows: np.ndarray | None,
    problems: Problems,
) -> None:
    """Find sequences that two splits have in common: a model may have memorised their answer.

    Args:
        steps: The steps of all sequences.
        starts, lengths: (n,) int64, the first step of each sequence and its number of steps.
        splits: The sequences of each split.
        name: Returns the name of a sequence for its index.
        rows: (n,) int64, the first row of each; None where rows have no meaning.
        problems: Receives one warning for each pair of splits.
    """
    places = np.concatenate(list(splits.values()))

    def content(place: int) -> memoryview:
        start, length = int(starts[place]), int(lengths[place])
        return np.ascontiguousarray(steps.read(start, start + length)).data

    copies = copies_in(map(content, places.tolist()), {split: len(part) for split, part in splits.items()})
    for (first, second), numbers in copies.items():
        pairs = places[np.array(numbers)].tolist()
        one, other = name(pairs[0][0]), name(pairs[0][1])
        text = (
            f"{len(pairs)} of {len(splits[second])} sequences of the split {second} are in {first} too, with the same "
            f"values (the first: {one!r} in {first} and {other!r} in {second}); {COPIES}"
        )
        found = sorted({place for pair in pairs for place in pair})
        problems.add("identical", text, [] if rows is None else rows[found], sequence=other, warning=True)


def copies_in(
    contents: Iterable[bytes | memoryview], splits: Mapping[str, int]
) -> dict[tuple[str, str], list[tuple[int, int]]]:
    """Return what two splits have in common.

    Args:
        contents: The content of each of n items, those of one split after those of the other.
        splits: Number of items of each split, n in sum.

    Returns:
        For two splits, the items of the second that have the content of an earlier one in the first: the number of the
        earliest such, and their own, in [0, n), increasing.
    """
    names = list(splits)
    split_of = np.repeat(np.arange(len(names)), list(splits.values()))
    # A dictionary of a million digests would take more memory than the sequences.
    digests = np.empty((len(split_of), 2), np.uint64)
    for number, content in enumerate(contents):
        digests[number] = np.frombuffer(hashlib.blake2b(content, digest_size=16).digest(), np.uint64)
    order = np.lexsort((digests[:, 1], digests[:, 0]))
    new = np.ones(len(order), bool)
    new[1:] = (digests[order[1:]] != digests[order[:-1]]).any(1)
    # Equal ones stay in their order, so that the first of a group is the first of all.
    first_of = order[np.maximum.accumulate(np.where(new, np.arange(len(order)), 0))]
    copies: dict[tuple[str, str], list[tuple[int, int]]] = {}
    differ = split_of[first_of] != split_of[order]
    for number, before in sorted(zip(order[differ].tolist(), first_of[differ].tolist(), strict=True)):
        copies.setdefault((names[split_of[before]], names[split_of[number]]), []).append((before, number))
    return copies


def find_untrained(
    labels: Sequence[str],
    trained: Iterable[int],
    classes: np.ndarray | None,
    rows: np.ndarray | None,
    what: str,
    problems: Problems,
) -> None:
    """Find classes that the training data do not have: a model never predicts them.

    Args:
        labels: Names of all classes.
        trained: Those of the training data, by number.
        classes: (n,) int64, the class of each sequence, or None.
        rows: (n,) int64, the first row of each, or None.
        what: The thing that has a class: ``"sequence"`` or ``"recording"``.
        problems: Receives one warning for each class.
    """
    for code in sorted(set(range(len(labels))) - {int(code) for code in trained}):
        places: Sequence[int] | np.ndarray = (
            [] if classes is None or rows is None else rows[np.flatnonzero(classes == code)]
        )
        text = f"class {labels[code]!r} has no training {what}: no model can learn it"
        problems.add("untrained_class", text, places, warning=True)


def find_constant(
    names: Sequence[str], constant: np.ndarray, values: np.ndarray, problems: Problems, *, target: bool = False
) -> None:
    """Find columns with one value in the training data.

    Args:
        names: D names.
        constant: (D,) bool.
        values: (D,) the value of each.
        problems: Receives the warnings.
        target: True if the columns are to be predicted.
    """
    places = np.flatnonzero(constant).tolist()
    for place in places[:_NAMED]:
        text = f"column {names[place]!r} is {values[place]:.6g} in all training data: "
        if target:
            text += "there is nothing to learn"
        else:
            text += "it tells a model nothing, and other values later would mislead it; leave it out of task.features"
        problems.add("constant", text, column=names[place], warning=True)
    if (more := len(places) - _NAMED) > 0:
        problems.add("constant", f"{counted(more, 'more column')} with one value in all training data", warning=True)


def ranges(gathered: Gathered) -> list[dict[str, Any]]:
    """Return the range of each feature in original units; for wide tables and text, the range of all steps."""
    columns, steps = gathered.features.columns, len(gathered.features)
    size = rows_of_block(columns)
    blocks = (gathered.features.read(start, min(start + size, steps)) for start in range(0, steps, size))
    return ranges_of(gathered, Moments.of(blocks, columns))


def ranges_of(gathered: Gathered, moments: Moments) -> list[dict[str, Any]]:
    """Return the range of each feature from the moments of all steps."""
    columns = gathered.features.columns
    names = gathered.feature_names if len(gathered.feature_names) == columns else ("all steps",)
    return [
        {
            "name": name,
            "minimum": float(moments.low[place]) if moments.count[place] else None,
            "maximum": float(moments.high[place]) if moments.count[place] else None,
            "mean": float(moments.mean[place]) if moments.count[place] else None,
            "missing": int(gathered.missing[place]),
        }
        for place, name in enumerate(names)
    ]
