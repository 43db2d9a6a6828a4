"""The matrix exponential for a card: the host reads no number of it, in either direction.

`torch.matrix_exp` chooses the degree of its polynomial and the number of squarings by the norm of its argument, which
it reads from the device, as does its derivative: the host waits twice in every step. Here both numbers are fixed, and
the squarings that the norm does not need are undone by masks on the device.

Reference: Higham, "Functions of Matrices", 2008, section 10.3 (scaling and squaring) and 4.2 (the polynomial by
Paterson and Stockmeyer, here with blocks of four). With a norm of up to `RADIUS` the first term that is left out is
below 0.75^17 / 17! = 2.1e-17.

Axes: N rows and columns.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

RADIUS = 0.75
"""Largest column sum of the matrix of which the polynomial is computed."""
SQUARINGS = 13
LARGEST_NORM = RADIUS * 2**SQUARINGS
"""Largest column sum of a matrix that has an exponential here, 6144."""


def masked_exponential(a: Tensor) -> Tensor:
    """Return expm(A) = expm(A / 2^s)^(2^s), (N, N), with s chosen on the device.

    Args:
        a: (N, N), float32 or float64. Where its largest column sum of absolute values is above `LARGEST_NORM` or not
            finite, the result is NaN.
    """
    norm = a.detach().abs().sum(0).amax()
    halved = norm > RADIUS * torch.exp2(torch.arange(SQUARINGS, dtype=a.dtype, device=a.device))
    # torch.where would copy its constants to the card, and wait.
    power = _polynomial(a * (1.0 - 0.5 * halved.to(a.dtype)).prod())
    for needed in halved.unbind():
        power = torch.where(needed, power @ power, power)
    return power.masked_fill(~(norm <= LARGEST_NORM), math.nan)


def _polynomial(a: Tensor) -> Tensor:
    """Return the Taylor polynomial of degree 16 by six products."""
    second = a @ a
    third, fourth = second @ a, second @ second
    powers = torch.eye(len(a), dtype=a.dtype, device=a.device), a, second, third

    def block(first: int) -> Tensor:
        terms = [power / math.factorial(first + place) for place, power in enumerate(powers)]
        return (terms[0] + terms[1]) + (terms[2] + terms[3])

    total = block(12) + fourth / math.factorial(16)
    for first in (8, 4, 0):
        total = torch.addmm(block(first), fourth, total)
    return total
