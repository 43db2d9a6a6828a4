"""Memory that the fused kernel keeps between calls.

The activations that a training step saves are hundreds of megabytes (docs/performance.md, Memory). Returned to the
operating system after every step and asked for again, their pages would be cleared anew each time.
"""

from __future__ import annotations

import threading
import weakref

import torch
from torch import Tensor

_WORTHWHILE = 1 << 20  # bytes; smaller blocks stay with the allocator in any case


class Workspace:
    """Hands out uninitialised tensors, and hands their memory out again once nothing refers to it.

    A request that no free block fits exactly lets all free blocks go, so no more memory is ever held than was in use
    at one time, and a change of shape does not leave the old one behind.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a block may come back, by garbage collection, within `empty` itself
        self._free: list[Tensor] = []

    def empty(self, size: int, dtype: torch.dtype) -> Tensor:
        """Return a flat, uninitialised CPU tensor of ``size`` elements.

        Args:
            size: Elements, >= 0.
            dtype: Of the elements.
        """
        if size * dtype.itemsize < _WORTHWHILE:
            return torch.empty(size, dtype=dtype)
        with self._lock:
            fitting = [b for b in self._free if b.numel() == size and b.dtype == dtype]
            if fitting:
                block = fitting[-1]
                self._free = [b for b in self._free if b is not block]
            else:
                self._free.clear()
                block = torch.empty(size, dtype=dtype)
        # The tensor that goes out holds this array, and with the last view of the tensor the array goes.
        lease = block.view(torch.uint8).numpy()  # numpy has no bfloat16
        weakref.finalize(lease, self._release, block).atexit = False
        return torch.from_numpy(lease).view(dtype)

    def _release(self, block: Tensor) -> None:
        with self._lock:
            self._free.append(block)

    def held_bytes(self) -> int:
        """Return the bytes of the free blocks."""
        with self._lock:
            return sum(block.nbytes for block in self._free)
