"""Running averages of gradients and of their squares, and the correction of their bias, for a whole parameter group."""

from __future__ import annotations

import torch
from torch import Tensor

from momentum_cli.optim.multi_tensor import remaining, scale_
from momentum_cli.optim.optimizer import Group, MultiTensorOptimizer, shared_scalar


def start(optimizer: MultiTensorOptimizer, group: Group, beta: float, term: Tensor) -> Tensor:
    """Return the running average of a parameter before its first term.

    It is the average of the earlier steps as if every term had equalled the first one: 0 at the first step of the
    group, and for a parameter that joins later a value for which the group's bias correction is right.

    Args:
        optimizer: The optimizer whose steps count.
        group: The group of the parameter.
        beta: Decay of the average, in [0, 1).
        term: First term, the gradient or its square.
    """
    return term * remaining(beta, shared_scalar(optimizer, group["params"][0], "step").to(term.device)).to(term.dtype)


def update_second_(squares: list[Tensor], beta2: float, grads: list[Tensor]) -> None:
    """Replace each average of squares v by β2 v + (1 - β2) g²."""
    torch._foreach_mul_(squares, beta2)
    torch._foreach_addcmul_(squares, grads, grads, 1 - beta2)


def rms(squares: list[Tensor], gathered: Tensor, eps: float) -> list[Tensor]:
    """Return sqrt(v / gathered) + eps of each average of squares.

    Args:
        squares: v, one per parameter.
        gathered: Weight of the terms in the average so far, 1 - β2^t, 0-d tensor.
        eps: >= 0.
    """
    roots = list(torch._foreach_sqrt(squares))
    scale_(roots, gathered.rsqrt().to(roots[0].device))
    torch._foreach_add_(roots, eps)
    return roots


def unbiased(averages: list[Tensor], gathered: Tensor) -> list[Tensor]:
    """Return each average divided by the weight of its terms so far, a 0-d tensor."""
    return list(torch._foreach_div(averages, gathered.to(averages[0].device)))
