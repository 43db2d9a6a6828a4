"""A model whose time loop is PyTorch's scan operator, which `torch.export` keeps for any length.

Its body is the projection, dynamics and recurrence of one step, from the same functions as everywhere else. It is
slower than the layers, and made only for export.

Axes: T time, B batch, D input, H hidden, G gates * H.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from momentum_cli.dynamics.filter import Filter
from momentum_cli.formats.bundle import Bundle
from momentum_cli.formats.weights import plain_weights, suffixes
from momentum_cli.layers.state import part, whole
from momentum_cli.models.sequence import SequenceModel

Carry = list[Tensor]


class ScanModel(nn.Module):
    """A model for `torch.export`, with the same parameters in buffers.

    Args:
        model: The model to compute.
        bundle: Names of the state, if stateful.
    """

    def __init__(self, model: SequenceModel, bundle: Bundle) -> None:
        super().__init__()
        layer = model.layer
        self.head = model.head
        self.every = model.output == "every"
        self.directions = layer.num_directions
        self.dynamics, self.recurrence = layer.dynamics, layer.recurrence
        self.hidden_size, self.bias = layer.hidden_size, layer.bias
        self.places, self.states = layer.layout.places, len(layer.state_names)
        form = layer.dynamics.form
        self.filters = isinstance(form, Filter)
        self.extends = self.bias and isinstance(form, Filter) and not form.is_identity
        self.names = list(bundle.state_names)
        self.suffixes = suffixes(layer)
        self.forward = named_forward(self.run, self.names)
        for directions in self.suffixes:
            for suffix in directions:
                for name, tensor in plain_weights(layer, suffix)._asdict().items():
                    # Not a buffer that is None, because torch.export would expect it.
                    if tensor is None:
                        setattr(self, name + suffix, None)
                    else:
                        self.register_buffer(name + suffix, tensor.clone())

    def run(self, inputs: Tensor, **state: Tensor) -> dict[str, Tensor]:
        """Return ``outputs`` and, when ``state_in_…`` are given, ``state_out_…``.

        Args:
            inputs: (B, T, D).
            state: The tensors of the bundle, by the names of the inputs.
        """
        x = inputs.transpose(0, 1)
        before = [state[f"state_in_{name}"] for name in self.names]
        ends: list[Carry] = []
        for layer, directions in enumerate(self.suffixes):
            outputs = []
            for backward, suffix in enumerate(directions):
                index = layer * self.directions + backward
                source = x.flip(0) if backward else x
                # Copies, because the offset of a view depends on the batch size and would fix it.
                own = [s.clone() for s in part(before, self.places[index])] if before else self._zeros(source, suffix)
                carry, output = self._scan(source, suffix, own)
                outputs.append(output.flip(0) if backward else output)
                ends.append(carry)
            x = torch.cat(outputs, 2) if len(outputs) > 1 else outputs[0]
        last = [end[0] for end in ends[-self.directions :]]
        read = x.transpose(0, 1) if self.every else torch.cat(last, 1)
        result = {"outputs": self.head(read)}
        if before:
            after = whole(ends, self.places, self.states)
            result |= {f"state_out_{name}": tensor for name, tensor in zip(self.names, after, strict=True)}
        return result

    def _scan(self, x: Tensor, suffix: str, carry: Carry) -> tuple[Carry, Tensor]:
        weights = [getattr(self, name + suffix) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        weight_ih, weight_hh, bias_ih, bias_hh = weights
        dynamics, recurrence, filters = self.dynamics, self.recurrence, self.filters
        recurrent = len(recurrence.state_names)
        if self.extends:
            x = nn.functional.pad(x, (0, 1), value=1.0)
        batch, hidden = x.shape[1], weight_hh.shape[1]

        def step(before: Carry, x_t: Tensor) -> tuple[Carry, Tensor]:
            state, drive = tuple(before[:recurrent]), tuple(before[recurrent:])
            if filters:
                y, drive = dynamics.step(x_t, drive)
                d = linear(y, weight_ih, bias_ih)
            else:
                d, drive = dynamics.step(linear(x_t, weight_ih, bias_ih), drive)
            state = recurrence.step(d, state, weight_hh, bias_hh)
            # The operator forbids that two of its results are the same tensor. Inductor can size its results only by
            # numbers that reach the step, as the batch size does here.
            output = state[0].clone().view(batch, hidden)
            return [*state, *(tensor.clone() for tensor in drive)], output

        return _operator()(step, carry, x, dim=0)  # type: ignore[no-any-return]

    def _zeros(self, x: Tensor, suffix: str) -> Carry:
        batch = x.shape[1]
        carry = list(self.recurrence.init(x.transpose(0, 1), self.hidden_size))
        width = getattr(self, "weight_ih" + suffix).shape[1 if self.filters else 0]
        for name in self.dynamics.state_names:
            carry.append(
                torch.zeros(batch, dtype=torch.int64, device=x.device) if name == "k" else x.new_zeros(batch, width)
            )
        return carry


def named_forward(run: Callable[..., dict[str, Tensor]], names: list[str]) -> Callable[..., dict[str, Tensor]]:
    """Return ``run`` with one named parameter for each state, because torch.export names inputs after parameters."""
    listed = ["inputs", *(f"state_in_{name}" for name in names)]
    signature = inspect.Signature([inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in listed])

    def forward(*args: Tensor, **kwargs: Tensor) -> dict[str, Tensor]:
        return run(**signature.bind(*args, **kwargs).arguments)

    forward.__signature__ = signature  # type: ignore[attr-defined]
    return forward


def _operator() -> Callable[..., Any]:
    # Not public yet, but the documentation of torch.export recommends it for loops of dynamic length.
    from torch._higher_order_ops.scan import scan

    return scan
