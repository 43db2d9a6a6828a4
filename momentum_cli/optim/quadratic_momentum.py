"""The momentum that is best for a quadratic, measured from one gradient to the next.

Gradient descent with heavy-ball momentum on a quadratic with eigenvalues in [λ, Λ] and step γ is fastest with
β = (1 - sqrt(γ λ))², and late iterates move along the eigenvector of λ, where ‖g_k - g_{k-1}‖ = λ ‖x_k - x_{k-1}‖.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor

from momentum_cli.optim.multi_tensor import Factor, replace_previous_, scalar_like, total_norm
from momentum_cli.optim.optimizer import SCOPES, Block, Group, Work, global_scalar, require
from momentum_cli.optim.options import DecayOptions, Default, StepOptions


class QuadraticOptions(StepOptions, total=False):
    """Options of the momentum rule.

    Args:
        delta: δ in (0, 1]; β stays below 1 - δ.
        scope: Norms over all tensors of all groups ("global"), or over each tensor, with a β for each ("tensor").
        guard: Use max(1 - sqrt r, 0)² so that r >= 4 gives β = 0 and not the literal 1 - δ.
    """

    delta: Annotated[float, Default(1e-3)]
    scope: Annotated[Literal["global", "tensor"], Default("global")]
    guard: Annotated[bool, Default(False)]


class DecayingQuadraticOptions(QuadraticOptions, DecayOptions, total=False):
    """Options of the momentum rule and of weight decay."""


def check_options(group: Group) -> None:
    """Check the options of the momentum rule.

    Raises:
        ValueError: ``delta``, ``scope`` or ``guard`` is not allowed.
    """
    require("delta", group["delta"], 0 < group["delta"] <= 1, "in (0, 1]")
    require("scope", group["scope"], group["scope"] in SCOPES, " or ".join(SCOPES))
    require("guard", group["guard"], isinstance(group["guard"], bool), "true or false")


def quadratic_momentum(lr: float | Tensor, grad_change: Tensor, change: Tensor, delta: float, guard: bool) -> Tensor:
    """Return β = min((1 - sqrt r)², 1 - δ) with r = lr ‖g_k - g_{k-1}‖ / ‖x_k - x_{k-1}‖.

    Args:
        lr: Learning rate of this step.
        grad_change: ‖g_k - g_{k-1}‖, any shape.
        change: ‖x_k - x_{k-1}‖, same shape.
        delta: δ in (0, 1].
        guard: Use max(1 - sqrt r, 0): without it r >= 4, a step four times too long for the curvature, gives the
            largest momentum there is.

    Returns:
        β, same shape; 0 where x did not move, so at the first step.
    """
    root = 1 - (lr * grad_change / change).sqrt()
    if guard:
        root = root.clamp(min=0)
    beta = (root * root).clamp(max=1 - delta)
    return torch.where(change > 0, beta, torch.zeros_like(beta))


class QuadraticMomentum:
    """The momentum of each parameter group, from the gradients of this step and those of the step before.

    Norms are over all tensors of all groups whose ``scope`` is "global", or over each tensor; tensors without a
    gradient are left out. The optimizer's state holds ``previous_grad`` of each parameter, and ``change``
    (‖x_k - x_{k-1}‖) and ``beta`` for each parameter (scope "tensor") or for the first one (scope "global").
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer

    def new_state(self, group: Group, grad: Tensor) -> dict[str, Tensor]:
        """Return the state of a parameter at its first gradient, when the gradient has not changed yet."""
        state = {"previous_grad": grad.clone(memory_format=torch.preserve_format)}
        if group["scope"] == "tensor":
            state |= {"change": scalar_like(grad), "beta": scalar_like(grad)}
        return state

    def measure(self, work: Work) -> list[list[Factor]]:
        """Return β for each block of each group, and make this step's gradients the previous ones."""
        changes = [
            [replace_previous_(block.state("previous_grad"), block.grads) for block in blocks] for _, blocks in work
        ]
        shared = [
            norm
            for (group, _), blocks in zip(work, changes, strict=True)
            if group["scope"] == "global"
            for block in blocks
            for norm in block
        ]
        grad_change = total_norm(shared) if shared else None
        return [
            self._momentum(group, blocks, found, grad_change)
            for (group, blocks), found in zip(work, changes, strict=True)
        ]

    def moved(self, work: Work, updates: list[list[list[Tensor]]]) -> None:
        """Store the length of this step.

        Args:
            work: The groups of the step.
            updates: ‖u‖ of each parameter, by group and block, where x -= lr u.
        """
        shared = []
        for (group, blocks), of_blocks in zip(work, updates, strict=True):
            if group["scope"] == "tensor":
                for block, found in zip(blocks, of_blocks, strict=True):
                    torch._foreach_copy_(block.state("change"), torch._foreach_mul(found, group["lr"]))
            elif of_blocks:
                shared.append(group["lr"] * total_norm([norm for found in of_blocks for norm in found]))
        if shared:
            global_scalar(self._optimizer, "change").copy_(total_norm(shared))

    def _momentum(
        self, group: Group, blocks: list[Block], changes: list[list[Tensor]], grad_change: Tensor | None
    ) -> list[Factor]:
        """Return β of each block of a group."""
        lr, delta, guard = group["lr"], group["delta"], group["guard"]
        if group["scope"] == "tensor":
            factors: list[Factor] = []
            for block, found in zip(blocks, changes, strict=True):
                beta = quadratic_momentum(lr, torch.stack(found), torch.stack(block.state("change")), delta, guard)
                each = list(beta.unbind())
                torch._foreach_copy_(block.state("beta"), each)
                factors.append(each)
            return factors
        if grad_change is None:
            return []
        beta = quadratic_momentum(lr, grad_change, global_scalar(self._optimizer, "change"), delta, guard)
        global_scalar(self._optimizer, "beta").copy_(beta)
        return [beta.to(block.params[0].device) for block in blocks]
