"""Arithmetic on lists of tensors, in as few passes over memory and kernel launches as multi-tensor calls allow."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from momentum_cli.kernels.fused import update

Factor = Tensor | list[Tensor]
"""One 0-d tensor for all tensors of a list, or one for each."""


def on_host(tensors: list[Tensor]) -> bool:
    """Return True for tensors on the CPU, where single tensors cost no launch and reading a number does not wait."""
    return tensors[0].device.type == "cpu" and not torch.compiler.is_compiling()


def kernel_serves(*lists: list[Tensor]) -> bool:
    """Return True if `momentum_cli.kernels.fused.update` can do the step for these tensors."""
    return on_host(lists[0]) and update.serves(*lists)


def accumulate_(sums: list[Tensor], factor: Factor, terms: list[Tensor]) -> None:
    """Replace each of `sums` by factor * sum + term."""
    if on_host(sums):
        # One pass over memory instead of two by the calls below.
        factors = factor if isinstance(factor, list) else [factor] * len(sums)
        for total, scale, term in zip(sums, factors, terms, strict=True):
            torch.addcmul(term, total, scale, out=total)
        return
    scale_(sums, factor)
    torch._foreach_add_(sums, terms)


def average_(averages: list[Tensor], factor: Factor | float, terms: list[Tensor]) -> None:
    """Replace each of `averages` by factor * average + (1 - factor) * term."""
    if not isinstance(factor, Tensor | list):
        torch._foreach_lerp_(averages, terms, 1 - factor)
        return
    if on_host(averages):
        factors = factor if isinstance(factor, list) else [factor] * len(averages)
        for average, keep, term in zip(averages, factors, terms, strict=True):
            average.lerp_(term, (1 - keep).to(average.dtype))
        return
    torch._foreach_sub_(averages, terms)
    scale_(averages, factor)
    torch._foreach_add_(averages, terms)


def scale_(tensors: list[Tensor], factor: Factor | float) -> None:
    """Multiply tensors in place by a number, by one 0-d tensor, or each by its own."""
    if isinstance(factor, Tensor) and tensors[0].dtype in (torch.float32, torch.float64):
        # With one dtype it is one kernel. Half-precision tensors take the slower call, which rounds only the product.
        factor = factor.to(tensors[0].dtype)
    torch._foreach_mul_(tensors, factor)


def descend_(params: list[Tensor], updates: list[Tensor], lr: float | Tensor) -> None:
    """Subtract lr * update from each parameter."""
    if isinstance(lr, Tensor):
        torch._foreach_sub_(params, torch._foreach_mul(updates, lr.to(params[0].device)))
    else:
        torch._foreach_add_(params, updates, alpha=-lr)


def host_factors(factor: Factor, count: int) -> list[float]:
    """Return the factor of each of `count` tensors as a number; reads it from the device."""
    return list(map(float, factor)) if isinstance(factor, list) else [float(factor)] * count


def replace_previous_(previous: list[Tensor], grads: list[Tensor]) -> list[Tensor]:
    """Replace each of the previous gradients by the current one, without allocating memory.

    Returns:
        ‖grad - previous‖ of each tensor, as `norms`.
    """
    if kernel_serves(previous, grads):
        return update.replace_previous_(previous, grads)
    torch._foreach_sub_(previous, grads)
    found = norms(previous)
    torch._foreach_copy_(previous, grads)
    return found


def norms(tensors: list[Tensor]) -> list[Tensor]:
    """Return the Euclidean norm of each tensor as 0-d tensors, float64 for float64 tensors and else float32."""
    return list(torch._foreach_norm(tensors, 2, dtype=wide_dtype(tensors[0])))


def total_norm(parts: Sequence[Tensor]) -> Tensor:
    """Return the Euclidean norm of several norms, on the device and in the widest dtype among them.

    A norm that is not finite is left out, so that a bad gradient of one tensor does not reach all others.

    Args:
        parts: 0-d tensors, at least one.

    Returns:
        0-d tensor on the device of the first part.
    """
    device, dtypes = parts[0].device, {part.dtype for part in parts}
    wide = torch.float64 if torch.float64 in dtypes else torch.float32
    if len(dtypes) > 1 or any(part.device != device for part in parts):
        parts = [part.to(device, wide) for part in parts]
    stacked = torch.stack(list(parts))
    total: Tensor = torch.linalg.vector_norm(torch.where(stacked.isfinite(), stacked, 0.0))
    return total


def wide_dtype(tensor: Tensor) -> torch.dtype:
    """Return the dtype of scalars that are computed from a tensor: float64 for float64, else float32."""
    return torch.float64 if tensor.dtype is torch.float64 else torch.float32


def remaining(beta: float, step: Tensor) -> Tensor:
    """Return 1 - β^step, the total weight of the terms in a running average, accurately even where it is small.

    Args:
        beta: Decay in [0, 1).
        step: Number of terms in the average, 0-d tensor.
    """
    return -torch.expm1(step * math.log(beta)) if beta > 0 else torch.ones_like(step).where(step > 0, 0.0)


def scalar_like(tensor: Tensor) -> Tensor:
    """Return a 0-d tensor of 0 on the device of `tensor`, in `wide_dtype`."""
    return torch.zeros((), dtype=wide_dtype(tensor), device=tensor.device)
