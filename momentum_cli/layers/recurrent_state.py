"""The state of a layer whose dynamics or recurrence carries more than `torch.nn` has a place for.

Axes: B batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from momentum_cli.messages import Said, refuse


@dataclass(eq=False, repr=False)
class RecurrentState:
    """The state that a layer returns when there is more to carry than h, or h and c.

    It unpacks as in `torch.nn`, ``output, (h, c) = layer(x)``, and given back whole it continues the sequence exactly.
    Where `torch.nn` has one tensor, as for a GRU, that is ``state.h``: such a state neither unpacks nor has items.
    Every tensor is an attribute by its name, as in ``state.velocity_l0``. It is a node of PyTorch's trees of tensors
    (`torch.export`, `torch.func`), may be pickled and is loaded by `torch.load` with ``weights_only=True``.

    Args:
        tensors: All tensors in the order of ``layer.state_names``, each with the batch in dimension 1. A layer also
            takes this flat tuple for its state.
        names: Names of the tensors.
        seen: Number of tensors that the state unpacks to, >= 1.

    Raises:
        TypeError: ``names`` are missing: the tensors come from taking a state apart, and are not all there.
    """

    tensors: tuple[Tensor, ...]
    names: tuple[str, ...] = ()
    seen: int = 1

    def __post_init__(self) -> None:
        if not self.names:  # as nn.DataParallel and others rebuild a sequence from what it unpacks to
            must, remedy = "be given with their names", "pass state.tensors, which a layer takes too"
            raise TypeError(refuse("tensors of a state", Said("those that a state unpacks to"), must, remedy))

    @property
    def h(self) -> Tensor:
        """The output of every layer and direction after the last step, (L, B, H)."""
        return self._named("h")

    @property
    def c(self) -> Tensor:
        """The cell state of an LSTM, (L, B, H)."""
        return self._named("c")

    @property
    def more(self) -> tuple[Tensor, ...]:
        """The tensors that `torch.nn` has no place for."""
        return self.tensors[self.seen :]

    def _named(self, name: str) -> Tensor:
        return self.tensors[self.names.index(name)]

    def __getattr__(self, name: str) -> Tensor:
        names = self.__dict__.get("names", ())  # not set yet while a copy is made
        if name in names:
            return self._named(name)
        has = f"have one of the tensors {', '.join(names)}"
        raise AttributeError(refuse("state", Said(f"the attribute {name!r}"), has))

    def _unpacked(self) -> tuple[Tensor, ...]:
        if self.seen == 1:
            must = f"be given back whole, or read by name: state.{self.names[0]}"
            raise TypeError(refuse("state", Said(f"one taken apart, with the tensors {', '.join(self.names)}"), must))
        return self.tensors[: self.seen]

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self._unpacked())

    def __len__(self) -> int:
        return len(self._unpacked())

    def __getitem__(self, index: int) -> Tensor:
        try:
            return self._unpacked()[index]
        except IndexError:
            must = f"be below {self.seen}"
            remedy = f"read the others by name: {', '.join('state.' + name for name in self.names[self.seen :])}"
            raise IndexError(refuse("index of a state", index, must, remedy)) from None

    def map(self, function: Callable[[Tensor], Tensor]) -> RecurrentState:
        """Apply a function to every tensor, as in ``state.map(lambda tensor: tensor[:, rows])``."""
        return RecurrentState(tuple(map(function, self.tensors)), self.names, self.seen)

    def replace(self, **tensors: Tensor) -> RecurrentState:
        """Return a state with other tensors in some places, as in ``layer.zero_state(B).replace(h=h, c=c)``.

        Raises:
            ValueError: A name is not one of this state's.
        """
        if unknown := [name for name in tensors if name not in self.names]:
            raise ValueError(refuse("name of a tensor", unknown[0], f"be one of {', '.join(self.names)}"))
        together = (tensors.get(name, tensor) for name, tensor in zip(self.names, self.tensors, strict=True))
        return RecurrentState(tuple(together), self.names, self.seen)

    def detach(self) -> RecurrentState:
        """Return the state without its graph, for truncated back-propagation."""
        return self.map(torch.Tensor.detach)

    def clone(self) -> RecurrentState:
        """Return a copy."""
        return self.map(torch.Tensor.clone)

    def to(self, *args: Any, **kwargs: Any) -> RecurrentState:
        """Return the state on another device or in another floating-point dtype, with the arguments of `nn.Module.to`.

        Step numbers keep their dtype.
        """
        device, dtype, non_blocking, _ = torch._C._nn._parse_to(*args, **kwargs)

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device, dtype if tensor.is_floating_point() else None, non_blocking)

        return self.map(move)

    def cpu(self) -> RecurrentState:
        """Return the state in the memory of the CPU."""
        return self.to("cpu")

    def cuda(self, device: torch.device | int | None = None) -> RecurrentState:
        """Return the state on a GPU, the current one by default."""
        return self.to(torch.device("cuda", torch.cuda.current_device()) if device is None else device)

    def __repr__(self) -> str:
        shapes = (f"{name}={tuple(tensor.shape)}" for name, tensor in zip(self.names, self.tensors, strict=True))
        return f"RecurrentState({', '.join(shapes)})"


def _flatten(state: RecurrentState) -> tuple[list[Tensor], tuple[tuple[str, ...], int]]:
    return list(state.tensors), (state.names, state.seen)


def _flatten_with_keys(state: RecurrentState) -> tuple[list[tuple[Any, Tensor]], tuple[tuple[str, ...], int]]:
    keyed = [(pytree.GetAttrKey(name), tensor) for name, tensor in zip(state.names, state.tensors, strict=True)]
    return keyed, (state.names, state.seen)


def _unflatten(tensors: Any, context: tuple[Any, int]) -> RecurrentState:
    names, seen = context
    return RecurrentState(tuple(tensors), tuple(names), seen)


pytree.register_pytree_node(
    RecurrentState,
    _flatten,
    _unflatten,
    serialized_type_name="momentum_cli.RecurrentState",
    to_dumpable_context=list,
    from_dumpable_context=lambda dumped: (tuple(dumped[0]), dumped[1]),
    flatten_with_keys_fn=_flatten_with_keys,
)
torch.serialization.add_safe_globals([RecurrentState])
