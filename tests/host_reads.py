"""Counts the places where the host reads a number of a tensor, at which it would wait for a card."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

# Their result is a number of Python or has a size that only the numbers tell, or their work depends on the numbers.
READS = {
    torch.ops.aten._local_scalar_dense.default,
    torch.ops.aten.equal.default,
    torch.ops.aten.is_nonzero.default,
    torch.ops.aten.item.default,
    torch.ops.aten.nonzero.default,
    torch.ops.aten.masked_select.default,
    torch.ops.aten._unique2.default,
    torch.ops.aten.linalg_matrix_exp.default,
    torch.ops.aten._linalg_svd.default,
}


class HostReads(TorchDispatchMode):
    """Collects the reads made inside it.

    Args:
        integers: Count those of integers, too. Sizes, indices and lengths are on the CPU whatever the device is
            (`momentum_cli.data`).

    Attributes:
        found: Name and dtype of each.
    """

    def __init__(self, integers: bool = False) -> None:
        super().__init__()
        self._integers = integers
        self.found: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in READS and (self._integers or args[0].dtype is not torch.int64):
            self.found.append(f"{func} of {args[0].dtype}")
        return func(*args, **(kwargs or {}))


def reads(work: Callable[[], Any], *, integers: bool = False) -> list[str]:
    """Return the reads of a call; see `HostReads`."""
    with HostReads(integers) as mode:
        work()
    return mode.found
