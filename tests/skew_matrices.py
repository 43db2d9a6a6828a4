"""Skew-symmetric matrices and their exponentials, computed another way."""

from __future__ import annotations

import torch
from torch import Tensor

from momentum_cli.layers.orthogonal_matrix import Orthogonal


def exponential(a: Tensor) -> Tensor:
    """expm of a skew-symmetric matrix by the eigenvectors of the Hermitian matrix iA: no squaring, no series."""
    values, vectors = torch.linalg.eigh(1j * a.to(torch.complex128))
    return (vectors @ torch.diag(torch.exp(-1j * values)) @ vectors.mH).real


def skew(module: Orthogonal) -> Tensor:
    """A, entry by entry."""
    n, entries = module.size, iter(module.skew.detach().double().tolist())
    a = torch.zeros(n, n, dtype=torch.float64)
    for i in range(n):
        for j in range(i + 1, n):
            a[i, j] = next(entries)
            a[j, i] = -a[i, j]
    return a
