"""A model that runs step by step and keeps its state.

Axes: B batch, T time, H hidden.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from momentum_cli.dynamics.state import State
from momentum_cli.layers.stream import Stream


class ModelStream:
    """A model in inference that keeps its state from call to call, see `momentum_cli.layers.stream.Stream`.

    Args:
        layers: The layers between its input and its output.
        read: Maps inputs as the model takes them, (B, T, ...), to those of the layers, (T, B, D).
        write: Maps outputs of the layers (T, B, H) to outputs as the model gives them.
    """

    def __init__(self, layers: Stream, read: Callable[[Tensor], Tensor], write: Callable[[Tensor], Tensor]) -> None:
        self.layers = layers
        self._read, self._write = read, write

    def __call__(self, inputs: Tensor) -> Tensor:
        """Advance by the steps of ``inputs``, T >= 1; return what `Model.forward` gives as outputs.

        Raises:
            ValueError: The shape, dtype or device of the inputs is wrong.
        """
        with torch.no_grad():
            return self._write(self.layers(self._read(inputs)))

    @property
    def state(self) -> State:
        """A copy of the state, as `Model.forward` returns it; setting it continues from it (None: from the start)."""
        return self.layers.tensors

    @state.setter
    def state(self, state: State | None) -> None:
        self.layers.state = state

    def reset(self) -> None:
        """Go back to the start of a sequence."""
        self.layers.reset()
