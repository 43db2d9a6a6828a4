"""A model whose time loop is the scan operator of PyTorch, which `torch.export` keeps at any length.

Projection, dynamics and recurrence of one step are its body, written from the same steps as everywhere else. It is
slower than the layers, and made for export alone.

Axes: T time, B batch, D input, H hidden, G gates * H.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from momentum_cli.export.bundle import Bundle
from momentum_cli.export.weights import plain_weights, suffixes
from momentum_cli.models.sequence import SequenceModel

Carry = list[Tensor]


class ScanModel(nn.Module):
    """A model for `torch.export`, with the same parameters in buffers.

    Args:
        model: What it computes.
        bundle: Names of the state, when it is stateful.
    """

    def __init__(self, model: SequenceModel, bundle: Bundle) -> None:
        super().__init__()
        layer = model.layer
        self.head = model.head
        self.every = model.output == "every"
        self.directions = layer.num_directions
        self.dynamics, self.recurrence = layer.dynamics, layer.recurrence
        self.hidden_size, self.bias = layer.hidden_size, layer.bias
        self.counted = "k" in layer.dynamics.state_names
        self.names = list(bundle.state_names)
        self.suffixes = suffixes(layer)
        self.forward = named_forward(self.run, self.names)
        for directions in self.suffixes:
            for suffix in directions:
                for name, tensor in plain_weights(layer, suffix)._asdict().items():
                    # Not a buffer that is None: torch.export would count it among those it looks for.
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
        recurrent = len(self.recurrence.state_names)
        ends: list[Carry] = []
        drives: list[Carry] = []
        for layer, directions in enumerate(self.suffixes):
            outputs = []
            for backward, suffix in enumerate(directions):
                index = layer * self.directions + backward
                source = x.flip(0) if backward else x
                if before:
                    drive = self._drive(before[recurrent:], layer, index)
                    # Copies, because the place of a view in its tensor depends on the batch size and would fix it.
                    carry = [s.clone() for s in (*(s[index] for s in before[:recurrent]), *drive)]
                else:
                    carry = self._zeros(source, suffix)
                carry, output = self._scan(source, suffix, carry)
                outputs.append(output.flip(0) if backward else output)
                ends.append(carry[:recurrent])
                drives.append(carry[recurrent:])
            x = torch.cat(outputs, 2) if len(outputs) > 1 else outputs[0]
        last = [end[0] for end in ends[-self.directions :]]
        read = x.transpose(0, 1) if self.every else torch.cat(last, 1)
        result = {"outputs": self.head(read)}
        if before:
            after = [torch.stack(tensors) for tensors in zip(*ends, strict=True)] + self._collect(drives)
            result |= {f"state_out_{name}": tensor for name, tensor in zip(self.names, after, strict=True)}
        return result

    def _scan(self, x: Tensor, suffix: str, carry: Carry) -> tuple[Carry, Tensor]:
        weights = [getattr(self, name + suffix) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        weight_ih, weight_hh, bias_ih, bias_hh = weights
        dynamics, recurrence = self.dynamics, self.recurrence
        recurrent = len(recurrence.state_names)
        if self._extends() and self.bias:
            x = nn.functional.pad(x, (0, 1), value=1.0)
        batch, hidden = x.shape[1], weight_hh.shape[1]

        def step(before: Carry, x_t: Tensor) -> tuple[Carry, Tensor]:
            state, drive = tuple(before[:recurrent]), tuple(before[recurrent:])
            if dynamics.linear:
                y, drive = dynamics.step(x_t, drive)
                d = linear(y, weight_ih, bias_ih)
            else:
                d, drive = dynamics.step(linear(x_t, weight_ih, bias_ih), drive)
            state = recurrence.step(d, state, weight_hh, bias_hh)
            # The operator forbids that two of its results are one tensor. Inductor can only size its results by what
            # reaches the step as a number, which the batch does here.
            output = state[0].clone().view(batch, hidden)
            return [*state, *(tensor.clone() for tensor in drive)], output

        return _operator()(step, carry, x, dim=0)  # type: ignore[no-any-return]

    def _extends(self) -> bool:
        return self.dynamics.linear and bool(self.dynamics.state_names)

    def _zeros(self, x: Tensor, suffix: str) -> Carry:
        batch = x.shape[1]
        carry = list(self.recurrence.init(x.transpose(0, 1), self.hidden_size))
        width = getattr(self, "weight_ih" + suffix).shape[1 if self.dynamics.linear else 0]
        for name in self.dynamics.state_names:
            carry.append(
                torch.zeros(batch, dtype=torch.int64, device=x.device) if name == "k" else x.new_zeros(batch, width)
            )
        return carry

    def _drive(self, state: Carry, layer: int, index: int) -> Carry:
        """As `RecurrentLayer._drive` in one direction: the state of a linear dynamics has one tensor a layer."""
        if not self._extends():
            return [s[index] for s in state]
        return [state[layer][0], *([state[-1][0]] if self.counted else [])]

    def _collect(self, drives: list[Carry]) -> list[Tensor]:
        if not self._extends():
            return [torch.stack(tensors) for tensors in zip(*drives, strict=True)]
        velocities = [drive[0].unsqueeze(0) for drive in drives]
        return velocities + ([drives[0][1].unsqueeze(0)] if self.counted else [])


def named_forward(run: Callable[..., dict[str, Tensor]], names: list[str]) -> Callable[..., dict[str, Tensor]]:
    """Return ``run`` with one parameter for each state by its name: torch.export names inputs after parameters."""
    listed = ["inputs", *(f"state_in_{name}" for name in names)]
    signature = inspect.Signature([inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in listed])

    def forward(*args: Tensor, **kwargs: Tensor) -> dict[str, Tensor]:
        return run(**signature.bind(*args, **kwargs).arguments)

    forward.__signature__ = signature  # type: ignore[attr-defined]
    return forward


def _operator() -> Callable[..., Any]:
    # Not public yet, but what the documentation of torch.export names for loops of dynamic length.
    from torch._higher_order_ops.scan import scan

    return scan
