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
    index = (lengths.to(values.device) - 1).view(1, -1, 1).expand(1, -1, values.size(2))
    return values.gather(0, index).squeeze(0)


def reverse(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Reverse each sequence of x (T, B, C) within its own length; padding stays where it is."""
    if lengths is None:
        return x.flip(0)
    steps = torch.arange(x.size(0), device=x.device).unsqueeze(1)
    end = lengths.to(x.device).unsqueeze(0)
    source = torch.where(steps < end, end - 1 - steps, steps)
    return x.gather(0, source.unsqueeze(2).expand_as(x))


def advance(running: Tensor, new: tuple[Tensor, ...], old: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return the new tensors (B, …) in the rows that are ``running`` (B,), and the old ones in the others."""
    return tuple(
        torch.where(running.view(-1, *[1] * (after.dim() - 1)), after, before)
        for after, before in zip(new, old, strict=True)
    )
