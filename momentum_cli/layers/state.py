"""The state of a layer: one flat tuple of tensors, which are named, shaped, checked and taken apart here.

Axes: B batch, D input, H hidden, G gates * H, L layers * directions.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from momentum_cli.dynamics.protocol import Dynamics, State
from momentum_cli.recurrence.protocol import Recurrence


class StateLayout(NamedTuple):
    """Which tensors there are, in which order, as `RecurrentLayer` describes them."""

    recurrence: Recurrence
    dynamics: Dynamics
    input_sizes: tuple[int, ...]
    """D of each layer."""
    hidden_size: int
    directions: int
    bias: bool

    @property
    def names(self) -> tuple[str, ...]:
        """One name for each tensor, in order."""
        names = list(self.recurrence.state_names)
        for name in self.dynamics.state_names:
            if name != "k" and self.dynamics.linear:
                names += [f"{name}_l{layer}" for layer in range(len(self.input_sizes))]
            else:
                names.append(name)
        return tuple(names)

    def shapes(self, batch: int) -> list[tuple[int, ...]]:
        """Return the shape of each tensor for so many sequences."""
        layers = len(self.input_sizes) * self.directions
        shapes: list[tuple[int, ...]] = [
            (layers, batch, *size) for size in self.recurrence.state_sizes(self.hidden_size)
        ]
        for name in self.dynamics.state_names:
            if name == "k":
                shapes.append((1, batch))
            elif self.dynamics.linear:
                shapes += [(self.directions, batch, size + int(self.bias)) for size in self.input_sizes]
            else:
                shapes.append((layers, batch, self.recurrence.gates * self.hidden_size))
        return shapes

    def zeros(self, batch: int, like: Tensor) -> State:
        """Return the state at the start of so many sequences, on the device and in the dtype of ``like``."""
        return tuple(
            torch.zeros(shape, device=like.device, dtype=torch.int64 if name == "k" else like.dtype)
            for name, shape in zip(self.names, self.shapes(batch), strict=True)
        )

    def checked(self, state: State | Tensor | None, batch: int, batched: bool) -> State | None:
        """Check a state, and give an unbatched one its batch dimension.

        Raises:
            ValueError: The number of tensors, a shape or a dtype is wrong.
        """
        if state is None:
            return None
        tensors = (state,) if isinstance(state, Tensor) else tuple(state)
        names = self.names
        if len(tensors) != len(names):
            raise ValueError(
                f"state: got {len(tensors)} tensors, allowed are {len(names)} ({', '.join(names)}); "
                "start the missing ones from zero_state(batch_size)"
            )
        for name, tensor, shape in zip(names, tensors, self.shapes(batch), strict=True):
            expected = shape if batched else (shape[0], *shape[2:])
            if tuple(tensor.shape) != expected:
                raise ValueError(f"state {name!r}: got shape {tuple(tensor.shape)}, allowed is {expected}")
            if (name == "k") != (tensor.dtype == torch.int64):
                kind = "int64" if name == "k" else "floating point"
                raise ValueError(f"state {name!r}: got {tensor.dtype}, allowed is {kind}")
        return tensors if batched else tuple(tensor.unsqueeze(1) for tensor in tensors)

    def part(self, state: State, layer: int, direction: int) -> tuple[State, State]:
        """Return the recurrent tensors and those of the dynamics of one layer in one direction."""
        index, recurrent = layer * self.directions + direction, len(self.recurrence.state_names)
        before, drive = tuple(s[index] for s in state[:recurrent]), state[recurrent:]
        if not self.dynamics.linear:
            return before, tuple(s[index] for s in drive)
        if not drive:
            return before, ()
        return before, (drive[layer][direction], *(s[0] for s in drive[len(self.input_sizes) :]))

    def whole(self, ends: list[State], drives: list[State]) -> State:
        """Invert `part` for all layers and directions; the step number is the same everywhere."""
        after = tuple(torch.stack(tensors) for tensors in zip(*ends, strict=True))
        if not self.dynamics.linear:
            return after + tuple(torch.stack(tensors) for tensors in zip(*drives, strict=True))
        if not drives[0]:
            return after
        n = self.directions
        layers = range(len(self.input_sizes))
        filtered = [torch.stack([d[0] for d in drives[n * layer : n * layer + n]]) for layer in layers]
        return (*after, *filtered, *(s.unsqueeze(0) for s in drives[0][1:]))
