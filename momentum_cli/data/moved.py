"""Images moved by a few pixels in training, which is data augmentation: each of them anew in every epoch.

Axes: `n` images, `P` = height * width pixels, `T` steps of `D` pixels, `B` images of a batch, `M` moves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from momentum_cli.data.batching import Groups, Sharing, ShuffledGroups, Windows, stream
from momentum_cli.data.dataset import Batch, Split

if TYPE_CHECKING:
    from torch import Tensor


def moves(height: int, width: int, shift: int, permutation: Tensor | None = None) -> Tensor:
    """Return from where each pixel of a moved image comes.

    Args:
        height, width: Size of the images.
        shift: Largest number of pixels, >= 0, in each of the two directions and either sense.
        permutation: (P,) int64, the order in which the pixels are read; None for row by row.

    Returns:
        (M, P) int64 with M = (2 * shift + 1)²: for each pixel, in the order of reading, the place in the same order
        that it comes from, and P where that is outside of the image. The first move is none.
    """
    import torch

    pixels = height * width
    read = torch.arange(pixels) if permutation is None else permutation
    place = torch.full((pixels + 1,), pixels)
    place[read] = torch.arange(pixels)
    rows, columns = read // width, read % width
    steps = sorted(range(-shift, shift + 1), key=abs)
    found = []
    for down in steps:
        for right in steps:
            row, column = rows - down, columns - right
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            found.append(place[torch.where(inside, row * width + column, pixels)])
    return torch.stack(found)


class MovedGroups(ShuffledGroups):
    """Shuffled groups in which each image has a move, drawn for each epoch: image i moved in way m is m * n + i."""

    def __init__(self, count: int, longest: int, size: int, seed: int, moves: int) -> None:
        super().__init__(None, count, longest, size, seed)
        self._moves = moves
        self._drawn: tuple[int, Tensor | None] = (-1, None)

    def group(self, epoch: int, step: int) -> Tensor:
        """Return (B,) images with their moves."""
        import torch

        images = super().group(epoch, step)
        if self._drawn[0] != epoch:
            self._drawn = (
                epoch,
                torch.randint(self._moves, (self._count,), generator=stream("moves", self._seed, epoch)),
            )
        drawn = self._drawn[1]
        assert drawn is not None
        return drawn[images] * self._count + images


@dataclass(frozen=True)
class MovedSplit(Split):
    """A split of images, as `Split`, whose training groups have moved images; an evaluation sees them as they are.

    Args:
        moves: (M, P), see `moves`. What moves in from outside is 0.
    """

    moves: Tensor = field(kw_only=True)

    def batch(self, index: Tensor) -> Batch:
        """Return the images `index`, (B,) int64 of m * n + i for image i moved in way m; see `Split.batch`."""
        import torch

        plain = super().batch(index % len(self))
        pixels = torch.nn.functional.pad(plain.inputs.flatten(1), (0, 1))
        source = self.moves[index // len(self)].to(pixels.device, non_blocking=True)
        return Batch(pixels.gather(1, source).view_as(plain.inputs), plain.targets, plain.lengths)

    def scored_in(self, group: Tensor) -> int:
        """Return how many terms of the loss a group has, however its images are moved."""
        return super().scored_in(group % len(self))

    def training_groups(
        self, size: int, seed: int, windows: Windows | None = None, sharing: Sharing | None = None
    ) -> Groups:
        """Return groups of `size` moved images, in a new order and with new moves each epoch."""
        return MovedGroups(len(self), self.longest, size, seed, len(self.moves))
