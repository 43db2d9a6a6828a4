"""Windows of a text: the positions of an optimizer step or of a part of an evaluation.

A group is a table of positions (B, T), consecutive along T, whose rows continue those of the previous group.

Axes: N positions of a text, B streams, T steps of a window.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from momentum_cli.data.batching import stream
from momentum_cli.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

# AWD-LSTM's lengths of windows: half as long once in twenty times, a standard deviation of 5 steps, at least 5 steps.
_HALVED, _SPREAD, _SHORTEST = 0.05, 5.0, 5


class WindowGroups:
    """Consecutive windows of a text, for truncated back-propagation through time with carried state.

    The text is cut into as many streams as a group has rows, each N // streams steps long, read in parallel from their
    beginnings; the remaining positions, fewer than streams, are not used.

    Args:
        positions: N, the positions of the training text.
        streams: B, over all processes, >= 1.
        length: Steps per window, >= 1.
        variable: Draw the lengths for each epoch, normally distributed around `length`, or around half of it once in
            twenty times, as AWD-LSTM does. Every epoch has the same number of windows: the ends are scaled by a common
            factor so that the last one is the end of the text. The learning rate of a step is multiplied by its length
            over `length`.
        seed: Training seed.

    Raises:
        DataError: The text has fewer positions than streams.

    Reference: Merity, Keskar, Socher, Regularizing and Optimizing LSTM Language Models, arXiv 1708.02182, section 5;
    there the number of windows of an epoch is random.
    """

    def __init__(self, positions: int, streams: int, length: int, variable: bool, seed: int) -> None:
        self._stream_steps = positions // streams
        if self._stream_steps < 1:
            raise DataError(
                f"the training text has {positions + 1} tokens, too few for {streams} parallel streams; "
                "use a smaller train.batch_size"
            )
        # The mean length of AWD-LSTM; its lower bound changes the mean too little to matter.
        mean = length * (1.0 - _HALVED / 2) if variable else length
        self.steps = max(1, -(-self._stream_steps // length) if not variable else round(self._stream_steps / mean))
        self._streams, self._length, self._variable, self._seed = streams, length, variable, seed
        self.rows, self.longest = streams, min(length, self._stream_steps)
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
        """Return the end of each window of an epoch; the last one is the end of the streams."""
        import torch

        generator = stream("windows", self._seed, epoch)
        halved = torch.rand(self.steps, generator=generator) < _HALVED
        around = torch.where(halved, self._length / 2, float(self._length))
        drawn = (around + _SPREAD * torch.randn(self.steps, generator=generator)).clamp(min=_SHORTEST)
        ends = drawn.double().cumsum(0)
        # In float64, and with each end at least one step after the previous one.
        stretched = (ends * (self._stream_steps / ends[-1])).round().long()
        least = torch.arange(1, self.steps + 1)
        return torch.maximum(stretched, least).clamp(max=self._stream_steps - least.flip(0) + 1).tolist()


def evaluation_windows(positions: int, streams: int, length: int) -> Iterator[Tensor]:
    """Yield windows that cover every position of a text once and in order along each stream.

    Args:
        positions: N, >= 1.
        streams: B, at least 1 and at most N. Each starts without context, so 1 reads the text as a whole.
        length: Steps of a window, >= 1.

    Yields:
        (B, T) positions; those beyond the text fill the last stream.
    """
    import torch

    steps = -(-positions // streams)
    starts = torch.arange(streams).unsqueeze(1) * steps
    # Positions of one stream never reach into the next; the last stream ends with the text, or beyond.
    for start in range(0, steps, length):
        yield starts + torch.arange(start, min(start + length, steps))
