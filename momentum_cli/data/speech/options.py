"""Checks of the options that both tasks of speech have."""

from __future__ import annotations

from typing import Literal, Protocol

from momentum_cli.data.batching import check_seed

SplitOption = Literal["fraction", "speaker", "index", "folder"]
# The field of the pattern that each way to divide needs.
_NEEDED = {"speaker": "speaker", "index": "index", "folder": "split"}


class DivisionOptions(Protocol):
    """The options that `check_division` looks at."""

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
    """Return how recordings are divided: as asked, else by folder where the pattern names it, else by fraction."""
    return split or ("folder" if "{split}" in pattern else "fraction")


def check_division(task: DivisionOptions) -> None:
    """Check path, pattern, division and workers.

    Raises:
        ValueError: An option is out of its range, or the pattern lacks the field that the division needs.
    """
    from momentum_cli.data.speech.listing import pattern_fields

    if not task.path:
        raise ValueError("path: got '', allowed is a folder of recordings")
    fields = pattern_fields(task.pattern)
    needed = _NEEDED.get(task.split or "")
    if needed is not None and needed not in fields:
        raise ValueError(f"split: got {task.split!r}, but the pattern {task.pattern!r} has no {{{needed}}}")
    if task.split not in (None, "folder") and "split" in fields:
        raise ValueError(f"split: got {task.split!r}, and the pattern {task.pattern!r} has {{split}}; give one of them")
    if task.test_indices < 1:
        raise ValueError(f"test_indices: got {task.test_indices}, allowed is >= 1")
    if not 0.0 <= task.validation_fraction < 1.0:
        raise ValueError(f"validation_fraction: got {task.validation_fraction}, allowed is 0 <= … < 1")
    if not 0.0 < task.test_fraction < 1.0:
        raise ValueError(f"test_fraction: got {task.test_fraction}, allowed is 0 < … < 1")
    if task.validation_fraction + task.test_fraction >= 1.0:
        raise ValueError("test_fraction: with validation_fraction it leaves nothing to train on")
    check_seed("split_seed", task.split_seed)
    if task.num_workers is not None and task.num_workers < 1:
        raise ValueError(f"num_workers: got {task.num_workers}, allowed is >= 1")
