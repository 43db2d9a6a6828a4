"""MADA: an optimizer between Adam, AVGrad, Adan, Yogi and Lion that learns its place between them."""

from __future__ import annotations

from typing import ClassVar, Unpack

import torch
from torch import Tensor

from momentum_cli.optim import moments
from momentum_cli.optim.multi_tensor import average_, descend_, norms, remaining
from momentum_cli.optim.optimizer import Block, Group, MultiTensorOptimizer, Params, Work, require, shared_scalar
from momentum_cli.optim.options import DecayOptions

COEFFICIENTS = ("beta3", "c", "rho", "gamma")
"""Names of the learned coefficients; each stays in [0, 1]."""


class MADA(MultiTensorOptimizer):
    """A point in the space spanned by Adam, AVGrad, Adan, Yogi and Lion, moved by hyper-gradients.

    With g_t the gradient and Δ_t = g_t - g_{t-1} (Δ_1 = 0), elementwise::

        m̄_t = β1 m̄_{t-1} + (1 - β1) g_t             n_t = β3 n_{t-1} + (1 - β3) Δ_t
        m_t = m̄_t / (1 - β1^t) + β3 n_t              ĝ_t = g_t + β3 Δ_t
        s_t = c ĝ_t² + (1 - c) (v_{t-1} + ĝ_t² sign(ĝ_t² - v_{t-1}))
        v_t = β2 v_{t-1} + (1 - β2) s_t,   v̂_t = v_t / (1 - β2^t),   a_t = (v̂_1 + … + v̂_t) / t
        V_t = ρ v̂_t + (1 - ρ) a_t
        u_t = γ m_t / (sqrt V_t + eps) + (1 - γ) sign(m_t)
        x_{t+1} = x_t - lr (u_t + λ x_t)                       (λ x_t when the decay is decoupled)

    β3 = 0, c = ρ = γ = 1 is Adam; then ρ = 0 is AVGrad, c = 0 Yogi, β3 > 0 Adan, γ = 0 Lion with β1 = β2. The loss
    after the step changes with a coefficient q by -lr ⟨g_{t+1}, ∂u_t/∂q⟩; each moves against that, by a cosine::

        q ← clip(q + hyper_lr ⟨g_{t+1}, ∂u_t/∂q⟩ / (‖g_{t+1}‖ ‖∂u_t/∂q‖), 0, 1)

    Four tensors of state per parameter in addition to the previous gradient, and four more if the coefficients are
    learned.

    Args:
        params: Parameters, named parameters or parameter groups.
        lr: Learning rate, >= 0; may be a 0-d tensor.
        beta1: Decay of the first moment, in [0, 1).
        beta2: Decay of the second moment, in [0, 1).
        beta3: Initial value of Adan's β3, in [0, 1].
        c: Initial share of Adam's second moment, against Yogi's, in [0, 1].
        rho: Initial share of the second moment itself, against its average over time, in [0, 1].
        gamma: Initial share of the scaled step, against Lion's sign, in [0, 1].
        hyper_lr: Largest change of a coefficient per step, >= 0; 0 keeps the coefficients fixed.
        eps: Added to sqrt V, > 0.
        weight_decay: λ >= 0; coupled (the default) it adds λ x to the gradient.
        decoupled_weight_decay: each step also subtracts lr λ x; g is unchanged.
        maximize: Ascend.
        foreach: Many tensors per call (None or True) or one at a time (False): slower, with smaller temporaries.

    Raises:
        ValueError: An option is outside its range.

    Our choices where the paper is silent: bias corrections of m̄ and v; one set of coefficients per parameter
    group; β1 and β2 stay fixed; Lion's two decays are one; derivatives take the moments before the step as constants,
    bound the slope of the root by 1 / (2 (sqrt V + eps)), and are divided by their norms, so that hyper_lr does not
    depend on the size of the model or of its gradients.

    A tensor whose gradient, or derivative, has a NaN or an infinity is left out of the cosines: its own values become
    NaN, as with torch's optimizers, and those of the others stay what they would be without it.

    Reference: Ozkara, Karakus, Raman, Hong, Sabach, Kveton, Cevher, "MADA: Meta-Adaptive Optimizers through
    hyper-gradient Descent", arXiv 2401.08893.
    """

    first_state: ClassVar[str] = "exp_avg"
    diagnostic_names: ClassVar[tuple[str, ...]] = COEFFICIENTS

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        beta3: float = 0.0,
        c: float = 1.0,
        rho: float = 1.0,
        gamma: float = 1.0,
        hyper_lr: float = 1e-3,
        eps: float = 1e-8,
        **options: Unpack[DecayOptions],
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            beta1=beta1,
            beta2=beta2,
            beta3=beta3,
            c=c,
            rho=rho,
            gamma=gamma,
            hyper_lr=hyper_lr,
            eps=eps,
            **options,
        )

    def diagnostics(self) -> dict[str, Tensor]:
        """Return the learned coefficients ``beta3``, ``c``, ``rho`` and ``gamma``, the mean over parameter groups."""
        return {name: value for each in COEFFICIENTS for name, value in self._mean_of(each).items()}

    def _check(self, group: Group) -> None:
        for name in ("beta1", "beta2"):
            require(name, group[name], 0 <= group[name] < 1, "in [0, 1)")
        for name in COEFFICIENTS:
            require(name, group[name], 0 <= group[name] <= 1, "in [0, 1]")
        require("hyper_lr", group["hyper_lr"], group["hyper_lr"] >= 0, ">= 0")
        require("eps", group["eps"], group["eps"] > 0, "> 0")

    def _new_state(self, group: Group, param: Tensor, grad: Tensor) -> dict[str, Tensor]:
        square = grad * grad
        state = {
            "exp_avg": moments.start(self, group, group["beta1"], grad),
            "exp_avg_sq": moments.start(self, group, group["beta2"], square),
            "mean_sq": square,
            "exp_avg_change": torch.zeros_like(grad),
            "previous_grad": grad.clone(),
        }
        if group["hyper_lr"] > 0:
            state |= {f"slope_{name}": torch.zeros_like(grad) for name in COEFFICIENTS}
        return state

    def _apply(self, work: Work) -> None:
        for group, blocks in work:
            if not blocks:
                continue
            point = {name: shared_scalar(self, group["params"][0], name, group[name]) for name in COEFFICIENTS}
            if group["hyper_lr"] > 0:
                _learn(blocks, point, group["hyper_lr"])
            step = self._count(group)
            for block in blocks:
                here = {name: value.to(block.params[0]) for name, value in point.items()}
                update = _direction(block, group, here, step.to(block.params[0].device))
                descend_(block.params, block.with_decay(update, group), group["lr"])


def _learn(blocks: list[Block], point: dict[str, Tensor], hyper_lr: float) -> None:
    """Move each coefficient by the cosine between this gradient and the derivative of the last step by it."""
    for name, value in point.items():
        slopes = [block.state(f"slope_{name}") for block in blocks]
        lengths = torch.stack([norm.to(value) for block in blocks for norm in norms(block.grads)])
        steepness = torch.stack([norm.to(value) for of_block in slopes for norm in norms(of_block)])
        products = torch.stack(
            [
                product.sum(dtype=value.dtype).to(value.device)
                for block, of_block in zip(blocks, slopes, strict=True)
                for product in torch._foreach_mul(block.grads, of_block)
            ]
        )
        usable = products.isfinite() & lengths.isfinite() & steepness.isfinite()
        gain = torch.where(usable, products, 0.0).sum()
        lengths, steepness = torch.where(usable, lengths, 0.0), torch.where(usable, steepness, 0.0)
        scale = torch.linalg.vector_norm(lengths) * torch.linalg.vector_norm(steepness)
        cosine = torch.where(scale > 0, gain / scale, torch.zeros_like(gain))
        value.add_(cosine, alpha=hyper_lr).clamp_(0, 1)


def _direction(block: Block, group: Group, point: dict[str, Tensor], step: Tensor) -> list[Tensor]:
    """Update the state of a block and return u."""
    beta3, c, rho, gamma = (point[name] for name in COEFFICIENTS)
    learning = group["hyper_lr"] > 0
    average, square, mean = block.state("exp_avg"), block.state("exp_avg_sq"), block.state("mean_sq")
    drift, previous = block.state("exp_avg_change"), block.state("previous_grad")
    change = list(torch._foreach_sub(block.grads, previous))
    torch._foreach_copy_(previous, block.grads)

    average_(average, group["beta1"], block.grads)
    # n + β3 (n_{t-1} - Δ), the slope of β3 n in β3, needs the previous n.
    slope_drift = list(torch._foreach_mul(torch._foreach_sub(drift, change), beta3)) if learning else []
    average_(drift, beta3, change)
    first = moments.unbiased(average, remaining(group["beta1"], step))
    torch._foreach_add_(first, torch._foreach_mul(drift, beta3))

    ahead = list(torch._foreach_add(block.grads, torch._foreach_mul(change, beta3)))
    ahead_square = list(torch._foreach_mul(ahead, ahead))
    sign = list(torch._foreach_sign(torch._foreach_sub(ahead_square, square)))
    yogi = list(torch._foreach_add(square, torch._foreach_mul(ahead_square, sign)))
    adam_over_yogi = list(torch._foreach_sub(ahead_square, yogi))
    torch._foreach_add_(yogi, torch._foreach_mul(adam_over_yogi, c))
    average_(square, group["beta2"], yogi)
    gathered = remaining(group["beta2"], step)
    second = moments.unbiased(square, gathered)
    average_(mean, 1 - 1 / step, second)
    second_over_mean = list(torch._foreach_sub(second, mean))
    root = list(torch._foreach_add(mean, torch._foreach_mul(second_over_mean, rho)))
    torch._foreach_sqrt_(root)
    torch._foreach_add_(root, group["eps"])

    scaled = list(torch._foreach_div(first, root))
    lion = list(torch._foreach_sign(first))
    scaled_over_lion = list(torch._foreach_sub(scaled, lion))
    update = list(torch._foreach_add(lion, torch._foreach_mul(scaled_over_lion, gamma)))
    if not learning:
        return update

    # The slope of u in V is -γ m / (2 root³); of V in v it is (ρ + (1 - ρ) / t) / (1 - β2^t).
    torch._foreach_copy_(block.state("slope_gamma"), scaled_over_lion)
    of_v = list(torch._foreach_div(scaled, torch._foreach_mul(root, root)))
    torch._foreach_mul_(of_v, -0.5 * gamma)
    torch._foreach_copy_(block.state("slope_rho"), torch._foreach_mul(of_v, second_over_mean))
    of_s = list(torch._foreach_mul(of_v, ((rho + (1 - rho) / step) / gathered * (1 - group["beta2"])).to(of_v[0])))
    torch._foreach_copy_(block.state("slope_c"), torch._foreach_mul(of_s, adam_over_yogi))
    # ds/dβ3 = 2 ĝ Δ (c + (1 - c) sign)
    average_(sign, 1 - c, [torch.ones_like(each) for each in sign])
    for factor in (ahead, change, of_s):
        torch._foreach_mul_(sign, factor)
    torch._foreach_mul_(sign, 2)
    torch._foreach_add_(slope_drift, drift)
    torch._foreach_div_(slope_drift, root)
    torch._foreach_mul_(slope_drift, gamma)
    torch._foreach_add_(sign, slope_drift)
    torch._foreach_copy_(block.state("slope_beta3"), sign)
    return update
