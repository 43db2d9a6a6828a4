"""Pairs of sentences as tokens, in batches of similar length that are counted in tokens.

Axes: n pairs, B pairs of a batch, S tokens of a source, T tokens of a target.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from momentum_cli.data.batching import Groups, Separate, Sharing, Windows, stream
from momentum_cli.data.dataset import NOT_SCORED, Batch
from momentum_cli.data.translation.subwords import PADDING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Flat:
    """Sequences of tokens, one after the other.

    Args:
        tokens: (N,) integers.
        starts: (n + 1,) int64 on the CPU, the beginning of each, and N.
    """

    tokens: Tensor
    starts: Tensor

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]], size: int) -> Flat:
        """Return rows of numbers below `size` in the narrowest type."""
        import torch

        lengths = torch.tensor([0, *map(len, rows)])
        tokens = torch.tensor([token for row in rows for token in row])
        return cls(tokens.to(torch.int16 if size <= 2**15 else torch.int32), lengths.cumsum(0))

    @cached_property
    def lengths(self) -> Tensor:
        """(n,) int64 on the CPU."""
        return self.starts.diff()

    def padded(self, index: Tensor, filling: int) -> Tensor:
        """Return the rows `index`, (B,) on the CPU, as (B, longest) int64 on the device of the tokens."""
        import torch

        lengths = self.lengths[index]
        steps = torch.arange(int(lengths.max()))
        there = steps < lengths[:, None]
        places = (self.starts[index][:, None] + steps).where(there, 0)
        device = self.tokens.device
        found = self.tokens[places.to(device, non_blocking=True)].long()
        return found.masked_fill(~there.to(device, non_blocking=True), filling)


@dataclass(frozen=True)
class ParallelText(Separate):
    """The pairs of a split; implements `Sequences`.

    The targets of a batch are (B, T), `NOT_SCORED` beyond the end of a sentence; the end itself is a token and scored.

    Args:
        source, target: Tokens of n pairs, each with the token of the end.
        sources, references: The sentences themselves.
        rows: Number of the line of each pair in its file.
    """

    source: Flat
    target: Flat
    sources: tuple[str, ...]
    references: tuple[str, ...]
    rows: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def lengths(self) -> Tensor:
        """(n,) int64 on the CPU, tokens of each source."""
        return self.source.lengths

    @cached_property
    def longest(self) -> int:
        """S of the longest source."""
        return int(self.source.lengths.max())

    @property
    def batch_unit(self) -> str:
        """``"tokens"`` of the longer side, with its padding."""
        return "tokens"

    @property
    def scored(self) -> Tensor:
        """(n,) int64 on the CPU, tokens of each target."""
        return self.target.lengths

    @cached_property
    def costs(self) -> Tensor:
        """(n,) int64, tokens of the longer side of each pair."""
        import torch

        return torch.maximum(self.source.lengths, self.target.lengths)

    def batch(self, index: Tensor) -> Batch:
        """Return the pairs `index`, (B,): inputs (B, S) and targets (B, T), both int64."""
        index = index.cpu()
        return Batch(
            self.source.padded(index, PADDING),
            self.target.padded(index, NOT_SCORED),
            self.source.lengths[index],
            references=tuple(self.references[number] for number in index.tolist()),
        )

    def place(self, index: int) -> dict[str, Any]:
        """Return the number of a pair, the line that it is from, and its sentences."""
        return {
            "number": index,
            "row": self.rows[index],
            "source": self.sources[index],
            "reference": self.references[index],
        }

    def to(self, device: torch.device | str) -> ParallelText:
        """Return the pairs with tokens on a device."""
        moved = {name: replace(getattr(self, name), tokens=getattr(self, name).tokens.to(device)) for name in _SIDES}
        return replace(self, **moved)

    def head(self, count: int) -> ParallelText:
        """Return the first `count` pairs."""
        count = min(count, len(self))
        cut = {name: replace(getattr(self, name), starts=getattr(self, name).starts[: count + 1]) for name in _SIDES}
        kept = {name: getattr(self, name)[:count] for name in ("sources", "references", "rows")}
        return replace(self, **cut, **kept)

    def training_groups(
        self, size: int, seed: int, windows: Windows | None = None, sharing: Sharing | None = None
    ) -> Groups:
        """Return groups of at most `size` tokens; see `TokenGroups`."""
        return TokenGroups(self.costs, size, seed)

    def evaluation_groups(self, size: int) -> Iterator[Tensor]:
        """Yield groups of at most `size` tokens, the shortest pairs first."""
        import torch

        order = self.costs.argsort(stable=True)
        yield from torch.split(order, group_sizes(self.costs[order].tolist(), size))

    def parts(self, group: Tensor, size: int) -> tuple[Tensor, ...]:
        """Cut a group into parts of at most `size` tokens."""
        import torch

        return torch.split(group, group_sizes(self.costs[group].tolist(), size))


_SIDES = ("source", "target")


def group_sizes(costs: Sequence[int], size: int) -> list[int]:
    """Return the number of consecutive pairs in each group, so that none has more than `size` tokens, padding included.

    Args:
        costs: Tokens of the longer side of each pair. One that is longer than `size` is a group of its own.
        size: Tokens of a group, >= 1.
    """
    sizes: list[int] = []
    count = longest = 0
    for cost in costs:
        if count and max(longest, cost) * (count + 1) > size:
            sizes.append(count)
            count = longest = 0
        count, longest = count + 1, max(longest, cost)
    return [*sizes, count] if count else sizes


class TokenGroups:
    """Pairs of similar length, in groups that have about the same number of tokens; implements `Groups`.

    Pairs are sorted by the tokens of their longer side; each epoch shuffles pairs of equal length, and the groups. So
    every epoch has the same number of groups, with different pairs in them.

    Args:
        costs: (n,) tokens of the longer side of each pair.
        size: Most tokens of a group on one side, padding included, over all processes, >= 1.
        seed: Training seed.
    """

    def __init__(self, costs: Tensor, size: int, seed: int) -> None:
        sizes = group_sizes(costs.sort().values.tolist(), size)
        self.steps, self.rows, self.longest = len(sizes), max(sizes), int(costs.max())
        self._costs, self._sizes, self._seed = costs, sizes, seed
        self._drawn: tuple[int, list[Tensor]] = (-1, [])

    def group(self, epoch: int, step: int) -> Tensor:
        """Return (B,) pairs."""
        if self._drawn[0] != epoch:
            self._drawn = (epoch, self._draw(epoch))
        return self._drawn[1][step]

    def rate(self, epoch: int, step: int) -> float:
        """Return 1."""
        return 1.0

    def _draw(self, epoch: int) -> list[Tensor]:
        import torch

        shuffled = torch.randperm(len(self._costs), generator=stream("epoch", self._seed, epoch))
        groups = torch.split(shuffled[self._costs[shuffled].argsort(stable=True)], self._sizes)
        order = torch.randperm(len(groups), generator=stream("groups", self._seed, epoch))
        return [groups[number] for number in order.tolist()]
