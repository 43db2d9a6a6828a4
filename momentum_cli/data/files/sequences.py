"""A split of a file: batches are read, scaled and padded on demand.

Axes: n sequences of a split, B sequences of a batch, T longest of them, W channels, K targets, h horizon.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np

from momentum_cli.data.batching import Separate
from momentum_cli.data.dataset import NOT_SCORED, Batch
from momentum_cli.data.files.future import Future
from momentum_cli.data.files.normalisation import Scaling
from momentum_cli.data.files.places import Places
from momentum_cli.data.files.steps import Steps

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Prepare(Protocol):
    """The conversion of stored steps to channels."""

    def __call__(self, values: np.ndarray, /) -> np.ndarray:
        """Return (B, T, W) float32 for stored steps (B, T, D)."""
        ...

    def chosen(self, groups: np.ndarray | None, /) -> Self:
        """Return the conversion of sequences by their groups, (B,); itself without groups."""
        ...


@dataclass(frozen=True)
class Windows:
    """Positions of the inputs of each sequence of a split.

    A section of a series gives many windows; only the sections are stored.

    Args:
        first: (m,) int64, the first step of the first window of each section.
        counts: (m,) int64, number of windows of each section.
        stride: Steps between windows of a section.
        lengths: (m,) int64, steps of the windows of each section.
    """

    first: np.ndarray
    counts: np.ndarray
    stride: int
    lengths: np.ndarray
    _ends: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ends", np.cumsum(self.counts))

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the first steps and the lengths of windows."""
        stretch = np.searchsorted(self._ends, index, side="right")
        before = index - (self._ends[stretch] - self.counts[stretch])
        return self.first[stretch] + before * self.stride, self.lengths[stretch]

    def head(self, count: int) -> Windows:
        """Return the first `count` windows."""
        left = np.clip(count - (self._ends - self.counts), 0, self.counts)
        return Windows(self.first, left, self.stride, self.lengths)


@dataclass(frozen=True)
class FileSplit(Separate):
    """A split of a file, see `momentum_cli.data.Sequences`.

    Args:
        features: Steps of all sequences.
        windows: The positions of the inputs in them.
        prepare: Converts stored steps to float32 channels.
        channels: W.
        targets: (n,) int64 classes or (n, K) float32 scaled values; or steps: (S, 1) int64 classes of the steps of the
            inputs, or (S, K) values, of which those at the steps `ahead` are forecast.
        ahead: These h steps, rising, counted from the last one of the inputs; () unless forecasting.
        target_scaling: Scaling of values that are read from steps.
        where: Device of batches.
        places: Names and times of the steps, and the groups of their sequences.
        future: Inputs that are known in advance, or None.
    """

    features: Steps
    windows: Windows
    prepare: Prepare
    channels: int
    targets: Tensor | Steps
    ahead: tuple[int, ...] = ()
    target_scaling: Scaling | None = None
    at_end: bool = False
    where: torch.device | str = "cpu"
    places: Places | None = None
    future: Future | None = None

    def __len__(self) -> int:
        return len(self.windows)

    @property
    def longest(self) -> int:
        """T."""
        return int(self.windows.lengths[self.windows.counts > 0].max(initial=0))

    @property
    def lengths(self) -> Tensor | None:
        """(n,) int64 on the CPU, or None if all are equal."""
        import torch

        found = self.windows.lengths[self.windows.counts > 0]
        if len(found) == 0 or (found == found[0]).all():
            return None
        return torch.from_numpy(np.repeat(self.windows.lengths, self.windows.counts))

    @property
    def scored(self) -> Tensor:
        """(n,) int64 on the CPU, terms of the loss of each sequence: its targets, or its steps."""
        import torch

        if isinstance(self.targets, Steps) and not self.ahead and not self.at_end:
            return torch.from_numpy(np.repeat(self.windows.lengths, self.windows.counts))
        if isinstance(self.targets, Steps):
            terms = max(1, len(self.ahead)) * self.targets.columns
        else:
            terms = self.targets.shape[1] if self.targets.ndim == 2 else 1
        return torch.tensor(terms).expand(len(self))

    def batch(self, index: Tensor) -> Batch:
        """Read the sequences `index`, (B,) int64.

        Returns:
            Batch with inputs (B, T, W) float32, 0 after the end of a sequence; targets (B,), (B, K), (B, T) with
            `NOT_SCORED` after the end, or (B, h * K), the values of the first step that is forecast first.
        """
        import torch

        places = index.cpu().numpy()
        starts, lengths = self.windows[places]
        longest = int(lengths.max())
        groups = self._groups(starts)
        prepare = self.prepare if groups is None else self.prepare.chosen(groups)
        if self.future is None:
            inputs = prepare(self.features.padded(starts, lengths))
        else:
            inputs = self.future(prepare(self.features.padded(starts, lengths + self.future.reach)))
        same = bool((lengths == longest).all())
        if not same:
            inputs[np.arange(longest) >= lengths[:, None]] = 0.0
        return Batch(
            torch.from_numpy(inputs).to(self.where, non_blocking=True),
            self._targets(index, starts, lengths).to(self.where, non_blocking=True),
            None if same else torch.from_numpy(lengths.astype(np.int64)),
            self._units(groups),
            self._naive_errors(starts),
        )

    def groups(self, index: np.ndarray) -> np.ndarray | None:
        """Return the group of each sequence `index`, (B,) int64; None without groups."""
        return self._groups(self.windows[index][0])

    def _groups(self, steps: np.ndarray) -> np.ndarray | None:
        return None if self.places is None else self.places.groups_of(steps)

    def _units(self, groups: np.ndarray | None) -> Tensor | None:
        """Return the scale and offset of each target where they differ from group to group."""
        import torch

        if groups is None or self.target_scaling is None:
            return None
        both = np.stack([self.target_scaling.scale[groups], self.target_scaling.offset[groups]])
        return torch.from_numpy(np.tile(both, max(1, len(self.ahead)))).to(self.where)

    @cached_property
    def mase_weights(self) -> np.ndarray | None:
        """(n, K) float64, the weight of a forecast of each series of the file in `mase`; None unless forecasting.

        All forecasts of a series in this split have the sum 1. It is 0 for a series without any, and for one whose
        naive error is 0 or not known.
        """
        if self.places is None or self.places.naive_errors is None:
            return None
        errors = self.places.naive_errors
        series = self.places.numbers(self.windows.first)
        counts = np.bincount(series, self.windows.counts, len(errors))[:, None]
        defined = (errors > 0) & (counts > 0)
        return np.asarray(np.divide(1.0, counts, out=np.zeros_like(errors), where=defined))

    def _naive_errors(self, starts: np.ndarray) -> Tensor | None:
        """Return what `mase` divides the errors by, and their weights; see `momentum_cli.data.Batch`."""
        import torch

        if self.mase_weights is None:
            return None
        assert self.places is not None
        assert self.places.naive_errors is not None
        series = self.places.numbers(starts)
        weights = self.mase_weights[series]
        divisors = np.where(weights > 0, self.places.naive_errors[series], 1.0)
        return torch.from_numpy(np.tile(np.stack([divisors, weights]), len(self.ahead))).to(self.where)

    def scaled(self, values: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Return targets (B, …, K) float32, each in the scale of the sequence that its step, (B,), belongs to."""
        assert self.target_scaling is not None
        return self.target_scaling.chosen(self._groups(steps))(values)

    def _targets(self, index: Tensor, starts: np.ndarray, lengths: np.ndarray) -> Tensor:
        import torch

        if not isinstance(self.targets, Steps):
            return self.targets.index_select(0, index.cpu())
        ends = starts + lengths
        if self.at_end:
            last = self.targets.padded(ends - 1, np.ones(len(ends), np.int64))
            return torch.from_numpy(last[:, 0, 0] if self.target_scaling is None else self.scaled(last, starts)[:, 0])
        if self.ahead:
            found = self.targets.padded(ends, np.full(len(ends), self.ahead[-1]))
            chosen = found[:, np.array(self.ahead) - 1]
            return torch.from_numpy(self.scaled(chosen, starts).reshape(len(ends), -1))
        return torch.from_numpy(self.targets.padded(starts, lengths, NOT_SCORED)[:, :, 0])

    def place(self, index: int) -> dict[str, Any]:
        """Return the number of a sequence in the split and, where they are known, its name, step and time.

        For a forecast these are those of its first step; for whole sequences there is only the name.
        """
        found: dict[str, Any] = {"number": index}
        if self.places is None:
            return found
        starts, lengths = self.windows[np.array([index])]
        if not self.ahead:
            return found | {"sequence": self.places.of(int(starts[0]))["sequence"]}
        return found | self.places.of(int(starts[0] + lengths[0]) + self.ahead[0] - 1)

    def times(self, index: int, steps: int) -> list[Any]:
        """Return the times of the last `steps` of the inputs and of the steps to forecast, where they are known."""
        assert self.places is not None
        starts, lengths = self.windows[np.array([index])]
        end = int(starts[0] + lengths[0])
        chosen = [*range(end - steps, end), *(end + step - 1 for step in self.ahead)]
        return [self.places.of(step).get("time") for step in chosen]

    def before(self, index: np.ndarray, steps: int) -> np.ndarray:
        """Return the targets of the last steps of the inputs, (B, steps, K) float64 as in the file."""
        assert isinstance(self.targets, Steps)
        starts, lengths = self.windows[index]
        return self.targets.padded(starts + lengths - steps, np.full(len(index), steps)).astype(np.float64)

    def to(self, device: torch.device | str) -> FileSplit:
        """Return the split with batches on `device`; the data are not moved."""
        return replace(self, where=device)

    def head(self, count: int) -> FileSplit:
        """Return the first `count` sequences."""
        targets = self.targets if isinstance(self.targets, Steps) else self.targets[:count]
        return replace(self, windows=self.windows.head(count), targets=targets)
