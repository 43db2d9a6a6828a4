"""Sequences of several lengths in one padded tensor; TorchScript compiles these functions too.

Axes: T time, B batch, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor


def at_end(values: Tensor, lengths: Tensor | None) -> Tensor:
    """Return the last valid step (B, C) of values (T, B, C), for lengths (B,) or None for T."""
    if lengths is None:
        return values[-1]
    index = (lengths.to(values.device, non_blocking=True) - 1).view(1, -1, 1).expand(1, -1, values.size(2))
    return values.gather(0, index).squeeze(0)


def reverse(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Reverse each sequence of x (T, B, C) within its own length; padding stays where it is."""
    if lengths is None:
        return x.flip(0)
    steps = torch.arange(x.size(0), device=x.device).unsqueeze(1)
    end = lengths.to(x.device, non_blocking=True).unsqueeze(0)
    source = torch.where(steps < end, end - 1 - steps, steps)
    return x.gather(0, source.unsqueeze(2).expand_as(x))


def advance(running: Tensor, new: tuple[Tensor, ...], old: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return the new tensors (B, …) in the rows that are ``running`` (B,), and the old ones in the others."""
    return tuple(
        torch.where(running.view(-1, *[1] * (after.dim() - 1)), after, before)
        for after, before in zip(new, old, strict=True)
    )


def checked_lengths(lengths: Tensor, steps: int, batch: int, traced: bool = False) -> Tensor:
    """Check the lengths of sequences, and return them as int64 on the CPU.

    Args:
        lengths: (B,) of any integer dtype, each in [0, T].
        steps: T.
        batch: B.
        traced: True while a graph is traced: the values are unknown, and the graph checks them when it runs
            (RuntimeError).

    Raises:
        ValueError: They are not integers, not one per sequence, or outside [0, T].
    """
    # Messages as `messages.refuse` words them, which TorchScript cannot compile.
    if lengths.dtype == torch.bool:
        raise ValueError("`lengths` must be integers, got bool")
    if lengths.is_floating_point() or lengths.is_complex():
        raise ValueError("`lengths` must be integers, got floating-point numbers")
    if lengths.dim() != 1 or lengths.size(0) != batch:
        raise ValueError(f"`lengths` must have the shape ({batch},), one per sequence, got {list(lengths.shape)}")
    lengths = lengths.to(torch.device("cpu"), torch.int64)
    if traced:
        torch._assert_async(((lengths >= 0) & (lengths <= steps)).all(), "`lengths` must be in [0, T]")
    elif batch > 0:
        shortest, longest = int(lengths.min()), int(lengths.max())
        if shortest < 0 or longest > steps:
            raise ValueError(f"`lengths` must be in [0, {steps}], got {shortest} to {longest}")
    return lengths


def clear_padding(x: Tensor, lengths: Tensor) -> Tensor:
    """Return x (T, B, C) with 0 beyond each sequence's end.

    Whatever the padding holds, NaN included, must not reach the gradient of a weight, where 0 times NaN is NaN.
    """
    steps = torch.arange(x.size(0), device=x.device).unsqueeze(1)
    return x.masked_fill((steps >= lengths.to(x.device, non_blocking=True)).unsqueeze(2), 0.0)


def keep_empty(lengths: Tensor, after: list[Tensor], before: list[Tensor]) -> list[Tensor]:
    """Return the state (·, B, …) after each sequence: where a length is 0, the one before it."""
    kept: list[Tensor] = []
    for number in range(len(after)):
        new, old = after[number], before[number]
        empty = (lengths == 0).to(new.device, non_blocking=True).view([1, -1] + [1] * (new.dim() - 2))
        kept.append(torch.where(empty, old.to(new.dtype), new))
    return kept
