"""AdaRem: per-coordinate learning rates that favour coordinates whose gradient keeps its sign."""

from __future__ import annotations

import math
from typing import ClassVar, Unpack

import torch
from torch import Tensor

from momentum_cli.optim.multi_tensor import average_, descend_, scale_, wide_dtype
from momentum_cli.optim.optimizer import Group, MultiTensorOptimizer, Params, Work, require
from momentum_cli.optim.options import StepOptions


class AdaRem(MultiTensorOptimizer):
    """Gradient descent with larger steps where the gradient keeps its sign, and smaller ones where it changes.

    With g_t the gradient and u_t its running average, u_0 = 0, elementwise in each tensor::

        a_t     = 1 + λ^t sign(g_t) u_{t-1} / (max|u_{t-1}| + eps)        between 0 and 2
        x_{t+1} = x_t - γ_t (a_t g_t + w x_t)
        u_t     = β u_{t-1} + (1 - β) g_t

    λ^t fades this out, so that it ends as gradient descent. One tensor of state per parameter.

    Args:
        params: Parameters, named parameters or parameter groups.
        lr: Learning rate γ, >= 0; may be a 0-d tensor.
        beta: β in [0, 1), decay of the running average.
        resilience_decay: λ in [0, 1]; 1 never fades.
        eps: > 0; prevents division by an average of 0.
        weight_decay: w >= 0.
        decoupled_weight_decay: w x is added to the step (the paper's form, the default), or to the gradient.
        maximize: Ascend.
        foreach: Many tensors per call (None or True) or one at a time (False): slower, with smaller temporaries.

    Raises:
        ValueError: An option is outside its range.

    Our choices where the paper is silent: t is the number of the step of the parameter group, from 1; the defaults
    of β and λ.

    Reference: Liu, Lin, Li, Sheng, Sun, Yan, Ouyang, "Adaptive Gradient Method with Resilience and Momentum", arXiv
    2010.11041.
    """

    first_state: ClassVar[str] = "average"

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 0.1,
        beta: float = 0.999,
        resilience_decay: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        decoupled_weight_decay: bool = True,
        **options: Unpack[StepOptions],
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            beta=beta,
            resilience_decay=resilience_decay,
            eps=eps,
            weight_decay=weight_decay,
            decoupled_weight_decay=decoupled_weight_decay,
            **options,
        )

    def _check(self, group: Group) -> None:
        require("beta", group["beta"], 0 <= group["beta"] < 1, "in [0, 1)")
        require("resilience_decay", group["resilience_decay"], 0 <= group["resilience_decay"] <= 1, "in [0, 1]")
        require("eps", group["eps"], group["eps"] > 0, "> 0")

    def _new_state(self, group: Group, param: Tensor, grad: Tensor) -> dict[str, Tensor]:
        return {"average": torch.zeros_like(param)}

    def _apply(self, work: Work) -> None:
        for group, blocks in work:
            if not blocks:
                continue
            fade = self._fade(group)
            for block in blocks:
                average = block.state("average")
                largest = torch.stack(
                    torch._foreach_norm(average, math.inf, dtype=wide_dtype(average[0]))  # max|u| without a temporary
                )
                weights = list((fade.to(largest.device) / (largest + group["eps"])).unbind())
                # sign(g) u g = |g| u
                update = list(torch._foreach_abs(block.grads))
                torch._foreach_mul_(update, average)
                scale_(update, weights)
                torch._foreach_add_(update, block.grads)
                descend_(block.params, block.with_decay(update, group), group["lr"])
                average_(average, group["beta"], block.grads)

    def _fade(self, group: Group) -> Tensor:
        """Return λ^t."""
        step, decay = self._count(group), group["resilience_decay"]
        return torch.exp(step * math.log(decay)) if decay > 0 else torch.zeros_like(step)
