"""Groups of sequences, such as those of a shop, each with its own mean and scale.

Axes: n sequences, C columns, G groups.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from momentum_cli.data.files.normalisation import Moments, Normalise, Scaling
from momentum_cli.data.files.splitting import Part
from momentum_cli.data.problems import Problems

if TYPE_CHECKING:
    from momentum_cli.data.files.gathered import Gathered

UNSEEN = "has no training data, so its mean and scale are unknown"


@dataclass(frozen=True)
class Groups:
    """The group of each sequence of a file.

    Args:
        column: The column that names them.
        names: G names of those with training data, sorted.
        places: (n,) int64, the group of each sequence among the names; 0 for one without training data.
    """

    column: str
    names: tuple[str, ...]
    places: np.ndarray

    def dump(self) -> dict[str, Any]:
        """Return plain values."""
        return {"column": self.column, "names": list(self.names)}


def groups_of(gathered: Gathered, parts: dict[str, Part], column: str, problems: Problems) -> Groups | None:
    """Return the groups of a file; None without columns of groups.

    Args:
        gathered: The whole file.
        parts: Its splits.
        column: Names of the columns of groups, for messages.
        problems: Receives every group without training data.
    """
    if gathered.groups is None:
        return None
    words = gathered.groups.astype(str)
    train = parts["train"]
    trained = np.unique(words[train.sequences[train.ends > train.begins]])
    used = np.concatenate([part.sequences for part in parts.values()])
    for name in np.setdiff1d(words[used], trained):
        where = np.intersect1d(np.flatnonzero(words == name), used)
        text = f"column {column!r}: the group {str(name)[:40]!r} {UNSEEN}"
        problems.add("group", text, gathered.rows[where], column=column)
    places = np.searchsorted(trained, words)
    known = np.isin(words, trained)
    return Groups(column, tuple(trained.tolist()), np.where(known, places, 0))


def fitted(
    blocks: Callable[[Part], Iterable[np.ndarray]], train: Part, columns: int, how: Normalise, groups: Groups | None
) -> tuple[Moments, Scaling]:
    """Return the moments of all training data, and the scaling: (C,), or with groups (G, C).

    Args:
        blocks: Yields the training data of a part, (t, C) each.
        train: All training sequences.
        columns: C.
        how: As for `Moments.fit`.
        groups: The groups, or None for one scale.

    Raises:
        DataError: See `Moments.fit`.
    """
    moments = Moments.of(blocks(train), columns)
    if groups is None:
        return moments, moments.fit(how)
    own = groups.places[train.sequences]
    order = np.argsort(own, kind="stable")
    bounds = np.searchsorted(own[order], np.arange(len(groups.names) + 1))
    each = []
    for begin, end in itertools.pairwise(bounds):
        here = np.sort(order[begin:end])
        part = Part(train.sequences[here], train.begins[here], train.ends[here], train.reaches_back[here])
        each.append(Moments.of(blocks(part), columns).fit(how))
    return moments, Scaling.stacked(each) if each else moments.fit(how)
