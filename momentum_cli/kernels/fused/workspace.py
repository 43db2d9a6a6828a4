"""Memory that the fused kernel keeps between calls.

The activations that a training step saves are hundreds of megabytes (docs/performance.md, Memory). If they were
returned to the operating system after every step, it would clear their pages again at the next.
"""

from __future__ import annotations

import threading
import weakref

import torch
from torch import Tensor

_WORTHWHILE = 1 << 20  # bytes; smaller blocks stay with the allocator in any case


class Workspace:
    """Allocates uninitialised tensors, and reuses their memory once nothing refers to it.

    A request that no free block fits exactly frees all free blocks, so never more memory is held than was in use at one
    time, and a change of shape leaves no old blocks behind.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a block may come back, by garbage collection, within `empty` itself
        self._free: list[Tensor] = []

    def empty(self, size: int, dtype: torch.dtype) -> Tensor:
        """Return a flat, uninitialised CPU tensor of ``size`` elements.

        Args:
            size: Elements, >= 0.
            dtype: Dtype of the elements.
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
        # The returned tensor holds this array, which is collected together with the last view of the tensor.
        lease = block.view(torch.uint8).numpy()  # numpy has no bfloat16
        weakref.finalize(lease, self._release, block).atexit = False
        return torch.from_numpy(lease).view(dtype)

    def _release(self, block: Tensor) -> None:
        with self._lock:
            self._free.append(block)

    def held_bytes(self) -> int:
        """Return the size of the free blocks in bytes."""
        with self._lock:
            return sum(block.nbytes for block in self._free)
