"""SGD with the momentum of the nonlinear conjugate gradient method of Fletcher and Reeves."""

from __future__ import annotations

from typing import ClassVar, Literal, Unpack

import torch
from torch import Tensor

from momentum_cli.optim.multi_tensor import Factor, accumulate_, descend_, norms, scalar_like, total_norm
from momentum_cli.optim.optimizer import SCOPES, Group, MultiTensorOptimizer, Params, Work, global_scalar, require
from momentum_cli.optim.options import DecayOptions


class FRSGD(MultiTensorOptimizer):
    """SGD whose momentum is the conjugacy coefficient of Fletcher and Reeves: no momentum to tune.

    With g_k the gradient::

        b_k     = min(‖g_k‖² / ‖g_{k-1}‖², 1 - δ),  b_1 = 0
        m_k     = b_k m_{k-1} + g_k
        x_{k+1} = x_k - γ_k m_k

    One tensor of state per parameter, as in SGD with momentum: only the norm of the previous gradient is kept.

    Args:
        params: Parameters, named parameters or parameter groups.
        lr: Learning rate γ, >= 0; may be a 0-d tensor.
        weight_decay: λ >= 0; coupled (the default) it adds λ x to the gradient.
        delta: δ in (0, 1]; b stays below 1 - δ.
        scope: Norms over all tensors of all groups ("global"), or over each tensor, with one b each ("tensor").
        decoupled_weight_decay: each step also subtracts γ λ x; g is unchanged.
        maximize: Ascend.
        foreach: Many tensors per call (None or True) or one at a time (False): slower, with smaller temporaries.

    Raises:
        ValueError: An option is outside its range.

    A tensor whose gradient has a NaN or an infinity is left out of the global norms: its own values become NaN, as with
    torch's optimizers, and the others make the step that they would make without it.

    Our choices where the paper is silent: momentum as a buffer of gradients, as in `torch.optim.SGD` (with a
    constant rate the same as b (x_k - x_{k-1})); norms over the whole gradient unless ``scope="tensor"``; b = 0 after a
    gradient of 0.

    Reference: "Stochastic Gradient Descent with Nonlinear Conjugate Gradient-Style Adaptive Momentum", arXiv
    2012.02188.
    """

    first_state: ClassVar[str] = "momentum_buffer"
    diagnostic_names: ClassVar[tuple[str, ...]] = ("beta",)

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 0.1,
        *,
        delta: float = 1e-4,
        scope: Literal["global", "tensor"] = "global",
        **options: Unpack[DecayOptions],
    ) -> None:
        super().__init__(params, lr=lr, delta=delta, scope=scope, **options)

    def diagnostics(self) -> dict[str, Tensor]:
        """Return ``beta``: b of the last step (the mean over tensors with ``scope="tensor"``)."""
        return self._mean_of("beta")

    def _check(self, group: Group) -> None:
        require("delta", group["delta"], 0 < group["delta"] <= 1, "in (0, 1]")
        require("scope", group["scope"], group["scope"] in SCOPES, " or ".join(SCOPES))

    def _new_state(self, group: Group, param: Tensor, grad: Tensor) -> dict[str, Tensor]:
        state = {"momentum_buffer": torch.zeros_like(param)}
        if group["scope"] == "tensor":
            state |= {"grad_norm": scalar_like(grad), "beta": scalar_like(grad)}
        return state

    def _apply(self, work: Work) -> None:
        sizes = [[norms(block.grads) for block in blocks] for _, blocks in work]
        whole = self._whole(work, sizes)
        for (group, blocks), of_blocks in zip(work, sizes, strict=True):
            shared = whole.clamp(max=1 - group["delta"])
            if blocks and group["scope"] == "global":
                global_scalar(self, "beta").copy_(shared)
            # The last gradients whose norms were computed are still in the cache.
            for block, found in zip(reversed(blocks), reversed(of_blocks), strict=True):
                beta: Factor
                if group["scope"] == "tensor":
                    ratio = conjugacy(torch.stack(found), torch.stack(block.state("grad_norm")))
                    beta = list(ratio.clamp(max=1 - group["delta"]).unbind())
                    torch._foreach_copy_(block.state("grad_norm"), found)
                    torch._foreach_copy_(block.state("beta"), beta)
                else:
                    beta = shared.to(block.params[0].device)
                buffer = block.state("momentum_buffer")
                accumulate_(buffer, beta, block.grads)
                descend_(block.params, block.with_decay(buffer, group), group["lr"])

    def _whole(self, work: Work, sizes: list[list[list[Tensor]]]) -> Tensor:
        """Return the ratio over all groups of scope "global", and store their norm; a placeholder without them."""
        shared = [
            size
            for (group, _), of_blocks in zip(work, sizes, strict=True)
            if group["scope"] == "global"
            for found in of_blocks
            for size in found
        ]
        if not shared:
            return torch.zeros(())
        size, previous = total_norm(shared), global_scalar(self, "grad_norm")
        ratio = conjugacy(size, previous)
        previous.copy_(size)
        return ratio


def conjugacy(size: Tensor, previous: Tensor) -> Tensor:
    """Return (‖g_k‖ / ‖g_{k-1}‖)², 0 after a gradient of 0.

    Args:
        size: ‖g_k‖, any shape.
        previous: ‖g_{k-1}‖, same shape; 0 before the first step.
    """
    return torch.where(previous > 0, (size / previous).square(), torch.zeros_like(size))
