"""SGD with adaptive heavy-ball momentum."""

from __future__ import annotations

from typing import ClassVar, Unpack

import torch
from torch import Tensor

from momentum_cli.kernels.fused import update
from momentum_cli.optim.multi_tensor import Factor, accumulate_, descend_, host_factors, kernel_serves, norms
from momentum_cli.optim.optimizer import Block, Group, MultiTensorOptimizer, Params, Work, decoupled_decay
from momentum_cli.optim.quadratic_momentum import DecayingQuadraticOptions, QuadraticMomentum, check_options


class AHBSGD(MultiTensorOptimizer):
    """SGD whose heavy-ball momentum is, at every step, the best one for a quadratic: no momentum to tune.

    With γ_k the learning rate, g_k the gradient and x_k the parameters::

        r_k     = γ_k ‖g_k - g_{k-1}‖ / ‖x_k - x_{k-1}‖
        β_k     = min((1 - sqrt r_k)², 1 - δ),  β_1 = 0
        m_k     = β_k m_{k-1} + g_k
        x_{k+1} = x_k - γ_k m_k

    It keeps the previous gradient: two tensors of state per parameter, where SGD with momentum has one.

    Args:
        params: Parameters, named parameters or parameter groups.
        lr: Learning rate γ, >= 0; a 0-d tensor if a CUDA graph or a compiled step must see it change.
        weight_decay: λ >= 0. Coupled (the default) it adds λ x to the gradient, and the quadratic is that of the loss
            with its penalty.
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

    ‖x_k - x_{k-1}‖ is the length of the step itself; other changes of the parameters between steps do not count. If x
    did not move (the first step, or lr = 0), β is 0. If parameter groups have different rates, the curvature
    ‖Δg‖ / ‖Δx‖ is shared and γ is the group's.

    Reference: Sun, Ling, Shi, Li, Wang, "Training Deep Neural Networks with Adaptive Momentum Inspired by the Quadratic
    Optimization", arXiv 2110.09057, the SGD algorithm. ``scope="tensor"``, ``guard`` and weight decay are ours.
    """

    first_state: ClassVar[str] = "momentum_buffer"
    in_kernel: ClassVar[bool] = True
    diagnostic_names: ClassVar[tuple[str, ...]] = ("beta",)

    def __init__(self, params: Params, lr: float | Tensor = 0.1, **options: Unpack[DecayingQuadraticOptions]) -> None:
        super().__init__(params, lr=lr, **options)

    def diagnostics(self) -> dict[str, Tensor]:
        """Return ``beta``, the momentum of the last step (the mean over tensors with ``scope="tensor"``)."""
        return self._mean_of("beta")

    def _check(self, group: Group) -> None:
        check_options(group)

    def _new_state(self, group: Group, param: Tensor, grad: Tensor) -> dict[str, Tensor]:
        return {"momentum_buffer": torch.zeros_like(param), **QuadraticMomentum(self).new_state(group, grad)}

    def _apply(self, work: Work) -> None:
        momentum = QuadraticMomentum(self)
        updates = []
        for (group, blocks), factors in zip(work, momentum.measure(work), strict=True):
            of_group = []
            # The last gradients whose norms were computed are still in the cache.
            for block, beta in zip(reversed(blocks), reversed(factors), strict=True):
                of_group.append(self._step_block(group, block, beta))
            updates.append(of_group[::-1])
        momentum.moved(work, updates)

    def _step_block(self, group: Group, block: Block, beta: Factor) -> list[Tensor]:
        """Make the step of a block; return the norm of each update."""
        params, buffer, lr = block.params, block.state("momentum_buffer"), group["lr"]
        if kernel_serves(params, buffer, block.grads):
            factors = host_factors(beta, len(params))
            return update.heavy_ball_(params, buffer, block.grads, factors, float(lr), decoupled_decay(group))
        accumulate_(buffer, beta, block.grads)
        step = block.with_decay(buffer, group)
        descend_(params, step, lr)
        return norms(step)
