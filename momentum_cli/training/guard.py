"""Optimizer steps that take effect only if loss and gradient are finite.

On the CPU, where reading a number is free, the numbers are read first and a step that is not finite is skipped. With a
card, reading would make the host wait at every step and leave the card idle afterwards, so the step is made, and a mask
undoes it. Both give identical bits.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from momentum_cli.dynamics.state import State
from momentum_cli.layers.orthogonal_matrix import Orthogonal

Optimizer = torch.optim.Optimizer


class Guard(Protocol):
    """Makes a step take effect only if its numbers are finite.

    Attributes:
        reads: True if every step reads a number, so that the host waits for the device anyway.
    """

    reads: bool

    def step(self, make: Callable[[], None], finite: Tensor, optimizer: Optimizer, others: Iterable[Tensor]) -> None:
        """Make a step, or leave everything unchanged.

        Args:
            make: Changes parameters, the state of the optimizer, and ``others`` in place.
            finite: 0-d bool.
            optimizer: Its parameters and state stay unchanged if ``finite`` is False.
            others: Further tensors that stay unchanged then.
        """

    def carried(self, new: list[State], old: list[State], finite: Tensor) -> list[State]:
        """Return the state of each part of a step, or the old one if ``finite`` is False; () is the zero state."""


class LookFirst:
    """Reads first whether the numbers are finite, and skips the step if not."""

    reads = True

    def step(self, make: Callable[[], None], finite: Tensor, optimizer: Optimizer, others: Iterable[Tensor]) -> None:
        """See `Guard.step`."""
        if finite:
            make()

    def carried(self, new: list[State], old: list[State], finite: Tensor) -> list[State]:
        """See `Guard.carried`."""
        return new if finite else old


class TakeBack:
    """Makes the step, and undoes it by a mask if the numbers were not finite, without reading them.

    They are read only after a step in which the optimizer created state, usually the first one, or if it keeps numbers
    in Python or on the host, as some optimizers of other packages do: a mask reaches none of these.
    """

    reads = False

    @torch.no_grad()
    def step(self, make: Callable[[], None], finite: Tensor, optimizer: Optimizer, others: Iterable[Tensor]) -> None:
        """See `Guard.step`."""
        _count_on_device(optimizer)
        if any(_counts_elsewhere(param, state) for param, state in optimizer.state.items()):
            LookFirst().step(make, finite, optimizer, others)
            return
        params = [param for group in optimizer.param_groups for param in group["params"]]
        kept = [(tensor.detach(), None, "") for tensor in (*params, *others)]
        kept += [
            (value, state, key)
            for state in optimizer.state.values()
            for key, value in state.items()
            if isinstance(value, Tensor)
        ]
        in_python = _in_python(optimizer)
        copies = _copies([tensor for tensor, _, _ in kept])
        make()
        for (tensor, state, key), copied in zip(kept, copies, strict=True):
            if state is None or state[key] is tensor:
                torch.where(finite, tensor, copied, out=tensor)
            else:
                state[key] = torch.where(finite, state[key], copied)
        if _in_python(optimizer) != in_python and not finite:
            _put_back(optimizer, *in_python)

    def carried(self, new: list[State], old: list[State], finite: Tensor) -> list[State]:
        """See `Guard.carried`."""
        before = old or [tuple(map(torch.zeros_like, part)) for part in new]
        return [
            tuple(torch.where(finite, *pair) for pair in zip(*parts, strict=True))
            for parts in zip(new, before, strict=True)
        ]


def guard_for(device: torch.device, model: nn.Module) -> Guard:
    """Return the guard that makes the host wait least: where a model makes it wait in every step, it looks first."""
    waits = any(isinstance(module, Orthogonal) and module.waits for module in model.modules())
    return LookFirst() if device.type == "cpu" or waits else TakeBack()


_TENSOR = "tensor"
_InPython = tuple[dict[Any, dict[str, Any]], list[dict[str, Any]]]


def _in_python(optimizer: Optimizer) -> _InPython:
    """Return the state of each parameter, with a word in place of each tensor, and the numbers of each group."""
    states = {
        param: {key: _TENSOR if isinstance(value, Tensor) else copy.deepcopy(value) for key, value in state.items()}
        for param, state in optimizer.state.items()
    }
    groups = [
        {key: value for key, value in group.items() if isinstance(value, int | float)}
        for group in optimizer.param_groups
    ]
    return states, groups


def _put_back(optimizer: Optimizer, states: dict[Any, dict[str, Any]], groups: list[dict[str, Any]]) -> None:
    """Restore what `_in_python` returned for an optimizer."""
    for param in [param for param in optimizer.state if param not in states]:
        del optimizer.state[param]
    for param, values in states.items():
        state = optimizer.state[param]
        for key in [key for key in state if key not in values]:
            del state[key]
        state.update({key: value for key, value in values.items() if value is not _TENSOR})
    for group, numbers in zip(optimizer.param_groups, groups, strict=True):
        group.update(numbers)


def _copies(tensors: list[Tensor]) -> list[Tensor]:
    """Return copies, made in one launch for all tensors of a dtype."""
    copies = [torch.empty_like(tensor) for tensor in tensors]
    for dtype in {tensor.dtype for tensor in tensors}:
        pairs = [(copy, tensor) for copy, tensor in zip(copies, tensors, strict=True) if tensor.dtype is dtype]
        torch._foreach_copy_([copy for copy, _ in pairs], [tensor for _, tensor in pairs])
    return copies


def _counts_elsewhere(param: Tensor, state: dict[str, Any]) -> bool:
    """Return True if a tensor of a state is not on the device of its parameter."""
    return any(isinstance(value, Tensor) and value.device != param.device for value in state.values())


def _count_on_device(optimizer: Optimizer) -> None:
    """Make torch's optimizers count steps on the device of the parameters: a mask on the card cannot reach the host."""
    for group in optimizer.param_groups:
        if group.get("capturable") is not False or group.get("fused") or group["params"][0].device.type == "cpu":
            continue
        group["capturable"] = True
        for param in group["params"]:
            state = optimizer.state.get(param, {})
            if isinstance(state.get("step"), Tensor):
                state["step"] = state["step"].to(param.device)
