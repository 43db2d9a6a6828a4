"""Checks of the options of both speech tasks."""

from __future__ import annotations

from typing import Literal, Protocol

from momentum_cli.data.batching import check_seed
from momentum_cli.data.fractions import check_fractions
from momentum_cli.messages import refuse

SplitOption = Literal["fraction", "speaker", "index", "folder"]
# The field of the pattern that each kind of division needs.
_NEEDED = {"speaker": "speaker", "index": "index", "folder": "split"}


class DivisionOptions(Protocol):
    """The options that `check_division` checks."""

    @property
    def path(self) -> str: ...
    @property
    def pattern(self) -> str: ...
    @property
    def split(self) -> SplitOption | None: ...
    @property
    def test_indices(self) -> int: ...
    @property
    def validation_fraction(self) -> float: ...
    @property
    def test_fraction(self) -> float: ...
    @property
    def split_seed(self) -> int: ...
    @property
    def num_workers(self) -> int | None: ...


def chosen_split(split: SplitOption | None, pattern: str) -> SplitOption:
    """Return the division of recordings: the option, else by folder if the pattern has a split, else by fraction."""
    return split or ("folder" if "{split}" in pattern else "fraction")


def check_division(task: DivisionOptions) -> None:
    """Check path, pattern, division and workers.

    Raises:
        ValueError: An option is outside its range, or the pattern lacks the field that the division needs.
    """
    from momentum_cli.data.speech.listing import pattern_fields

    if not task.path:
        raise ValueError(refuse("path", task.path, "name a folder of recordings"))
    fields = pattern_fields(task.pattern)
    needed = _NEEDED.get(task.split or "")
    if needed is not None and needed not in fields:
        must = f"be used with a pattern that has {{{needed}}}"
        raise ValueError(refuse("split", task.split, must, f"the pattern is {task.pattern!r}"))
    if task.split not in (None, "folder") and "split" in fields:
        must = "be 'folder' or left out with a pattern that has {split}"
        raise ValueError(refuse("split", task.split, must, f"the pattern is {task.pattern!r}"))
    if task.test_indices < 1:
        raise ValueError(refuse("test_indices", task.test_indices, "be >= 1"))
    check_fractions(task.validation_fraction, task.test_fraction)
    check_seed("split_seed", task.split_seed)
    if task.num_workers is not None and task.num_workers < 1:
        raise ValueError(refuse("num_workers", task.num_workers, "be >= 1"))
