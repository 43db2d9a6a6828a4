"""The order in which streamed sequences are drawn: each process reads its own row groups, a few at a time.

Axes: n training sequences, R row groups, B sequences of a group.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from momentum_cli.data.batching import Sharing, stream
from momentum_cli.errors import DataError
from momentum_cli.messages import Said, refuse

if TYPE_CHECKING:
    from torch import Tensor


class StreamedGroups:
    """Groups of which every process takes its sequences from its own row groups; see `momentum_cli.data.batching`.

    In each epoch the row groups are shuffled and, end to end, cut into as many ranges as there are processes, each as
    long as what its process takes in an epoch. So every sequence is drawn once, all processes make the same number of
    steps, and only a row group on a cut is read by two. Of its range a process shuffles `held` row groups together at a
    time. All of it follows from the seed, the epoch and the sizes of the row groups.

    Args:
        counts: (R,) int64, sequences of each row group.
        longest: T, steps of the longest sequence.
        size: B, >= 1.
        seed: Training seed.
        held: Row groups that a process holds at a time, >= 1.
        sharing: How the processes share a group; None: there is one process.

    Raises:
        DataError: There are fewer row groups than processes.
    """

    def __init__(
        self, counts: np.ndarray, longest: int, size: int, seed: int, held: int, sharing: Sharing | None = None
    ) -> None:
        self._processes = 1 if sharing is None else sharing.processes
        self._numbers = np.flatnonzero(counts)
        if len(self._numbers) < self._processes:
            remedy = "train with fewer processes, or write files with smaller row groups (pyarrow: row_group_size)"
            must = f"be at least {self._processes}, one for each process"
            raise DataError(refuse("the row groups with training data", Said(f"{len(self._numbers)}"), must, remedy))
        count = int(counts.sum())
        self.steps = -(-count // size)
        self.rows, self.longest = min(size, count), longest
        self._counts, self._begins = counts, np.cumsum(counts) - counts
        self._count, self._size, self._seed, self._held = count, size, seed, held
        self._owners = np.zeros(size, np.int64) if sharing is None else sharing.owners(size)
        self._epoch, self._ranges = -1, list[_Range]()

    def group(self, epoch: int, step: int) -> Tensor:
        """Return (B,) sequences; those that a process takes are of its own range."""
        import torch

        if self._epoch != epoch:
            self._epoch, self._ranges = epoch, self._cut(epoch)
        owners = self._owners[: self._count - step * self._size]
        begins = step * self._shares(self._size)
        ends = begins + self._shares(len(owners))
        drawn = torch.empty(len(owners), dtype=torch.int64)
        for process, own in enumerate(self._ranges):
            drawn[torch.from_numpy(owners == process)] = own.drawn(int(begins[process]), int(ends[process]))
        return drawn

    def rate(self, epoch: int, step: int) -> float:
        """Return 1."""
        return 1.0

    def _shares(self, size: int) -> np.ndarray:
        """Return how many of the first `size` sequences of a group each process takes, (W,)."""
        return np.bincount(self._owners[:size], minlength=self._processes)

    def _cut(self, epoch: int) -> list[_Range]:
        """Return the range of each process in an epoch."""
        import torch

        drawn = torch.randperm(len(self._numbers), generator=stream("row groups", self._seed, epoch))
        order = self._numbers[drawn.numpy()]
        ends = np.cumsum(self._counts[order])
        whole, last = self.steps - 1, self._count - (self.steps - 1) * self._size
        cuts = np.cumsum(whole * self._shares(self._size) + self._shares(last))
        found = []
        for process, (begin, end) in enumerate(itertools.pairwise([0, *cuts.tolist()])):
            sections = []
            for place in range(int(np.searchsorted(ends, begin, side="right")), len(order)):
                number = int(order[place])
                first = int(ends[place] - self._counts[number])
                if first >= end:
                    break
                sections.append((number, max(begin - first, 0), min(end, int(ends[place])) - first))
            pools = [sections[at : at + self._held] for at in range(0, len(sections), self._held)]
            found.append(_Range(pools, self._pool, (epoch, process)))
        return found

    def _pool(self, sections: Sequence[tuple[int, int, int]], *key: int) -> Tensor:
        """Return the sequences of the sections of some row groups, shuffled together."""
        import torch

        parts = []
        for number, begin, end in sections:
            # The same in both processes that take a part of a row group.
            order = torch.randperm(int(self._counts[number]), generator=stream("rows", self._seed, key[0], number))
            parts.append(order[begin:end] + int(self._begins[number]))
        drawn = torch.cat(parts)
        return drawn[torch.randperm(len(drawn), generator=stream("pool", self._seed, *key))]


class _Range:
    """What one process draws in an epoch, of which only the pools of the latest step are in memory.

    Args:
        pools: For each pool the sections (row group, first sequence, end) that are shuffled together.
        shuffle: Returns the sequences of a pool, from its sections and a key.
        key: Epoch and process.
    """

    def __init__(
        self,
        pools: Sequence[Sequence[tuple[int, int, int]]],
        shuffle: Callable[..., Tensor],
        key: tuple[int, int],
    ) -> None:
        self._pools, self._shuffle, self._key = pools, shuffle, key
        self._ends = np.cumsum([sum(end - begin for _, begin, end in pool) for pool in pools])
        self._open: dict[int, Tensor] = {}

    def drawn(self, begin: int, end: int) -> Tensor:
        """Return the sequences from place `begin` to `end` - 1 of the range."""
        import torch

        first, last = (int(np.searchsorted(self._ends, at, side="right")) for at in (begin, max(begin, end - 1)))
        found = [torch.empty(0, dtype=torch.int64)]
        opened = {}
        for place in range(first, min(last + 1, len(self._pools))):
            pool = self._open.get(place)
            opened[place] = pool = self._shuffle(self._pools[place], *self._key, place) if pool is None else pool
            before = int(self._ends[place]) - len(pool)
            found.append(pool[max(begin - before, 0) : max(end - before, 0)])
        self._open = opened
        return torch.cat(found)
