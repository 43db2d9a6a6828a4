"""The columns of a table that name sequences, for a first recipe."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from momentum_cli.data.files.columns import numbers, words
from momentum_cli.data.files.many_files import FILE
from momentum_cli.data.files.reading import Reading
from momentum_cli.recipe.first.guess import SEQUENCE, TARGET, Guess, named
from momentum_cli.recipe.first.heads import Head
from momentum_cli.recipe.first.times import Times, guess_zone

STEP = re.compile(r"(\D*)(\d+)")
"""The name of a column that is a step of a series."""
# The fewest such columns that are taken as a series.
_STEPS = 8
# The most columns among which a pair that names a sequence is looked for.
_PAIRED = 8


def are_steps(names: Iterable[str]) -> bool:
    """Return True if columns are called like the steps of a series, d_1, d_2 and so on; others may be among them."""
    found = [STEP.fullmatch(name.strip()) for name in names]
    parts = [(match[1], int(match[2])) for match in found if match is not None]
    return len(parts) >= _STEPS and all(a[0] == b[0] and b[1] == a[1] + 1 for a, b in itertools.pairwise(parts))


def guess_sequence(
    columns: dict[str, Any], head: Head, when: Times, target: list[str] | None, reading: Reading, guess: Guess
) -> list[str]:
    """Return the column of sequence names: by its name, or because each time occurs once for each of its values.

    In several files without such a name each file may be a sequence.

    Two columns may name a sequence together.
    """
    name = named(columns, SEQUENCE)
    if name is not None and name not in when.columns:
        keys = words(columns[name], reading)
        if len(set(keys.tolist())) < len(keys):
            return [name]
        if not when.columns:
            return []
    if head.files_are_sequences(when.stamps) and not are_steps(columns):
        guess.comments.append(f"sequence: each of the {len(head.names)} files is one; remove it if they are one table")
        return [FILE]
    if not when.columns or len(np.unique(when.stamps)) == len(when.stamps) or guess_zone(when.stamps) is not None:
        return []
    some: dict[str, list[Any]] = {}
    for other, values in columns.items():
        if other in (*when.columns, *(target or ())) or other.strip().lower() in TARGET:
            continue
        keys = words(values, reading).tolist()
        if 1 < len(set(keys)) <= len(keys) // 2:
            some[other] = keys
    stamps = when.stamps.tolist()
    for names in itertools.chain(((name,) for name in some), itertools.combinations(list(some)[:_PAIRED], 2)):
        if len(set(zip(*(some[name] for name in names), stamps, strict=True))) == len(stamps):
            guess.comments.append(f"sequence: each time occurs once for each {' and '.join(map(repr, names))}")
            return list(names)
    return []


def guess_counted(
    columns: dict[str, Any], target: list[str] | None, reading: Reading, guess: Guess
) -> tuple[list[str], Times] | None:
    """Return a column of sequence names, and one that counts the rows of each sequence from 0 or 1; None without both.

    It tells rows that are steps from rows that are samples where no name and no time does.
    """
    others = [name for name in columns if name not in (target or ()) and name.strip().lower() not in TARGET]
    for counter in others:
        count, bad = numbers(columns[counter], reading)
        if bad or not len(count):
            continue
        starts = np.append(0, np.flatnonzero(np.diff(count) != 1) + 1)
        if count[0] not in (0, 1) or (count[starts] != count[0]).any() or not 1 < len(starts) <= len(count) // 2:
            continue
        lengths = np.diff(np.append(starts, len(count)))
        for name in others:
            keys = words(columns[name], reading)
            firsts = keys[starts]
            if None not in firsts and len(set(firsts)) == len(starts) and (np.repeat(firsts, lengths) == keys).all():
                guess.comments.append(f"sequence: {counter!r} counts the rows of each {name!r}")
                return [name], Times([counter], None, count, [f"order: {counter!r} numbers the steps"])
    return None
