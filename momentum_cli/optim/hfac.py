"""H-Fac: first and second moments as row and column statistics, in sublinear memory."""

from __future__ import annotations

from typing import ClassVar, Unpack

from torch import Tensor

from momentum_cli.optim.multi_tensor import descend_, remaining, wide_dtype
from momentum_cli.optim.optimizer import Group, MultiTensorOptimizer, Params, Work, require
from momentum_cli.optim.options import StepOptions


class HFac(MultiTensorOptimizer):
    """Adam-like descent that stores only row and column sums of a matrix's moments.

    With G the gradient of an (m, n) matrix, 1_m and 1_n vectors of ones, β̂ = β (1 - β^{t-1}) / (1 - β^t)::

        u = β̂1 u + (1 - β̂1) G 1_n / n             v = β̂1 v + (1 - β̂1) Gᵀ 1_m / m          row and column means
        r = β̂2 r + (1 - β̂2) (G² + eps) 1_n        s = β̂2 s + (1 - β̂2) (G² + eps)ᵀ 1_m     row and column sums
        φ = β̂1 (u 1_nᵀ - G 1_n 1_nᵀ / n) / sqrt(r 1_nᵀ / n)
        ψ = β̂1 (1_m vᵀ - 1_m 1_mᵀ G / m) / sqrt(1_m sᵀ / m)
        X = X - γ ((φ + ψ) / 2 + clip(G / sqrt(r sᵀ / (1_mᵀ r))) + λ X),   clip(U) = U / max(1, RMS(U) / d)

    State of an (m, n) matrix: 2 (m + n) numbers, where Adam has 2 m n.

    Args:
        params: Parameters, named parameters or parameter groups.
        lr: Learning rate γ, >= 0; may be a 0-d tensor.
        beta1: Decay of the first moment, in [0, 1).
        beta2: Decay of the second moment, in [0, 1).
        eps: Added to squares, > 0.
        clip_threshold: d > 0, largest root mean square of the step of a tensor before γ.
        weight_decay: λ >= 0.
        decoupled_weight_decay: λ X is added to the step (the paper's form, the default), or to the gradient.
        maximize: Ascend.
        foreach: As in the other optimizers, except that row and column sums are always taken one tensor at a time.

    Raises:
        ValueError: An option is outside its range.

    Our choices where the paper is silent: a tensor of more than two axes is a matrix of its first axis by all
    others; a vector or scalar keeps both moments whole (it is a matrix of one column, without ψ, and with r itself in
    place of r sᵀ / 1ᵀr); factors are float32 for half-precision parameters.

    Reference: Nguyen, Chen, Liu, Liu, "Memory-Efficient Optimization with Factorized Hamiltonian Descent", arXiv
    2406.09958.
    """

    first_state: ClassVar[str] = "row_mean"
    wide_state: ClassVar[frozenset[str]] = frozenset({"row_mean", "row_square", "column_mean", "column_square"})

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-30,
        clip_threshold: float = 1.0,
        weight_decay: float = 0.0,
        *,
        decoupled_weight_decay: bool = True,
        **options: Unpack[StepOptions],
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            beta1=beta1,
            beta2=beta2,
            eps=eps,
            clip_threshold=clip_threshold,
            weight_decay=weight_decay,
            decoupled_weight_decay=decoupled_weight_decay,
            **options,
        )

    def _check(self, group: Group) -> None:
        require("beta1", group["beta1"], 0 <= group["beta1"] < 1, "in [0, 1)")
        require("beta2", group["beta2"], 0 <= group["beta2"] < 1, "in [0, 1)")
        require("eps", group["eps"], group["eps"] > 0, "> 0")
        require("clip_threshold", group["clip_threshold"], group["clip_threshold"] > 0, "> 0")

    def _new_state(self, group: Group, param: Tensor, grad: Tensor) -> dict[str, Tensor]:
        wide = _matrix(grad.to(wide_dtype(grad)))
        square = wide.square() + group["eps"]
        # So that the first averages of a parameter are its first terms, even if its group has made steps before.
        state = {"row_mean": wide.mean(1), "row_square": square.sum(1)}
        if grad.dim() > 1:
            state |= {"column_mean": wide.mean(0), "column_square": square.sum(0)}
        return state

    def _apply(self, work: Work) -> None:
        for group, blocks in work:
            if not blocks:
                continue
            step = self._count(group)
            keep1, keep2 = (_corrected(group[name], step) for name in ("beta1", "beta2"))
            for block in blocks:
                update = [
                    _direction(grad, state, keep1.to(grad.device), keep2.to(grad.device), group)
                    for grad, state in zip(block.grads, block.states, strict=True)
                ]
                descend_(block.params, block.with_decay(update, group), group["lr"])


def _direction(grad: Tensor, state: dict[str, Tensor], keep1: Tensor, keep2: Tensor, group: Group) -> Tensor:
    """Update the state of one tensor and return its step before γ and weight decay."""
    matrix = _matrix(grad.to(state["row_mean"].dtype))
    rows, columns = matrix.shape
    square = matrix.square() + group["eps"]
    row_mean, row_square = matrix.mean(1), square.sum(1)
    state["row_mean"].lerp_(row_mean, (1 - keep1).to(row_mean.dtype))
    state["row_square"].lerp_(row_square, (1 - keep2).to(row_mean.dtype))
    phi = keep1 * (state["row_mean"] - row_mean) / (state["row_square"] / columns).sqrt()
    if "column_mean" in state:
        column_mean, column_square = matrix.mean(0), square.sum(0)
        state["column_mean"].lerp_(column_mean, (1 - keep1).to(row_mean.dtype))
        state["column_square"].lerp_(column_square, (1 - keep2).to(row_mean.dtype))
        psi = keep1 * (state["column_mean"] - column_mean) / (state["column_square"] / rows).sqrt()
        drift = (phi[:, None] + psi[None, :]) / 2
        # The root of each factor, because the product would underflow with eps = 1e-30.
        share = state["row_square"] / state["row_square"].sum()
        root = share.sqrt()[:, None] * state["column_square"].sqrt()[None, :]
    else:
        drift, root = phi[:, None], state["row_square"].sqrt()[:, None]
    scaled = matrix / root
    rms = scaled.square().mean().sqrt()
    step: Tensor = drift + scaled / (rms / group["clip_threshold"]).clamp(min=1)
    return step.view(grad.shape).to(grad.dtype)


def _matrix(tensor: Tensor) -> Tensor:
    """View a tensor as a matrix: its first axis by all others, a vector or scalar as one column."""
    return tensor.reshape(tensor.shape[0], -1) if tensor.dim() > 1 else tensor.reshape(-1, 1)


def _corrected(beta: float, step: Tensor) -> Tensor:
    """Return β̂ = β (1 - β^{t-1}) / (1 - β^t): with it a running average needs no correction of its bias."""
    return beta * remaining(beta, step - 1) / remaining(beta, step)
