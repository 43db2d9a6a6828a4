"""Groups: the sequences of an optimizer step or of a part of an evaluation.

A group is an index tensor for `Sequences.batch`: (B,) sequences, or (B, T) positions of B streams of a text, see
`momentum_cli.data.language.windows`. Groups are pure functions of their arguments, so a resume in the middle of an
epoch is exact without storing them.

Axes: n sequences of a split, B of a group.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor


class Groups(Protocol):
    """The optimizer steps of an epoch.

    Attributes:
        steps: Optimizer steps per epoch, the same in all epochs.
        rows: B, the largest number of sequences of a group.
        longest: T, the largest number of time steps of a batch.
    """

    steps: int
    rows: int
    longest: int

    def group(self, epoch: int, step: int) -> Tensor:
        """Return the group of a step in [0, steps - 1] of an epoch, over all processes."""

    def rate(self, epoch: int, step: int) -> float:
        """Return the factor on the learning rate of that step."""


class Windows(Protocol):
    """Windows of a text for training, such as the section ``train.bptt`` of a recipe."""

    @property
    def length(self) -> int:
        """Steps of a window, >= 1."""

    @property
    def variable(self) -> bool:
        """True if the lengths are drawn around `length` for each epoch."""


@dataclass(frozen=True)
class Sharing:
    """How the processes of a training share a group: each takes every `processes`-th sequence of each part.

    Args:
        part: Sequences of a part, which are in memory at one time, >= 1.
        processes: Number of processes, >= 1.
    """

    part: int
    processes: int

    def owners(self, size: int) -> np.ndarray:
        """Return the process that takes each sequence of a group, (size,) int64."""
        import numpy as np

        return np.arange(size) % self.part % self.processes


class ShuffledGroups:
    """Sequences in a new order each epoch; see `training_order`. The last group may be smaller.

    Args:
        lengths: (n,) int64 on the CPU, steps of each sequence; None if all are equal.
        count: n, >= 1.
        longest: T, steps of the longest sequence.
        size: Sequences per group, >= 1.
        seed: Training seed.
    """

    def __init__(self, lengths: Tensor | None, count: int, longest: int, size: int, seed: int) -> None:
        self.steps = -(-count // size)
        self.rows, self.longest = min(size, count), longest
        self._lengths, self._count, self._size, self._seed = lengths, count, size, seed
        self._order: tuple[int, Tensor | None] = (-1, None)

    def group(self, epoch: int, step: int) -> Tensor:
        """Return (B,) sequences."""
        if self._order[0] != epoch:
            order = training_order(self._lengths, self._count, self._size, self._seed, epoch)
            self._order = (epoch, order)
        drawn = self._order[1]
        assert drawn is not None
        return drawn[step * self._size : (step + 1) * self._size]

    def rate(self, epoch: int, step: int) -> float:
        """Return 1."""
        return 1.0


class Separate(Protocol):
    """Independent sequences: the part of `Sequences` that does not depend on how they are stored."""

    @property
    def lengths(self) -> Tensor | None:
        """(n,) int64 on the CPU, valid steps of each sequence; None if all are equal."""

    @property
    def longest(self) -> int:
        """T, steps of the longest sequence."""

    @property
    def scored(self) -> Tensor:
        """(n,) int64 on the CPU, terms of the loss that each sequence has."""

    def __len__(self) -> int:
        """Return n, the number of sequences."""

    @property
    def class_counts(self) -> Tensor | None:
        """None: they are not known before the sequences are read."""
        return None

    def place(self, index: int) -> dict[str, Any]:
        """Describe the origin of a sequence for readers of a result: its number in the split and what else is known."""
        return {"number": index}

    @property
    def batch_unit(self) -> str:
        """``"sequences"``: what the size of a batch counts."""
        return "sequences"

    @property
    def carried(self) -> bool:
        """False: every sequence starts from the zero state."""
        return False

    def training_groups(
        self, size: int, seed: int, windows: Windows | None = None, sharing: Sharing | None = None
    ) -> Groups:
        """Return groups of `size` sequences, in a new order each epoch; `windows` is for texts and not used."""
        return ShuffledGroups(self.lengths, len(self), self.longest, size, seed)

    def evaluation_groups(self, size: int) -> Iterator[Tensor]:
        """Yield groups of `size` sequences, in order; the last one may be smaller."""
        import torch

        yield from torch.split(torch.arange(len(self)), size)

    def parts(self, group: Tensor, size: int) -> tuple[Tensor, ...]:
        """Cut a group into parts of `size` sequences."""
        import torch

        return torch.split(group, size)

    def scored_in(self, group: Tensor) -> int:
        """Return how many terms of the loss a group has."""
        return int(self.scored[group].sum())


SEEDS = 2**32
"""Seeds are below this: torch's CPU generator uses the low 32 bits only, so a larger seed would equal a smaller one."""


def check_seed(name: str, seed: int) -> None:
    """Raise ValueError unless 0 <= seed < 2**32."""
    if not 0 <= seed < SEEDS:
        raise ValueError(f"{name} must be in [0, {SEEDS - 1}], got {seed}")


def stream(*key: int | str) -> torch.Generator:
    """Return the CPU generator for `key`; different keys give unrelated streams.

    The seed is the first 32 bits of the SHA-256 of the key, so that (seed 1, epoch 2) and (seed 2, epoch 1), or
    adjacent seeds, do not share a stream.
    """
    import torch

    digest = hashlib.sha256("\0".join(map(str, key)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:4], "little"))


def epoch_order(n: int, seed: int, epoch: int) -> Tensor:
    """Return the order in which `n` sequences are drawn in one epoch: a permutation of 0 … n-1.

    Args:
        n: number of sequences, >= 1.
        seed: training seed, >= 0.
        epoch: number of the epoch, >= 0.

    Returns:
        (n,) int64 on the CPU; the same for the same arguments.
    """
    import torch

    return torch.randperm(n, generator=stream("epoch", seed, epoch))


POOL = 64
"""Groups that are sorted by length together: enough for groups of even length, few enough to stay random."""


def training_order(lengths: Tensor | None, n: int, group_size: int, seed: int, epoch: int) -> Tensor:
    """Return the order in which the sequences of a split are drawn in one epoch, those of similar length together.

    Sequences of equal length are ordered as in `epoch_order`. Otherwise that order is cut into pools of `POOL` groups,
    each pool is sorted by length and cut into groups, and the groups are shuffled, so that little is padded. A last
    group that is not full stays last. Every sequence is drawn once per epoch.

    Args:
        lengths: (n,) int64, steps of each sequence; None if all are equal.
        n: number of sequences, >= 1.
        group_size: sequences per optimizer step, >= 1.
        seed: training seed, >= 0.
        epoch: number of the epoch, >= 0.

    Returns:
        (n,) int64 on the CPU; the same for the same arguments, so a resume in the middle of an epoch continues with the
        same groups.
    """
    import torch

    order = epoch_order(n, seed, epoch)
    full = n // group_size * group_size
    if lengths is None or full <= group_size:
        return order
    pools = [pool[torch.argsort(lengths[pool], stable=True)] for pool in torch.split(order[:full], POOL * group_size)]
    groups = torch.cat(pools).reshape(-1, group_size)
    shuffled = groups[torch.randperm(len(groups), generator=stream("groups", seed, epoch))]
    return torch.cat((shuffled.flatten(), order[full:]))


def stratified_holdout(classes: Tensor, held: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Hold out `held` sequences so that each class keeps its share.

    Class c with n_c of n sequences contributes held * n_c / n of them, rounded down; the remaining ones come from the
    classes with the largest remainders (of equal ones, from the lower class).

    Args:
        classes: (n,) int64.
        held: number to hold out, in [1, n - 1].
        generator: selects the sequences.

    Returns:
        Indices (n - held,) of the kept sequences and (held,) of those held out, each ascending.

    Raises:
        ValueError: `held` is outside its range.
    """
    import torch

    n = len(classes)
    if not 1 <= held < n:
        raise ValueError(f"the number held out must be in [1, {n - 1}], got {held}")
    counts = torch.bincount(classes)
    quota, remainder = counts * held // n, counts * held % n
    extra = torch.argsort(remainder, descending=True, stable=True)[: held - int(quota.sum())]
    quota[extra] += 1
    shuffled = torch.randperm(n, generator=generator)
    # Take the first ones of each class in shuffled order, which a stable sort by class preserves.
    by_class = shuffled[torch.argsort(classes[shuffled], stable=True)]
    place_in_class = torch.arange(n) - (counts.cumsum(0) - counts).repeat_interleave(counts)
    chosen = torch.zeros(n, dtype=torch.bool)
    chosen[by_class[place_in_class < quota.repeat_interleave(counts)]] = True
    return torch.nonzero(~chosen).flatten(), torch.nonzero(chosen).flatten()
