"""Normalized heavy ball with adaptive momentum."""

from __future__ import annotations

from typing import ClassVar, Unpack

import torch
from torch import Tensor

from momentum_cli.optim.multi_tensor import average_, descend_, norms, scalar_like
from momentum_cli.optim.optimizer import Group, MultiTensorOptimizer, Params, Work, require
from momentum_cli.optim.options import DecayOptions


class NHB(MultiTensorOptimizer):
    """SGD with normalized heavy-ball momentum that depends on how much the gradient changes from step to step.

    With g_k the gradient of one tensor::

        q_k     = ‖g_k - g_{k-1}‖ / ‖g_k‖
        b_k     = min(((1 - q_k) / (1 + q_k))², 1 - δ)
        m_k     = b_k m_{k-1} + (1 - b_k) g_k,  m_1 = g_1
        x_{k+1} = x_k - γ_k m_k

    Two tensors of state per parameter: m and the previous gradient.

    Args:
        params: Parameters, named parameters or parameter groups.
        lr: Learning rate γ, >= 0; may be a 0-d tensor.
        weight_decay: λ >= 0; coupled (the default) it adds λ x to the gradient.
        delta: δ in (0, 1]; b stays below 1 - δ.
        decoupled_weight_decay: each step also subtracts γ λ x; g is unchanged.
        maximize: Ascend.
        foreach: Many tensors per call (None or True) or one at a time (False): slower, with smaller temporaries.

    Raises:
        ValueError: An option is outside its range.

    Our choices where the paper is silent: m_1 = g_1, so the first step is one of gradient descent; b = 0 where the
    gradient is 0 twice; norms per tensor.

    Reference: "Normalized Stochastic Heavy Ball with Adaptive Momentum", ECAI 2023.
    """

    first_state: ClassVar[str] = "momentum_buffer"
    diagnostic_names: ClassVar[tuple[str, ...]] = ("beta",)

    def __init__(
        self, params: Params, lr: float | Tensor = 0.1, *, delta: float = 1e-3, **options: Unpack[DecayOptions]
    ) -> None:
        super().__init__(params, lr=lr, delta=delta, **options)

    def diagnostics(self) -> dict[str, Tensor]:
        """Return ``beta``: b of the last step, the mean over tensors."""
        return self._mean_of("beta")

    def _check(self, group: Group) -> None:
        require("delta", group["delta"], 0 < group["delta"] <= 1, "in (0, 1]")

    def _new_state(self, group: Group, param: Tensor, grad: Tensor) -> dict[str, Tensor]:
        # With m = g before the first step, m_1 = g_1 for any b.
        return {"momentum_buffer": grad.clone(), "previous_grad": grad.clone(), "beta": scalar_like(grad)}

    def _apply(self, work: Work) -> None:
        for group, blocks in work:
            for block in blocks:
                previous, buffer = block.state("previous_grad"), block.state("momentum_buffer")
                torch._foreach_sub_(previous, block.grads)
                turn, size = torch.stack(norms(previous)), torch.stack(norms(block.grads))
                torch._foreach_copy_(previous, block.grads)
                # ((1 - q) / (1 + q))² without the division by a gradient of 0.
                beta = ((size - turn) / (size + turn)).square().clamp(max=1 - group["delta"])
                each = list(torch.where(size + turn > 0, beta, torch.zeros_like(beta)).unbind())
                torch._foreach_copy_(block.state("beta"), each)
                average_(buffer, each, block.grads)
                descend_(block.params, block.with_decay(buffer, group), group["lr"])
