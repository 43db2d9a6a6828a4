"""A split of frames to predict: the input of each step is a frame, its target the next or the previous one.

Axes: n recordings of a split, B recordings of a batch, T steps of the longest, D bins.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from momentum_cli.data.batching import Separate
from momentum_cli.data.dataset import Batch
from momentum_cli.data.files.normalisation import Scaling
from momentum_cli.data.files.steps import Steps

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Predicted = Literal["next", "previous"]


def frame_pairs(frames: np.ndarray, predict: Predicted) -> tuple[np.ndarray, np.ndarray]:
    """Return the input and the target of each step, both (…, T, D), of frames (…, T + 1, D).

    ``"next"``: x_t = f_t, y_t = f_{t+1}. ``"previous"``: x_t = f_{t+1}, y_t = f_t. T steps have T + 1 frames.
    """
    earlier, later = frames[..., :-1, :], frames[..., 1:, :]
    return (earlier, later) if predict == "next" else (later, earlier)


@dataclass(frozen=True)
class FrameSplit(Separate):
    """Recordings whose frames are predicted, see `momentum_cli.data.Sequences`.

    Args:
        frames: Frames of all recordings.
        starts: (n,) int64, the first frame of each recording of the split.
        steps: (n,) int64, steps of each: one less than its frames.
        scaling: Scaling of frames, as inputs and as targets.
        predict: See `frame_pairs`.
        where: Device of batches.
    """

    frames: Steps
    starts: np.ndarray
    steps: np.ndarray
    scaling: Scaling
    predict: Predicted
    where: torch.device | str = "cpu"

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def longest(self) -> int:
        """T."""
        return int(self.steps.max(initial=0))

    @property
    def lengths(self) -> Tensor | None:
        """(n,) int64 on the CPU, or None if all are equal."""
        import torch

        same = len(self.steps) == 0 or bool((self.steps == self.steps[0]).all())
        return None if same else torch.from_numpy(self.steps)

    @property
    def scored(self) -> Tensor:
        """(n,) int64 on the CPU, terms of the loss of each recording: all bins of all its steps."""
        import torch

        return torch.from_numpy(self.steps * self.frames.columns)

    def batch(self, index: Tensor) -> Batch:
        """Read the recordings `index`, (B,) int64.

        Returns:
            Batch with inputs (B, T, D) float32, 0 after the end of a recording, and targets (B, T, D), NaN after it,
            which counts neither in the loss nor in a metric.
        """
        import torch

        places = index.cpu().numpy()
        steps = self.steps[places]
        inputs, targets = frame_pairs(self.scaling(self.frames.padded(self.starts[places], steps + 1)), self.predict)
        inputs, targets = inputs.copy(), targets.copy()
        longest = inputs.shape[1]
        same = bool((steps == longest).all())
        if not same:
            after = np.arange(longest) >= steps[:, None]
            inputs[after], targets[after] = 0.0, np.nan
        return Batch(
            torch.from_numpy(inputs).to(self.where, non_blocking=True),
            torch.from_numpy(targets).to(self.where, non_blocking=True),
            None if same else torch.from_numpy(steps),
        )

    def to(self, device: torch.device | str) -> FrameSplit:
        """Return the split with batches on `device`; the frames are not moved."""
        return replace(self, where=device)

    def head(self, count: int) -> FrameSplit:
        """Return the first `count` recordings."""
        return replace(self, starts=self.starts[:count], steps=self.steps[:count])
