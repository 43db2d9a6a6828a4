"""The loss over a large vocabulary, without holding the logits of all rows at once.

Axes: R rows, H channels, V tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear

from momentum_cli.data import NOT_SCORED

# Up to this many logits (64 MiB) are computed at once. Above, a chunk has about twice as many: with fewer rows the
# product would wait for the matrix of the head, which it reads again for each chunk.
AT_ONCE = 1 << 24
_CHUNK = 1 << 25


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, smoothing: float = 0.0
) -> Tensor:
    """Return the sum of ``-log softmax(W h + b)[target]`` over the scored rows, computed in float32 or above.

    Above `AT_ONCE` logits it processes some rows at a time and computes the gradients together with the loss, so it
    holds one chunk of logits at a time and computes none twice. It is then differentiable once.

    Args:
        hidden: (R, H).
        weight: (V, H).
        bias: (V,).
        targets: (R,) int64; `NOT_SCORED` for a row without a score.
        smoothing: Share of each target that is spread evenly over all tokens, in [0, 1), as `label_smoothing` of
            `torch.nn.CrossEntropyLoss`.
    """
    recorded = torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad or bias.requires_grad)
    if len(hidden) * len(weight) <= AT_ONCE or not recorded:
        logits = _wide(linear(hidden, weight, bias))
        return cross_entropy(logits, targets, ignore_index=NOT_SCORED, reduction="sum", label_smoothing=smoothing)
    result: Tensor = _Chunked.apply(hidden, weight, bias, targets, max(1, _CHUNK // len(weight)), smoothing)
    return result


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, rows: int, smoothing: float
    ) -> Tensor:
        kept, spread = 1.0 - smoothing, smoothing / len(weight)
        d_hidden, d_weight = torch.empty_like(hidden), torch.zeros_like(weight)
        d_bias = torch.zeros_like(_wide(bias))
        total = torch.zeros((), dtype=_wide(hidden[:0]).dtype, device=hidden.device)
        parts = (torch.split(tensor, rows) for tensor in (hidden, targets, d_hidden))
        for part, wanted, d_part in zip(*parts, strict=True):
            scored = (wanted != NOT_SCORED).unsqueeze(1)
            place = wanted.unsqueeze(1).where(scored, 0)
            # In place from here on, with one exponential: over many tokens these passes cost as much as a product.
            logits = _wide(linear(part, weight, bias))
            logits -= logits.amax(1, keepdim=True)
            right = kept * logits.gather(1, place)
            if smoothing > 0.0:
                right += spread * logits.sum(1, keepdim=True)
            gradient = logits.exp_()
            sums = gradient.sum(1, keepdim=True)
            total += (sums.log() - right).where(scored, 0.0).sum()
            # The gradient of a logit is its probability minus the wanted one: 1 at the target without smoothing.
            gradient /= sums
            if smoothing > 0.0:
                gradient -= spread
            gradient.scatter_add_(1, place, torch.full_like(place, -kept, dtype=gradient.dtype))
            gradient.masked_fill_(~scored, 0.0)
            d_bias += gradient.sum(0)
            gradient = gradient.to(hidden.dtype)
            d_part.copy_(gradient @ weight)
            if part.dtype == d_weight.dtype:
                d_weight.addmm_(gradient.t(), part)
            else:  # under autocast, from narrower layers
                d_weight += gradient.t() @ part
        ctx.save_for_backward(d_hidden, d_weight, d_bias.to(bias.dtype))
        return total

    @staticmethod
    def backward(ctx: Any, d_total: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                f"the loss of more than {AT_ONCE} logits is computed in chunks and has no second derivative; use fewer "
                "rows, or momentum_cli.models.language.LanguageModel.distribution and torch's cross_entropy"
            )
        return *(gradient * d_total.to(gradient.dtype) for gradient in ctx.saved_tensors), None, None, None


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
