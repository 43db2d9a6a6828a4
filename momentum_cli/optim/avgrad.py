"""AVGrad: AMSGrad with an average over time in place of the maximum."""

from __future__ import annotations

from typing import ClassVar, Unpack

import torch
from torch import Tensor

from momentum_cli.optim import moments
from momentum_cli.optim.multi_tensor import average_, descend_, remaining, scale_
from momentum_cli.optim.optimizer import Group, MultiTensorOptimizer, Params, Work, require
from momentum_cli.optim.options import DecayOptions


class AVGrad(MultiTensorOptimizer):
    """Adam whose second moment is averaged over all steps, where AMSGrad takes its maximum.

    With g_t the gradient, elementwise::

        m_t     = β1 m_{t-1} + (1 - β1) g_t,    m̂_t = m_t / (1 - β1^t)
        v_t     = β2 v_{t-1} + (1 - β2) g_t²,   v̂_t = v_t / (1 - β2^t)
        a_t     = a_{t-1} + (v̂_t - a_{t-1}) / t                            = (v̂_1 + … + v̂_t) / t
        x_{t+1} = x_t - γ_t m̂_t / (sqrt a_t + eps)

    Three tensors of state per parameter.

    Args:
        params: Parameters, named parameters or parameter groups.
        lr: Learning rate γ, >= 0; may be a 0-d tensor.
        beta1: Decay of the first moment, in [0, 1).
        beta2: Decay of the second moment, in [0, 1).
        eps: Added to sqrt a, >= 0.
        weight_decay: λ >= 0; coupled (the default) it adds λ x to the gradient.
        decoupled_weight_decay: each step also subtracts γ λ x; g is unchanged.
        maximize: Ascend.
        foreach: Many tensors per call (None or True) or one at a time (False): slower, with smaller temporaries.

    Raises:
        ValueError: An option is outside its range.

    The paper's formulas omit bias corrections; here the average is over the corrected second moments, so that the first
    step is Adam's.

    Reference: Ozkara, Karakus, Raman, Hong, Sabach, Kveton, Cevher, "MADA: Meta-Adaptive Optimizers through
    hyper-gradient Descent", arXiv 2401.08893.
    """

    first_state: ClassVar[str] = "exp_avg"

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        **options: Unpack[DecayOptions],
    ) -> None:
        super().__init__(params, lr=lr, beta1=beta1, beta2=beta2, eps=eps, **options)

    def _check(self, group: Group) -> None:
        require("beta1", group["beta1"], 0 <= group["beta1"] < 1, "in [0, 1)")
        require("beta2", group["beta2"], 0 <= group["beta2"] < 1, "in [0, 1)")
        require("eps", group["eps"], group["eps"] >= 0, ">= 0")

    def _new_state(self, group: Group, param: Tensor, grad: Tensor) -> dict[str, Tensor]:
        square = grad * grad
        return {
            "exp_avg": moments.start(self, group, group["beta1"], grad),
            "exp_avg_sq": moments.start(self, group, group["beta2"], square),
            # The average before the first step has weight 0.
            "mean_sq": square,
        }

    def _apply(self, work: Work) -> None:
        for group, blocks in work:
            if not blocks:
                continue
            step = self._count(group)
            unbias, gathered = 1 / remaining(group["beta1"], step), remaining(group["beta2"], step)
            for block in blocks:
                average, square, mean = block.state("exp_avg"), block.state("exp_avg_sq"), block.state("mean_sq")
                average_(average, group["beta1"], block.grads)
                moments.update_second_(square, group["beta2"], block.grads)
                average_(mean, (1 - 1 / step).to(mean[0].device), moments.unbiased(square, gathered))
                root = list(torch._foreach_sqrt(mean))
                torch._foreach_add_(root, group["eps"])
                update = list(torch._foreach_div(average, root))
                scale_(update, unbias.to(update[0].device))
                descend_(block.params, block.with_decay(update, group), group["lr"])
