"""Language models for TorchScript and `torch.export`: the same parameters, mathematics and state, for inference.

Axes: T time, B batch, V vocabulary, H hidden.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, log_softmax

from momentum_cli.layers.torchscript import _StandIn, scriptable_layer

if TYPE_CHECKING:
    from momentum_cli.language_model import LanguageModel


class AdaptiveDistribution(nn.Module):
    """Log-probabilities of an adaptive softmax, as one expression without loops over tokens.

    The head gives ``log p`` of the first tokens and of each cluster; a token of a cluster has the cluster's and its
    own, added.

    Args:
        head: Whose weights it shares.

    Reference: Grave et al., arXiv 1609.04309, section 4, as `torch.nn.AdaptiveLogSoftmaxWithLoss.log_prob`.
    """

    def __init__(self, head: nn.AdaptiveLogSoftmaxWithLoss) -> None:
        super().__init__()
        self.head = head.head
        self.tail = head.tail
        self.shortlist = int(head.shortlist_size)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return (…, V) for (…, H)."""
        first = log_softmax(linear(hidden, self.head.weight, self.head.bias), -1)
        parts = [first[..., : self.shortlist]]
        for index, cluster in enumerate(self.tail):
            start = self.shortlist + index
            parts.append(log_softmax(cluster(hidden), -1) + first[..., start : start + 1])
        return torch.cat(parts, -1)


def distribution(model: LanguageModel) -> nn.Module:
    """Return the last part of a model: (…, H) to logits or log-probabilities (…, V)."""
    if isinstance(model.head, nn.AdaptiveLogSoftmaxWithLoss):
        return AdaptiveDistribution(model.head)
    return model.head


class ScriptableLanguageModel(_StandIn):
    """`LanguageModel` for TorchScript, without dropout.

    Args:
        model: The model it stands for.
    """

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.embedding = model.embedding
        # Any, because TorchScript takes a comment on types behind an assignment for its own.
        self.layers: Any = nn.ModuleList(scriptable_layer(model.layer[number]) for number in range(len(model.layer)))
        self.distribution = distribution(model)
        self.stand_for(model)

    def forward(
        self, inputs: Tensor, lengths: Tensor | None = None, state: list[Tensor] | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Run the model on tokens (B, T); see `LanguageModel.forward`. The state is a list."""
        if torch.jit.is_scripting():  # type: ignore[attr-defined]
            before = self.zero_state(inputs.size(0)) if state is None else state
            after: list[Tensor] = []
            x = self.embedding(inputs.transpose(0, 1))
            at = 0
            for layer in self.layers:
                x, end = layer.run_padded(x, before[at : at + layer.states], None)
                at += layer.states
                after += end
            return self.distribution(x.transpose(0, 1)), after
        return self.original()(inputs, lengths, state)  # type: ignore[no-any-return]

    @torch.jit.export
    def zero_state(self, batch_size: int) -> list[Tensor]:
        """Return the state at the start of ``batch_size`` texts."""
        state: list[Tensor] = []
        for layer in self.layers:
            state += layer.zero_state(batch_size)
        return state
