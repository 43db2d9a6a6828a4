"""Adam and AdamW with adaptive heavy-ball momentum in place of β1."""

from __future__ import annotations

from typing import ClassVar, Unpack

import torch
from torch import Tensor

from momentum_cli.kernels.fused import update
from momentum_cli.optim import moments
from momentum_cli.optim.multi_tensor import Factor, average_, descend_, host_factors, kernel_serves, norms, remaining
from momentum_cli.optim.optimizer import Block, Group, MultiTensorOptimizer, Params, Work, decoupled_decay, require
from momentum_cli.optim.quadratic_momentum import (
    DecayingQuadraticOptions,
    QuadraticMomentum,
    QuadraticOptions,
    check_options,
)


class AHBAdam(MultiTensorOptimizer):
    """Adam whose β1 is, at every step, the best heavy-ball momentum for a quadratic: no β1 to tune.

    With γ_k the learning rate, g_k the gradient and x_k the parameters::

        r_k     = γ_k ‖g_k - g_{k-1}‖ / ‖x_k - x_{k-1}‖
        β_k     = min((1 - sqrt r_k)², 1 - δ),  β_1 = 0
        m_k     = β_k m_{k-1} + (1 - β_k) g_k,   m̂ = m_k / (1 - Π_{i<=k} β_i)
        v_k     = β2 v_{k-1} + (1 - β2) g_k²,    v̂ = v_k / (1 - β2^k)
        x_{k+1} = x_k - γ_k (m̂ / (sqrt v̂ + eps) + λ x_k)        (λ x_k when the decay is decoupled)

    As β_1 = 0, the product of the β is 0 from the first step on, so m̂ = m. It keeps the previous gradient:
    three tensors of state per parameter, where Adam has two.

    Args:
        params: Parameters, named parameters or parameter groups.
        lr: Learning rate γ, >= 0; a 0-d tensor if a CUDA graph or a compiled step must see it change.
        beta2: Decay of the second moment, in [0, 1).
        eps: Added to sqrt v̂, >= 0.
        weight_decay: λ >= 0; coupled (the default) it adds λ x to the gradient.
        delta: δ in (0, 1]; β stays below 1 - δ.
        scope: Norms over all tensors of all groups ("global"), or over each tensor, with one β each ("tensor").
        guard: Use max(1 - sqrt r, 0)² so that r >= 4 gives β = 0 and not the literal 1 - δ.
        decoupled_weight_decay: each step also subtracts γ λ x, which counts in x_{k+1} - x_k; g is unchanged.
        maximize: Ascend.
        foreach: Many tensors per call (None or True) or one at a time (False): slower, with smaller temporaries.

    Raises:
        ValueError: An option is outside its range.

    A tensor whose gradient has a NaN or an infinity is left out of the global norms: its own values become NaN, as with
    torch's optimizers, and the others make the step that they would make without it.

    r is computed from raw gradients and the actual change by Adam's step, as in the paper. A parameter whose first
    gradient comes after other steps starts with averages as if all its gradients so far had equalled it.

    Reference: Sun, Ling, Shi, Li, Wang, "Training Deep Neural Networks with Adaptive Momentum Inspired by the Quadratic
    Optimization", arXiv 2110.09057, the Adam algorithm; bias correction as in Kingma and Ba, arXiv 1412.6980, algorithm
    1. ``scope="tensor"``, ``guard`` and weight decay are ours.
    """

    first_state: ClassVar[str] = "exp_avg"
    in_kernel: ClassVar[bool] = True
    diagnostic_names: ClassVar[tuple[str, ...]] = ("beta",)

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-3,
        beta2: float = 0.999,
        eps: float = 1e-8,
        **options: Unpack[DecayingQuadraticOptions],
    ) -> None:
        super().__init__(params, lr=lr, beta2=beta2, eps=eps, **options)

    def diagnostics(self) -> dict[str, Tensor]:
        """Return ``beta``, the β1 of the last step (the mean over tensors with ``scope="tensor"``)."""
        return self._mean_of("beta")

    def _check(self, group: Group) -> None:
        require("beta2", group["beta2"], 0 <= group["beta2"] < 1, "in [0, 1)")
        require("eps", group["eps"], group["eps"] >= 0, ">= 0")
        check_options(group)

    def _new_state(self, group: Group, param: Tensor, grad: Tensor) -> dict[str, Tensor]:
        return {
            # So that for any β the first average is the gradient.
            "exp_avg": grad.clone(memory_format=torch.preserve_format),
            "exp_avg_sq": moments.start(self, group, group["beta2"], grad * grad),
            **QuadraticMomentum(self).new_state(group, grad),
        }

    def _apply(self, work: Work) -> None:
        momentum = QuadraticMomentum(self)
        updates = []
        for (group, blocks), factors in zip(work, momentum.measure(work), strict=True):
            of_group: list[list[Tensor]] = []
            updates.append(of_group)
            if not blocks:
                continue
            gathered = remaining(group["beta2"], self._count(group))
            for block, beta in zip(reversed(blocks), reversed(factors), strict=True):
                of_group.append(self._step_block(group, block, beta, gathered))
            of_group.reverse()
        momentum.moved(work, updates)

    def _step_block(self, group: Group, block: Block, beta: Factor, gathered: Tensor) -> list[Tensor]:
        """Make the step of a block and return the norm of each update; ``gathered`` is 1 - β2^t."""
        params, average, square = block.params, block.state("exp_avg"), block.state("exp_avg_sq")
        if kernel_serves(params, average, square, block.grads):
            return update.adaptive_(
                params,
                average,
                square,
                block.grads,
                host_factors(beta, len(params)),
                float(group["lr"]),
                beta2=group["beta2"],
                root_factor=float(gathered.rsqrt()),
                eps=group["eps"],
                decay=decoupled_decay(group),
            )
        average_(average, beta, block.grads)
        moments.update_second_(square, group["beta2"], block.grads)
        direction = list(torch._foreach_div(average, moments.rms(square, gathered, group["eps"])))
        step = block.with_decay(direction, group)
        descend_(params, step, group["lr"])
        return norms(step)


class AHBAdamW(AHBAdam):
    """`AHBAdam` with decoupled weight decay, as `torch.optim.AdamW` is to `torch.optim.Adam`.

    Args:
        params: Parameters, named parameters or parameter groups.
        lr: Learning rate, >= 0.
        beta2: Decay of the second moment, in [0, 1).
        eps: Added to the root of the second moment, >= 0.
        weight_decay: λ >= 0; each step also subtracts lr λ x.
        delta: δ in (0, 1], see `AHBAdam`.
        scope: "global" or "tensor", see `AHBAdam`.
        guard: See `AHBAdam`.
        maximize: Ascend.
        foreach: See `AHBAdam`.

    Raises:
        ValueError: An option is outside its range.

    Reference: arXiv 2110.09057; Loshchilov and Hutter, arXiv 1711.05101, algorithm 2.
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-3,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        **options: Unpack[QuadraticOptions],
    ) -> None:
        super().__init__(params, lr, beta2, eps, weight_decay=weight_decay, decoupled_weight_decay=True, **options)
