"""Adam with a friction that depends on the agreement of two successive gradients: sigSignGrad and tanhSignGrad."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Unpack

import torch
from torch import Tensor

from momentum_cli.optim import moments
from momentum_cli.optim.multi_tensor import average_, descend_, remaining, scale_
from momentum_cli.optim.optimizer import Group, MultiTensorOptimizer, Params, Work, require
from momentum_cli.optim.options import DecayOptions


class SignGrad(MultiTensorOptimizer):
    """Adam whose step is multiplied by a function of the product of this gradient and the previous one; abstract.

    Three tensors of state per parameter: Adam's moments and the previous gradient.
    """

    first_state: ClassVar[str] = "exp_avg"

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        beta3: float = 1.0,
        eps: float = 1e-8,
        **options: Unpack[DecayOptions],
    ) -> None:
        super().__init__(params, lr=lr, beta1=beta1, beta2=beta2, beta3=beta3, eps=eps, **options)

    @abstractmethod
    def _friction_(self, products: list[Tensor]) -> None:
        """Replace β3 g_{t-1} g_t by the friction, in place."""

    def _check(self, group: Group) -> None:
        require("beta1", group["beta1"], 0 <= group["beta1"] < 1, "in [0, 1)")
        require("beta2", group["beta2"], 0 <= group["beta2"] < 1, "in [0, 1)")
        require("beta3", group["beta3"], group["beta3"] >= 0, ">= 0")
        require("eps", group["eps"], group["eps"] >= 0, ">= 0")

    def _new_state(self, group: Group, param: Tensor, grad: Tensor) -> dict[str, Tensor]:
        return {
            "exp_avg": moments.start(self, group, group["beta1"], grad),
            "exp_avg_sq": moments.start(self, group, group["beta2"], grad * grad),
            "previous_grad": torch.zeros_like(grad),
        }

    def _apply(self, work: Work) -> None:
        for group, blocks in work:
            if not blocks:
                continue
            step = self._count(group)
            unbias, gathered = 1 / remaining(group["beta1"], step), remaining(group["beta2"], step)
            for block in blocks:
                average, square = block.state("exp_avg"), block.state("exp_avg_sq")
                average_(average, group["beta1"], block.grads)
                moments.update_second_(square, group["beta2"], block.grads)
                previous = block.state("previous_grad")
                torch._foreach_mul_(previous, block.grads)
                torch._foreach_mul_(previous, group["beta3"])
                self._friction_(previous)
                update = list(torch._foreach_div(average, moments.rms(square, gathered, group["eps"])))
                scale_(update, unbias.to(update[0].device))
                torch._foreach_mul_(update, previous)
                torch._foreach_copy_(previous, block.grads)
                descend_(block.params, block.with_decay(update, group), group["lr"])


class SigSignGrad(SignGrad):
    """Adam whose step is multiplied by sigmoid(β3 g_{t-1} g_t).

    With m̂ and v̂ Adam's bias-corrected moments, elementwise::

        x_{t+1} = x_t - γ_t sigmoid(β3 g_{t-1} g_t) m̂_t / (sqrt v̂_t + eps),  g_0 = 0

    Steps are half of Adam's where a gradient is 0, up to Adam's where two successive gradients agree in sign, and
    towards 0 where they disagree.

    Args:
        params: Parameters, named parameters or parameter groups.
        lr: Learning rate γ, >= 0; may be a 0-d tensor.
        beta1: Decay of the first moment, in [0, 1).
        beta2: Decay of the second moment, in [0, 1).
        beta3: Sharpness β3 >= 0; 0 makes the friction 1/2 everywhere.
        eps: Added to sqrt v̂, >= 0.
        weight_decay: λ >= 0; coupled (the default) it adds λ x to the gradient.
        decoupled_weight_decay: each step also subtracts γ λ x; g is unchanged.
        maximize: Ascend.
        foreach: Many tensors per call (None or True) or one at a time (False): slower, with smaller temporaries.

    Raises:
        ValueError: An option is outside its range.

    Our choices where the paper is silent: g_0 = 0, so that the first friction is 1/2; β3 = 1 by default; weight
    decay is outside the friction when decoupled.

    Reference: "Adaptive Friction in Deep Learning: Enhancing Optimizers with Sigmoid and Tanh Function", arXiv
    2408.11839.
    """

    def _friction_(self, products: list[Tensor]) -> None:
        torch._foreach_sigmoid_(products)


class TanhSignGrad(SignGrad):
    """Adam whose step is multiplied by tanh(β3 g_{t-1} g_t) + 1.

    With m̂ and v̂ Adam's bias-corrected moments, elementwise::

        x_{t+1} = x_t - γ_t (tanh(β3 g_{t-1} g_t) + 1) m̂_t / (sqrt v̂_t + eps),  g_0 = 0

    Steps are Adam's where a gradient is 0, up to twice Adam's where two successive gradients agree in sign, and towards
    0 where they disagree.

    Args:
        params: Parameters, named parameters or parameter groups.
        lr: Learning rate γ, >= 0; may be a 0-d tensor.
        beta1: Decay of the first moment, in [0, 1).
        beta2: Decay of the second moment, in [0, 1).
        beta3: Sharpness β3 >= 0; 0 is Adam.
        eps: Added to sqrt v̂, >= 0.
        weight_decay: λ >= 0; coupled (the default) it adds λ x to the gradient.
        decoupled_weight_decay: each step also subtracts γ λ x; g is unchanged.
        maximize: Ascend.
        foreach: Many tensors per call (None or True) or one at a time (False): slower, with smaller temporaries.

    Raises:
        ValueError: An option is outside its range.

    Our choices where the paper is silent: as in `SigSignGrad`.

    Reference: "Adaptive Friction in Deep Learning: Enhancing Optimizers with Sigmoid and Tanh Function", arXiv
    2408.11839.
    """

    def _friction_(self, products: list[Tensor]) -> None:
        torch._foreach_tanh_(products)
        torch._foreach_add_(products, 1)
