"""The state of a layer: its tensors in one order, their names and shapes, their check, and how to split them.

Axes: B batch, D input, H hidden, G gates * H, L layers * directions.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from momentum_cli.dynamics.filter import Filter
from momentum_cli.dynamics.protocol import Dynamics
from momentum_cli.dynamics.state import State
from momentum_cli.layers.recurrent_state import RecurrentState
from momentum_cli.messages import Said, counted, refuse
from momentum_cli.recurrence.protocol import Recurrence

LayerState = Tensor | State | RecurrentState
"""A state as a layer returns it: as in `torch.nn`, or an object that carries more. A layer also takes a flat tuple."""

Place = tuple[int, int]
"""Index of a tensor in the state, and an index into its first dimension."""


class StateLayout(NamedTuple):
    """The tensors of a layer's state in their order, as `RecurrentLayer` describes them."""

    recurrence: Recurrence
    dynamics: Dynamics
    input_sizes: tuple[int, ...]
    """D of each layer."""
    hidden_size: int
    directions: int
    bias: bool
    proj_size: int = 0
    """Channels of h where the output is projected, else 0."""

    @property
    def filtered(self) -> bool:
        """True if the state of the dynamics is in input space, one tensor per layer; else it is in gate space."""
        return isinstance(self.dynamics.form, Filter)

    @property
    def names(self) -> tuple[str, ...]:
        """One name for each tensor, in order."""
        return _names(self.recurrence.state_names, self.dynamics.state_names, self.filtered, len(self.input_sizes))

    @property
    def recurrent_sizes(self) -> list[tuple[int, ...]]:
        """As `Recurrence.state_sizes`, with the projected size of h."""
        sizes = list(self.recurrence.state_sizes(self.hidden_size))
        return [(self.proj_size,), *sizes[1:]] if self.proj_size else sizes

    def begin(self, x: Tensor) -> State:
        """Return the recurrent tensors of one layer and direction before the first step, for x (B, ·)."""
        if not self.proj_size:
            return self.recurrence.init(x, self.hidden_size)
        return tuple(x.new_zeros(x.shape[0], *size) for size in self.recurrent_sizes)

    def shapes(self, batch: int) -> list[tuple[int, ...]]:
        """Return the shape of each tensor for ``batch`` sequences."""
        layers = len(self.input_sizes) * self.directions
        shapes: list[tuple[int, ...]] = [(layers, batch, *size) for size in self.recurrent_sizes]
        for name in self.dynamics.state_names:
            if name == "k":
                shapes.append((1, batch))
            elif self.filtered:
                shapes += [(self.directions, batch, size + int(self.bias)) for size in self.input_sizes]
            else:
                shapes.append((layers, batch, self.recurrence.gates * self.hidden_size))
        return shapes

    @property
    def seen(self) -> int:
        """Number of tensors that a caller sees: h and c as in `torch.nn`, or all of another recurrence."""
        names = self.recurrence.state_names
        return 2 if names[:2] == ("h", "c") else len(names)

    def returned(self, tensors: State) -> LayerState:
        """Return the state as `torch.nn` has it, or the object that carries more than that."""
        names = self.names
        if self.seen < len(names):
            return RecurrentState(tensors, names, self.seen)
        return tensors[0] if len(tensors) == 1 else tensors

    def flat(self, state: LayerState) -> State:
        """Return the tensors of a state that a caller gave; `checked` then checks each of them.

        Raises:
            ValueError: The state is incomplete, or belongs to another layer.
        """
        names = self.names
        if isinstance(state, RecurrentState):
            if state.names != names:
                raise ValueError(
                    refuse("state", Said(f"one with {', '.join(state.names)}"), f"have the tensors {', '.join(names)}")
                )
            return state.tensors
        tensors = (state,) if isinstance(state, Tensor) else tuple(state) if isinstance(state, tuple | list) else ()
        if not tensors or not all(isinstance(tensor, Tensor) for tensor in tensors):
            must = "be tensors, or what the layer returned for its state"
            raise ValueError(refuse("state", Said(f"a {type(state).__name__}"), must))
        if len(tensors) == len(names):
            return tensors
        seen = names[: self.seen]
        remedy = "pass on the state that the layer returned"
        if len(tensors) == len(seen):
            given = ", ".join(f"{name}={name}" for name in seen)
            remedy += f", or begin from these alone with layer.zero_state(batch_size).replace({given})"
        got = Said(counted(len(tensors), "tensor"))
        raise ValueError(refuse("state", got, f"have {len(names)} tensors ({', '.join(names)})", remedy))

    def zeros(self, batch: int, like: Tensor) -> State:
        """Return the state at the start of ``batch`` sequences, on the device and in the dtype of ``like``."""
        return tuple(
            torch.zeros(shape, device=like.device, dtype=torch.int64 if name == "k" else like.dtype)
            for name, shape in zip(self.names, self.shapes(batch), strict=True)
        )

    def checked(
        self,
        tensors: State,
        x: Tensor,
        batched: bool,
        dtype: torch.dtype | None,
    ) -> State:
        """Check a state, and add the batch dimension to an unbatched one.

        Args:
            tensors: As returned by `flat`.
            x: (T, B, D) input.
            batched: False for a state without a batch dimension.
            dtype: Dtype of the parameters, or None to accept and convert any floating-point dtype.

        Raises:
            ValueError: A shape, a dtype or a device is wrong.
        """
        for name, tensor, shape in zip(self.names, tensors, self.shapes(x.shape[1]), strict=True):
            expected = shape if batched else (shape[0], *shape[2:])
            if tuple(tensor.shape) != expected:
                raise ValueError(refuse(f"state {name!r}", tuple(tensor.shape), f"have the shape {expected}"))
            if name == "k":
                right, must = tensor.dtype == torch.int64, "be int64"
            elif dtype is None:
                right, must = tensor.is_floating_point(), "be floating point"
            else:
                right, must = tensor.dtype == dtype, f"have the dtype of the parameters, {dtype}"
            if not right:
                raise ValueError(refuse(f"state {name!r}", tensor.dtype, must))
            if tensor.device != x.device:
                raise ValueError(refuse(f"state {name!r}", Said(str(tensor.device)), f"be on {x.device}, as the input"))
        return tensors if batched else tuple(tensor.unsqueeze(1) for tensor in tensors)

    @property
    def places(self) -> list[list[Place]]:
        """The places of the tensors of each layer and direction, those of the recurrence first."""
        recurrent, dynamics = len(self.recurrence.state_names), self.dynamics.state_names
        return _places(recurrent, dynamics, self.filtered, len(self.input_sizes), self.directions)


@lru_cache
def _names(recurrent: tuple[str, ...], dynamics: tuple[str, ...], filtered: bool, layers: int) -> tuple[str, ...]:
    """Compute `StateLayout.names`."""
    names = list(recurrent)
    for name in dynamics:
        names += [f"{name}_l{layer}" for layer in range(layers)] if filtered and name != "k" else [name]
    return tuple(names)


@lru_cache
def _places(
    recurrent: int, dynamics: tuple[str, ...], filtered: bool, layers: int, directions: int
) -> list[list[Place]]:
    """Compute `StateLayout.places` once for all layers with the same structure; the result is never changed."""
    places = []
    for index in range(layers * directions):
        layer, direction = divmod(index, directions)
        own = [(number, index) for number in range(recurrent)]
        number = recurrent
        for name in dynamics:
            if name == "k":  # the same in all layers and directions
                own.append((number, 0))
                number += 1
            elif filtered:
                own.append((number + layer, direction))
                number += layers
            else:
                own.append((number, index))
                number += 1
        places.append(own)
    return places


# TorchScript compiles these two.


def part(state: list[Tensor], places: list[tuple[int, int]]) -> list[Tensor]:
    """Return the tensors of one layer in one direction.

    Args:
        state: State of the whole layer.
        places: An entry of `StateLayout.places`.
    """
    return [state[number][row] for number, row in places]


def whole(parts: list[list[Tensor]], places: list[list[tuple[int, int]]], tensors: int) -> list[Tensor]:
    """Invert `part` for all layers and directions.

    Args:
        parts: The tensors of each layer and direction.
        places: `StateLayout.places`.
        tensors: Number of tensors of the whole layer.
    """
    rows: list[list[Tensor]] = []
    for _ in range(tensors):
        rows.append([])
    for index in range(len(parts)):
        for at in range(len(parts[index])):
            number, row = places[index][at]
            if row == len(rows[number]):
                rows[number].append(parts[index][at])
    return [torch.stack(tensor) for tensor in rows]
