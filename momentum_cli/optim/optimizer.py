"""The base of the optimizers here: closures, checks, state, and tensors taken in blocks for multi-tensor calls.

An optimizer states its formula once, over lists of tensors (`momentum_cli.optim.multi_tensor`). ``foreach`` decides
the length of the lists: all tensors of a device and dtype (one kernel launch for many tensors), cache-sized runs of
them on a CPU, or one tensor at a time.

State is flat: tensors only, with scalars as 0-d tensors on the device, so that a step never waits for the device.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, overload

import torch
from torch import Tensor

from momentum_cli.messages import Said, refuse, unknown
from momentum_cli.optim.multi_tensor import kernel_serves, wide_dtype
from momentum_cli.optim.options import shared_parameters, whole_signature

Group = dict[str, Any]
Params = Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]

# A CPU runs a multi-tensor call as a loop, so all tensors in one call would stream through memory once per operation.
# Runs of about this many elements stay in the cache from one operation to the next.
CPU_BLOCK_ELEMENTS = 1 << 19


@dataclass(frozen=True)
class Block:
    """Tensors that go through multi-tensor calls together: one device, one dtype.

    Args:
        params: Parameters.
        grads: Their gradients: negated for ``maximize``, coupled weight decay added.
        states: Their states.
    """

    params: list[Tensor]
    grads: list[Tensor]
    states: list[dict[str, Any]]

    def state(self, key: str) -> list[Tensor]:
        """Return one entry of every state."""
        return [state[key] for state in self.states]

    def with_decay(self, updates: list[Tensor], group: Group) -> list[Tensor]:
        """Return the updates with decoupled weight decay, u + λ x, or the updates themselves without it."""
        decay = decoupled_decay(group)
        return list(torch._foreach_add(updates, self.params, alpha=decay)) if decay else updates


def decoupled_decay(group: Group) -> float:
    """Return λ of a group whose weight decay is decoupled, else 0."""
    return float(group["weight_decay"]) if group["decoupled_weight_decay"] else 0.0


SCOPES = ("global", "tensor")
"""Scope of a norm: all tensors of all groups with that scope, or each tensor."""

Work = list[tuple[Group, list[Block]]]


class MultiTensorOptimizer(torch.optim.Optimizer, ABC):
    """An optimizer as a formula over blocks of tensors.

    A subclass passes its own options to this constructor by name, and those that it shares with others
    (`momentum_cli.optim.options`) as ``**options``; these have defaults.

    Args:
        params: Parameters, named parameters or parameter groups.
        options: Defaults for all groups, among them ``lr``, ``weight_decay`` and ``decoupled_weight_decay``.

    Raises:
        TypeError: An option is unknown.
        ValueError: An option of a group is outside its range.
    """

    first_state: ClassVar[str]
    """A key that `_new_state` puts into the state of every parameter."""

    diagnostic_names: ClassVar[tuple[str, ...]] = ()
    """Keys of `diagnostics` from the first step on, known beforehand for the columns of a log."""

    in_kernel: ClassVar[bool] = False
    """True if `momentum_cli.kernels.fused.update` has the step: it goes through memory once, so nothing has to stay in
    the cache between two calls, and few calls are better than many."""

    wide_state: ClassVar[frozenset[str]] = frozenset()
    """Names of tensors in the state that do not have the dtype of their parameter."""

    _shared: ClassVar[dict[str, Any]] = {}  # defaults of those in **options
    __signature__: ClassVar[inspect.Signature]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        shared = shared_parameters(cls.__init__)
        cls._shared = {parameter.name: parameter.default for parameter in shared}
        cls.__signature__ = whole_signature(cls.__init__, shared)

    def __init__(self, params: Params, **options: Any) -> None:
        # A class may fix its weight decay and not offer it as an option.
        names = {*self.__signature__.parameters, "weight_decay", "decoupled_weight_decay"} - {"params"}
        for name in options.keys() - names:
            raise TypeError(unknown("option", name, sorted(names), type(self).__name__))
        super().__init__(params, {**self._shared, **options})

    @abstractmethod
    def _check(self, group: Group) -> None:
        """Raise a ValueError if an option that this optimizer adds is outside its range."""

    @abstractmethod
    def _new_state(self, group: Group, param: Tensor, grad: Tensor) -> dict[str, Tensor]:
        """Return the state of a parameter at its first gradient."""

    @abstractmethod
    def _apply(self, work: Work) -> None:
        """Make the step."""

    def diagnostics(self) -> dict[str, Tensor]:
        """Return quantities worth plotting next to the loss, such as ``beta``: 0-d tensors by name, {} before a step.

        It does not wait for the device; reading the value of a tensor does.
        """
        return {}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters with its own options.

        Raises:
            ValueError: An option is outside its range.
        """
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        try:
            # A rate in a tensor is changed in place by a schedule or a CUDA graph; reading it waits for the device.
            if not isinstance(group["lr"], Tensor):
                require("lr", group["lr"], group["lr"] >= 0, ">= 0")
            require("weight_decay", group["weight_decay"], group["weight_decay"] >= 0, ">= 0")
            self._check(group)
        except ValueError:
            self.param_groups.pop()
            raise

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Make one step.

        Args:
            closure: Computes the loss and its gradients again; called once, with gradients enabled.

        Returns:
            The result of the closure.

        Raises:
            RuntimeError: A gradient is sparse or complex.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._apply([(group, self._blocks(group)) for group in self.param_groups])
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the result of `state_dict`; the next step is the one that would have followed.

        Scalars and `wide_state` keep their dtype; torch would round them to the dtype of the parameter.

        Raises:
            ValueError: The number of groups or parameters, or a shape, differs.
        """
        indices = [index for group in state_dict["param_groups"] for index in group["params"]]
        params = [param for group in self.param_groups for param in group["params"]]
        for index, param in zip(indices, params, strict=False):  # torch refuses another number
            value = state_dict["state"].get(index, {}).get(self.first_state)
            if value is not None and self.first_state not in self.wide_state and value.shape != param.shape:
                raise ValueError(
                    refuse(
                        f"the state {self.first_state!r} of parameter {index}",
                        Said(tuple(value.shape)),
                        f"have the shape of the parameter, {tuple(param.shape)}",
                    )
                )
        super().load_state_dict(state_dict)
        for index, param in zip(indices, params, strict=True):
            for key, value in state_dict["state"].get(index, {}).items():
                if isinstance(value, Tensor) and (key in self.wide_state or value.dim() == 0 < param.dim()):
                    self.state[param][key] = value.detach().to(param.device, copy=True)

    def _mean_of(self, name: str) -> dict[str, Tensor]:
        """Return the mean of a scalar over the states that have it."""
        found = [state[name] for state in self.state.values() if name in state]
        return {name: torch.stack([value.to(found[0]) for value in found]).mean()} if found else {}

    def _count(self, group: Group) -> Tensor:
        """Return the number of this step of a group, from 1: a 0-d tensor, to be called once per step."""
        return shared_scalar(self, group["params"][0], "step").add_(1)

    def _blocks(self, group: Group) -> list[Block]:
        # A tensor without elements has nothing to update, and no largest element.
        params = [param for param in group["params"] if param.grad is not None and param.numel()]
        for param in params:
            grad = param.grad
            if grad is not None and (grad.layout is not torch.strided or grad.dtype.is_complex):
                self._refuse(grad)
        blocks = []
        for run in self._runs(params, group["foreach"] is not False):
            grads = [param.grad for param in run if param.grad is not None]
            if group["maximize"]:
                grads = list(torch._foreach_neg(grads))
            if group["weight_decay"] != 0 and not group["decoupled_weight_decay"]:
                grads = list(torch._foreach_add(grads, run, alpha=group["weight_decay"]))
            states = [self.state[param] for param in run]
            for param, grad, state in zip(run, grads, states, strict=True):
                # A parameter may hold scalars of its group before its first gradient.
                if self.first_state not in state:
                    state.update(self._new_state(group, param, grad))
            blocks.append(Block(run, grads, states))
        return blocks

    def _runs(self, params: Sequence[Tensor], foreach: bool) -> list[list[Tensor]]:
        """Split parameters into the lists of multi-tensor calls."""
        if not foreach:
            return [[param] for param in params]
        alike: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
        for param in params:
            alike.setdefault((param.device, param.dtype), []).append(param)
        runs = []
        for same in alike.values():
            whole = not same[0].is_cpu or (self.in_kernel and kernel_serves(same))
            runs += [same] if whole else _cached_runs(same)
        return runs

    def _refuse(self, grad: Tensor) -> None:
        what = "a complex" if grad.is_complex() else f"a {grad.layout}"
        raise RuntimeError(
            refuse(
                f"the gradients of {type(self).__name__}",
                Said(f"{what} one of shape {tuple(grad.shape)}"),
                "be dense and real",
                "use sparse=False in an embedding, and torch.view_as_real for complex parameters",
            )
        )


def require(name: str, value: object, condition: bool, allowed: str) -> None:
    """Check an option.

    Raises:
        ValueError: The condition does not hold.
    """
    if not condition:
        raise ValueError(refuse(name, value, f"be {allowed}"))


def shared_scalar(optimizer: torch.optim.Optimizer, param: Tensor, name: str, initial: float = 0.0) -> Tensor:
    """Return a 0-d tensor that belongs to many parameters and is kept in the state of one of them.

    Args:
        optimizer: The optimizer with the state.
        param: The parameter, usually the first of its group; it needs no gradient.
        name: Key in its state.
        initial: Initial value.

    Returns:
        float64 for a float64 parameter, else float32, on the parameter's device.
    """
    state: dict[str, Tensor] = optimizer.state[param]
    if name not in state:
        state[name] = torch.full((), initial, dtype=wide_dtype(param), device=param.device)
    return state[name]


def global_scalar(optimizer: torch.optim.Optimizer, name: str) -> Tensor:
    """Return the 0-d tensor that all groups of scope "global" share; there must be at least one."""
    groups = optimizer.param_groups
    first = next(param for group in groups if group["scope"] == "global" for param in group["params"])
    return shared_scalar(optimizer, first, name)


def _cached_runs(params: list[Tensor]) -> list[list[Tensor]]:
    """Split parameters into runs that stay in the cache."""
    runs: list[list[Tensor]] = []
    elements = 0
    for param in params:
        size = param.numel()
        if not runs or elements + size > CPU_BLOCK_ELEMENTS:
            runs.append([])
            elements = 0
        runs[-1].append(param)
        elements += size
    return runs
