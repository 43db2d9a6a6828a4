"""Tests whether a call may go straight to the C++ library: plain eager mode, and tensors that are plain memory."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import Parameter


def transformed() -> bool:
    """Return True inside a transform of torch.func (grad, jvp, vmap, …) or forward-mode differentiation."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def is_eager() -> bool:
    """Return True if no compiler, transform or mode of torch intercepts calls."""
    return not (torch.compiler.is_compiling() or transformed() or torch._C._len_torch_dispatch_stack())


def are_plain(tensors: Iterable[Tensor | None]) -> bool:
    """Return True if tensors, of which some may be absent, are plain memory on the CPU and of no subclass."""
    return all(tensor is None or (type(tensor) in (Tensor, Parameter) and tensor.is_cpu) for tensor in tensors)
