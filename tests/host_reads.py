"""Counts the places where the host reads a number of a tensor, at which it would wait for a card."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

# Their result is a number of Python, or has a size that only the numbers tell.
READS = {
    torch.ops.aten._local_scalar_dense.default,
    torch.ops.aten.equal.default,
    torch.ops.aten.is_nonzero.default,
    torch.ops.aten.item.default,
    torch.ops.aten.nonzero.default,
    torch.ops.aten.masked_select.default,
    torch.ops.aten._unique2.default,
}


class HostReads(TorchDispatchMode):
    """Collects the reads made inside it.

    Integers are left out: sizes, indices and lengths are on the CPU whatever the device is (`momentum_cli.data`).

    Attributes:
        found: Name and dtype of each.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in READS and args[0].dtype is not torch.int64:
            self.found.append(f"{func} of {args[0].dtype}")
        return func(*args, **(kwargs or {}))


def reads(work: Callable[[], Any]) -> list[str]:
    """Return the reads of a call."""
    with HostReads() as mode:
        work()
    return mode.found
