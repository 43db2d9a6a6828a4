"""Layers that run step by step and keep their state: for sensors, generated text and other streams.

Axes: T time, B batch, D input, H hidden.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor

from momentum_cli.dynamics.state import State
from momentum_cli.kernels.backend import Weights, Work
from momentum_cli.kernels.fused import run as fused
from momentum_cli.kernels.fused.session import Session
from momentum_cli.layers.state import LayerState, StateLayout, part, whole
from momentum_cli.messages import Said, refuse


class Streamed(Protocol):
    """The interface of a `RecurrentLayer` that a stream uses."""

    num_layers: int
    batch_first: bool
    bidirectional: bool
    dropout: float
    weight_dropout: float
    backend: str
    training: bool

    @property
    def layout(self) -> StateLayout:
        """The tensors of the state."""
        ...

    def train(self, mode: bool = True) -> object:
        """Set the mode, as `torch.nn.Module.train`."""
        ...

    def tensor(self, name: str) -> Tensor:
        """Return a parameter."""
        ...

    def work(self, device: torch.device, dtype: torch.dtype) -> Work:
        """Return what a backend must be able to run."""
        ...

    def all_layers(self, dtype: torch.dtype) -> list[Weights]:
        """Return the parameters of each layer and direction."""
        ...

    def run_tensors(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Run the layer on (T, B, D)."""
        ...


class Stream:
    """Layers in inference that keep their state from call to call.

    Where the C++ kernel serves the layers, their weights are packed once, so later changes of the parameters do not
    reach the stream, and a call is one call of the library. Elsewhere (CUDA, bfloat16, another backend asked for by
    name) each call runs the layers. Outputs are those of the layers without dropout, however the sequence is cut; they
    have no gradients. One thread at a time may use a stream.

    Args:
        layers: Layers in one direction, each reading the outputs of the one before.
        batch_size: B, >= 1, or None for unbatched input.
        layout: Layout of the one layer whose form the state has, or None for the flat tuple of several layers.

    Raises:
        ValueError: A layer is bidirectional, or ``batch_size`` is not an integer >= 1.
    """

    def __init__(
        self, layers: Sequence[Streamed], batch_size: int | None = None, layout: StateLayout | None = None
    ) -> None:
        if any(layer.bidirectional for layer in layers):
            raise ValueError("a bidirectional layer reads its sequence backwards too, so it cannot run as a stream")
        if batch_size is not None and (
            isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1
        ):
            raise ValueError(refuse("batch_size", batch_size, "be an integer >= 1, or None for unbatched input"))
        self._layers, self._layout = layers, layout
        self._batched, self._batch = batch_size is not None, batch_size or 1
        self._first = layers[0].tensor("weight_ih_l0")
        self._session = _session(layers, self._batch)
        self._state: list[State] | None = None  # of each layer where there is no session

    @property
    def backend(self) -> str:
        """``"fused"`` where the C++ kernel runs with packed weights, else ``"layer"``."""
        return "layer" if self._session is None else "fused"

    def __call__(self, x: Tensor) -> Tensor:
        """Advance by the steps of x.

        Args:
            x: (T, B, D), or (B, T, D) for a layer with ``batch_first``, or (T, D) unbatched; T >= 1.

        Returns:
            Outputs of the last layer at each step, shaped as x, with H channels.

        Raises:
            ValueError: The shape, dtype or device of x is wrong.
        """
        dimensions = 3 if self._batched else 2
        if x.dim() != dimensions:
            raise ValueError(refuse("input", Said(f"{x.dim()} dimensions"), f"have {dimensions}"))
        if not self._batched:
            return self._run(x.unsqueeze(1)).squeeze(1)
        if self._layers[0].batch_first:
            return self._run(x.transpose(0, 1)).transpose(0, 1)
        return self._run(x)

    def step(self, x: Tensor) -> Tensor:
        """Advance by one step.

        Args:
            x: (B, D), or (D,) unbatched.

        Returns:
            Output of the last layer, (B, H), or (H,) unbatched.

        Raises:
            ValueError: The shape, dtype or device of x is wrong.
        """
        dimensions = 2 if self._batched else 1
        if x.dim() != dimensions:
            raise ValueError(refuse("input", Said(f"{x.dim()} dimensions"), f"have {dimensions}"))
        if self._batched:
            return self._run(x[None])[0]
        return self._run(x[None, None])[0, 0]

    @property
    def tensors(self) -> State:
        """The tensors of `state`, layer after layer."""
        if self._session is None:
            parts = self._state or [layer.layout.zeros(self._batch, self._first) for layer in self._layers]
            flat = tuple(tensor.clone() for state in parts for tensor in state)
        else:
            of_layers, flat = self._session.state, ()
            for layer in self._layers:
                own, of_layers = of_layers[: layer.num_layers], of_layers[layer.num_layers :]
                layout = layer.layout
                flat += tuple(whole([list(state) for state in own], layout.places, len(layout.names)))
        return flat if self._batched else tuple(tensor.squeeze(1) for tensor in flat)

    @property
    def state(self) -> LayerState:
        """A copy of the state, as the layers return it; setting it continues from there (None: from the start)."""
        return self.tensors if self._layout is None else self._layout.returned(self.tensors)

    @state.setter
    def state(self, state: LayerState | None) -> None:
        parts: list[State] = []
        given = None if state is None else tuple(state) if self._layout is None else self._layout.flat(state)
        for number, layer in enumerate(self._layers):
            layout = layer.layout
            if given is None:
                parts.append(layout.zeros(self._batch, self._first))
                continue
            last = number == len(self._layers) - 1
            own, given = (given, ()) if last else (given[: len(layout.names)], given[len(layout.names) :])
            x = self._first.new_empty((1, self._batch, 0))
            checked = layout.checked(layout.flat(own), x, self._batched, self._first.dtype)
            parts.append(tuple(tensor.detach().clone() for tensor in checked))
        if self._session is None:
            self._state = parts
            return
        self._session.set_state(
            [
                tuple(part(list(state), places))
                for layer, state in zip(self._layers, parts, strict=True)
                for places in layer.layout.places
            ]
        )

    def reset(self) -> None:
        """Go back to the start of a sequence."""
        self.state = None

    def _run(self, x: Tensor) -> Tensor:
        if self._session is not None:
            return self._session.run(x)
        before: list[State] | list[None] = self._state or [None] * len(self._layers)
        after = []
        with torch.no_grad():
            for layer, state in zip(self._layers, before, strict=True):
                with _evaluated(layer):
                    x, end = layer.run_tensors(x, state)
                after.append(end)
        self._state = after
        return x


@contextmanager
def _evaluated(layer: Streamed) -> Iterator[None]:
    """Put a layer into evaluation mode: dropout is for training."""
    mode = layer.training
    layer.train(False)
    try:
        yield
    finally:
        layer.train(mode)


def _session(layers: Sequence[Streamed], batch: int) -> Session | None:
    first = layers[0].tensor("weight_ih_l0")
    able = first.device.type == "cpu" and first.dtype in (torch.float32, torch.float64)
    work = [layer.work(first.device, first.dtype) for layer in layers]
    if not able or any(layer.backend not in ("auto", "fused") for layer in layers):
        return None
    if any(fused.supports(one) is not None for one in work):
        return None
    weights, sizes = [], []
    for layer in layers:
        layout = layer.layout
        sizes += [(size, layout.hidden_size) for size in layout.input_sizes]
        with _evaluated(layer):
            weights += layer.all_layers(first.dtype)
    return Session(work[0].recurrence, work[0].dynamics, weights, sizes, batch)
