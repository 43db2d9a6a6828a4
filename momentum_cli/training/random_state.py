"""The random state of one of several trainings in a process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class RandomState:
    """Separate states of torch's generators, so that interleaved trainers do not disturb each other.

    Args:
        device: The device whose generator is kept, in addition to the CPU's.

    Attributes:
        tensors: State of the generators ``cpu`` and, with a GPU, ``cuda``; empty before the first use.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.tensors: dict[str, Tensor] = {}

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Draw from this state inside the block; it starts as a copy of the outer one, which stays unchanged."""
        outside = self._capture()
        if self.tensors:
            self._apply(self.tensors)
        try:
            yield
        finally:
            self.tensors = self._capture()
            self._apply(outside)

    def _capture(self) -> dict[str, Tensor]:
        state = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self.device)
        return state

    def _apply(self, state: dict[str, Tensor]) -> None:
        torch.set_rng_state(state["cpu"])
        if "cuda" in state:
            torch.cuda.set_rng_state(state["cuda"], self.device)
