"""Groups: which sequences, or which positions of a text, an optimizer step or an evaluation looks at.

A group is an index tensor for `Sequences.batch`: (B,) sequences, or (B, T) positions of B streams of a text. Each is a
pure function of its arguments, so a resume in the middle of an epoch is exact without storing any.

Axes: B sequences or streams of a group, T steps of a window.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from momentum_cli.data.dataset import Sequences
from momentum_cli.data.language.text import TokenText
from momentum_cli.errors import DataError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# AWD-LSTM's draw of a window: half as long once in twenty times, a standard deviation of 5 steps, at least 5 steps.
_HALVED, _SPREAD, _SHORTEST = 0.05, 5.0, 5


class Groups(Protocol):
    """The optimizer steps of an epoch.

    Attributes:
        steps: Optimizer steps an epoch, the same in all.
        longest: T, the largest number of steps that a batch may have.
        carried: Whether state goes on from a group to the next one of the epoch.
    """

    steps: int
    longest: int
    carried: bool

    def group(self, epoch: int, step: int) -> Tensor:
        """Return the index of a step, 0 … steps - 1, of an epoch, over all processes."""

    def rate(self, epoch: int, step: int) -> float:
        """Return the factor on the learning rate of that step."""


class ShuffledGroups:
    """Sequences in a new order each epoch; see `training_order`. The last group may be smaller.

    Args:
        data: The training split.
        size: Sequences of a group, >= 1.
        seed: Training seed.
    """

    carried = False

    def __init__(self, data: Sequences, size: int, seed: int) -> None:
        self.steps = -(-len(data) // size)
        self.longest = data.longest
        self._data, self._size, self._seed = data, size, seed
        self._order: tuple[int, Tensor | None] = (-1, None)

    def group(self, epoch: int, step: int) -> Tensor:
        """Return (B,) sequences."""
        if self._order[0] != epoch:
            order = training_order(self._data.lengths, len(self._data), self._size, self._seed, epoch)
            self._order = (epoch, order)
        drawn = self._order[1]
        assert drawn is not None
        return drawn[step * self._size : (step + 1) * self._size]

    def rate(self, epoch: int, step: int) -> float:
        """Return 1."""
        return 1.0


class WindowGroups:
    """Windows of a text that follow one another, for truncated back-propagation through time with carried state.

    The text is cut into as many streams as a group has rows, each N // streams steps long, read side by side from
    their beginnings; a rest shorter than a row a stream is left out.

    Args:
        data: The training text.
        streams: B, over all processes, >= 1.
        length: Steps of a window, >= 1.
        variable: Draw the lengths anew each epoch, normally distributed around `length`, or around half of it once in
            twenty times, as AWD-LSTM does. An epoch always has the same number of windows: the ends are
            stretched by a common factor so that the last one is the end of the text. The learning rate of a step is
            multiplied by its length over `length`.
        seed: Training seed.

    Raises:
        DataError: The text is shorter than one step a stream.

    Reference: Merity, Keskar, Socher, Regularizing and Optimizing LSTM Language Models, arXiv 1708.02182, section 5;
    there the number of windows of an epoch is random.
    """

    carried = True

    def __init__(self, data: TokenText, streams: int, length: int, variable: bool, seed: int) -> None:
        self._stream_steps = len(data) // streams
        if self._stream_steps < 1:
            raise DataError(
                f"the training text has {len(data) + 1} tokens, too few for {streams} parallel streams; "
                "use a smaller train.batch_size"
            )
        # The mean of AWD-LSTM's draw; what its lower bound adds does not matter to the number of windows.
        mean = length * (1.0 - _HALVED / 2) if variable else length
        self.steps = max(1, -(-self._stream_steps // length) if not variable else round(self._stream_steps / mean))
        self._streams, self._length, self._variable, self._seed = streams, length, variable, seed
        self.longest = min(length, self._stream_steps)
        self._ends: tuple[int, list[int]] = (-1, [])

    def group(self, epoch: int, step: int) -> Tensor:
        """Return (B, T) positions."""
        import torch

        start, end = self._window(epoch, step)
        row = torch.arange(start, end)
        return torch.arange(self._streams).unsqueeze(1) * self._stream_steps + row

    def rate(self, epoch: int, step: int) -> float:
        """Return T / length for windows of variable length, else 1."""
        if not self._variable:
            return 1.0
        start, end = self._window(epoch, step)
        return (end - start) / self._length

    def _window(self, epoch: int, step: int) -> tuple[int, int]:
        if not self._variable:
            start = step * self._length
            return start, min(start + self._length, self._stream_steps)
        if self._ends[0] != epoch:
            self._ends = (epoch, self._draw(epoch))
        ends = self._ends[1]
        return (ends[step - 1] if step else 0), ends[step]

    def _draw(self, epoch: int) -> list[int]:
        """Return where each window of an epoch ends; the last is the end of the streams."""
        import torch

        generator = stream("windows", self._seed, epoch)
        halved = torch.rand(self.steps, generator=generator) < _HALVED
        around = torch.where(halved, self._length / 2, float(self._length))
        drawn = (around + _SPREAD * torch.randn(self.steps, generator=generator)).clamp(min=_SHORTEST)
        ends = drawn.double().cumsum(0)
        # In float64 and with each end at least one step after the one before.
        stretched = (ends * (self._stream_steps / ends[-1])).round().long()
        least = torch.arange(1, self.steps + 1)
        return torch.maximum(stretched, least).clamp(max=self._stream_steps - least.flip(0) + 1).tolist()


def evaluation_groups(data: Sequences, size: int) -> Iterator[Tensor]:
    """Yield groups that together hold every sequence, or every position of a text, once and in order.

    Args:
        data: Any split.
        size: Sequences at a time; of a text, streams side by side. Each stream starts without context, so 1 reads the
            text as a whole.

    Yields:
        (B,) sequences, or (B, T) positions; positions beyond the text fill the last stream.
    """
    import torch

    if not isinstance(data, TokenText):
        yield from torch.split(torch.arange(len(data)), size)
        return
    streams = min(size, len(data))
    steps = -(-len(data) // streams)
    starts = torch.arange(streams).unsqueeze(1) * steps
    window = data.evaluation_steps(streams)
    # Positions of one stream never run into the next one; the last ends where the text does, or beyond.
    for start in range(0, steps, window):
        yield starts + torch.arange(start, min(start + window, steps))


SEEDS = 2**32
"""Seeds are below this: torch's CPU generator uses the low 32 bits only, so a larger seed would equal a smaller one."""


def check_seed(name: str, seed: int) -> None:
    """Raise ValueError unless 0 <= seed < 2**32."""
    if not 0 <= seed < SEEDS:
        raise ValueError(f"{name} must be in [0, {SEEDS - 1}], got {seed}")


def stream(*key: int | str) -> torch.Generator:
    """Return a CPU generator of its own for `key`: different keys give unrelated streams.

    The seed is the first 32 bits of the SHA-256 of the key, so that (seed 1, epoch 2) and (seed 2, epoch 1), or
    neighbouring seeds, do not share a sequence.
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
        (n,) int64 on the CPU; the same for the same arguments, whatever happened before.
    """
    import torch

    return torch.randperm(n, generator=stream("epoch", seed, epoch))


POOL = 64
"""Groups whose sequences are sorted by length together: enough that a group is even, few enough that it is random."""


def training_order(lengths: Tensor | None, n: int, group_size: int, seed: int, epoch: int) -> Tensor:
    """Return the order in which the sequences of a split are drawn in one epoch, those of like length together.

    Sequences of one length come as in `epoch_order`. Otherwise the groups of an optimizer step are made even, so that
    little is padded: that order is cut into pools of `POOL` groups, each pool sorted by length and cut into groups, and
    the groups are shuffled. A last group that is not full stays last. Every sequence is drawn once an epoch.

    Args:
        lengths: (n,) int64, steps of each sequence; None when all have the same.
        n: number of sequences, >= 1.
        group_size: sequences of an optimizer step, >= 1.
        seed: training seed, >= 0.
        epoch: number of the epoch, >= 0.

    Returns:
        (n,) int64 on the CPU; the same for the same arguments, whatever happened before, so a resume in the middle of
        an epoch goes on with the same groups.
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

    Class c with n_c of n sequences gives held * n_c / n of them, rounded down; the sequences still missing come from
    the classes with the largest remainders (the lower class first when equal).

    Args:
        classes: (n,) int64.
        held: number to hold out, in [1, n - 1].
        generator: decides which sequences.

    Returns:
        Indices (n - held,) that are kept and (held,) that are held out, each ascending.

    Raises:
        ValueError: `held` is out of range.
    """
    import torch

    n = len(classes)
    if not 1 <= held < n:
        raise ValueError(f"the number held out must be in [1, {n - 1}], got {held}")
    counts = torch.bincount(classes)
    quota, remainder = counts * held // n, counts * held % n
    extra = torch.argsort(remainder, descending=True, stable=True)[: held - int(quota.sum())]
    quota[extra] += 1
    chosen = torch.zeros(n, dtype=torch.bool)
    shuffled = torch.randperm(n, generator=generator)
    for label, number in enumerate(quota.tolist()):
        members = shuffled[classes[shuffled] == label]
        chosen[members[:number]] = True
    return torch.nonzero(~chosen).flatten(), torch.nonzero(chosen).flatten()
