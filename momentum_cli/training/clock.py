"""The scored clock of a training."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch


@dataclass
class Clock:
    """Seconds between `start` and `stop`, as often as they are called, with the device synchronised at both ends."""

    device: torch.device
    seconds: float = 0.0
    now: Callable[[], float] = time.perf_counter
    _since: float | None = field(default=None, repr=False)

    def start(self) -> None:
        """Begin or continue counting."""
        self._synchronize()
        self._since = self.now()

    def stop(self) -> float:
        """Stop counting and return the total."""
        if self._since is not None:
            self._synchronize()
            self.seconds += self.now() - self._since
            self._since = None
        return self.seconds

    def _synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
