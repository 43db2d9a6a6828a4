"""Stacked recurrent layers, each with its own size, with one dropout mask per sequence between them.

Axes: T time, B batch, D input, H hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from momentum_cli.dynamics.protocol import Dynamics
from momentum_cli.dynamics.state import State
from momentum_cli.layers.recurrent import RecurrentLayer
from momentum_cli.layers.stream import Stream
from momentum_cli.messages import Said, refuse
from momentum_cli.recurrence.protocol import Recurrence


def locked_dropout(x: Tensor, probability: float, training: bool) -> Tensor:
    """Zero channels of whole sequences: one mask (B, C) for all time steps of ``x`` (T, B, C).

    ``y_tbc = x_tbc m_bc / (1 - p)``, m Bernoulli(1 - p); x itself when not training.

    Reference: Gal and Ghahramani, arXiv 1512.05287; `LockedDropout` of AWD-LSTM.
    """
    if not training or probability == 0.0:
        return x
    return x * nn.functional.dropout(torch.ones_like(x[:1]), probability, training=True)


class RecurrentStack(nn.Module):
    """Stacked unidirectional recurrent layers with locked dropout between them.

    A `RecurrentLayer` stacks layers of one size with independent dropout. Here the sizes may differ: with tied
    embeddings the last layer has the size of the embedding.

    Args:
        layers: One-layer `RecurrentLayer`s of one type, each reading the output of the one before.
        dropout: Probability in [0, 1) of zeroing a channel between layers, while training.
        weight_dropout: Probability in [0, 1) of zeroing an entry of each ``weight_hh``, one mask per call, while
            training (DropConnect).

    The state is flat, layer after layer; `state_names` are those of the layers with ``_l0``, ``_l1``, … at the end.

    Raises:
        ValueError: Layers do not fit together, or a probability is outside its range.

    Reference: Merity, Keskar, Socher, arXiv 1708.02182, sections 2 and 4.2 (weight and variational dropout).
    """

    def __init__(self, layers: Sequence[RecurrentLayer], dropout: float = 0.0, weight_dropout: float = 0.0) -> None:
        super().__init__()
        if not layers:
            raise ValueError(refuse("layers", Said("none"), "be one or more"))
        for name, value in (("dropout", dropout), ("weight_dropout", weight_dropout)):
            if not 0.0 <= value < 1.0:
                raise ValueError(refuse(name, value, "be in [0, 1)"))
        for number, layer in enumerate(layers):
            if layer.num_layers != 1 or layer.bidirectional:
                got = Said(f"{layer.num_layers} and {layer.num_directions}")
                raise ValueError(refuse(f"layers[{number}]", got, "have one layer and one direction"))
            if number and layer.input_size != layers[number - 1].output_size:
                must = f"read the {layers[number - 1].output_size} channels of the layer before"
                raise ValueError(refuse(f"layers[{number}]", layer.input_size, must))
            if weight_dropout > 0.0 and not layer.has_weight_hh:
                must = "be 0 for orthogonal cells: dropping entries breaks orthogonality"
                raise ValueError(refuse("weight_dropout", weight_dropout, must))
            layer.weight_dropout = weight_dropout
        self.layers = nn.ModuleList(layers)
        self.dropout = dropout

    def __getitem__(self, number: int) -> RecurrentLayer:
        return cast(RecurrentLayer, self.layers[number])

    def __len__(self) -> int:
        return len(self.layers)

    @property
    def recurrence(self) -> Recurrence:
        """Recurrence of every layer."""
        return self[0].recurrence

    @property
    def dynamics(self) -> Dynamics:
        """Dynamics of every layer."""
        return self[0].dynamics

    @property
    def input_size(self) -> int:
        """D of the first layer."""
        return self[0].input_size

    @property
    def hidden_size(self) -> int:
        """H of the last layer."""
        return self[-1].hidden_size

    @property
    def num_layers(self) -> int:
        """Number of layers."""
        return len(self)

    @property
    def num_directions(self) -> int:
        """Always 1."""
        return 1

    @property
    def bidirectional(self) -> bool:
        """False: a token must not be predicted from itself."""
        return False

    @property
    def bias(self) -> bool:
        """True if the layers have biases."""
        return self[0].bias

    @property
    def options(self) -> dict[str, Any]:
        """Options of the recurrence, see `RecurrentLayer.options`."""
        return self[0].options

    @property
    def backend(self) -> str:
        """The requested backend; setting it sets the backend of every layer."""
        return self[0].backend

    @backend.setter
    def backend(self, name: str) -> None:
        for number in range(len(self)):
            self[number].backend = name

    @property
    def chosen_backend(self) -> str | None:
        """The backends that ran last, joined by ``+`` where they differ between layers; None before the first run."""
        names = [self[number].chosen_backend for number in range(len(self))]
        return None if None in names else "+".join(dict.fromkeys(str(name) for name in names))

    def backend_for(self, shape: tuple[int, int, int], *, training: bool) -> str:
        """Return the backends that serve the layers, as `chosen_backend`; see `RecurrentLayer.backend_for`."""
        steps, batch, _ = shape
        layers = [self[number] for number in range(len(self))]
        names = [layer.backend_for((steps, batch, layer.input_size), training=training) for layer in layers]
        return "+".join(dict.fromkeys(names))

    @property
    def state_names(self) -> tuple[str, ...]:
        """One name for each tensor of the state: ``h_l0, c_l0, velocity_l0, k_l0, h_l1, …``."""
        return tuple(
            f"{name.removesuffix('_l0')}_l{number}" for number in range(len(self)) for name in self[number].state_names
        )

    def zero_tensors(self, batch_size: int) -> State:
        """Return the state at the start of ``batch_size`` sequences."""
        return tuple(tensor for number in range(len(self)) for tensor in self[number].zero_tensors(batch_size))

    def split_state(self, state: State | None) -> list[State | None]:
        """Return the state of each layer."""
        if state is None:
            return [None] * len(self)
        parts: list[State | None] = []
        at = 0
        for number in range(len(self)):
            count = len(self[number].state_names)
            parts.append(tuple(state[at : at + count]))
            at += count
        if at != len(state):
            raise ValueError(
                refuse("state", Said(f"{len(state)} tensors"), f"have {at} ({', '.join(self.state_names)})")
            )
        return parts

    def reset_parameters(self, init: str = "torch", forget_bias: float | None = None) -> None:
        """Initialise every layer, see `RecurrentLayer.reset_parameters`."""
        for number in range(len(self)):
            self[number].reset_parameters(init, forget_bias)

    def after_step(self) -> None:
        """Call `RecurrentLayer.after_step` of every layer."""
        for number in range(len(self)):
            self[number].after_step()

    def stream(self, batch_size: int | None = None) -> Stream:
        """Return the layers as a function that keeps its state; see `Stream`.

        Args:
            batch_size: B, or None for unbatched input.
        """
        return Stream([self[number] for number in range(len(self))], batch_size)

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Run the layers.

        Args:
            x: (T, B, D).
            state: State returned by an earlier call, or None for zeros.

        Returns:
            Output of the last layer, (T, B, H), without dropout; and the state after the last step.
        """
        after: State = ()
        for number, before in enumerate(self.split_state(state)):
            if number:
                x = locked_dropout(x, self.dropout, self.training)
            x, end = self[number].run_tensors(x, before)
            after += end
        return x, after

    def extra_repr(self) -> str:
        """Show the dropouts."""
        return f"dropout={self.dropout}, weight_dropout={self[0].weight_dropout}"
