"""Models for TorchScript and `torch.export`: the same parameters, mathematics and state.

Axes: T time, B batch, V vocabulary, H hidden.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, log_softmax

from momentum_cli.layers.torchscript import StandIn, scriptable_layer


class ScriptableModel(StandIn):
    """`SequenceModel` for TorchScript.

    Args:
        model: The model it stands for.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.layer = scriptable_layer(model.layer)
        self.dropout = model.dropout
        self.head = model.head
        self.every = model.output == "every"
        self.directions = model.layer.num_directions
        self.stand_for(model)

    def forward(
        self, inputs: Tensor, lengths: Tensor | None = None, state: list[Tensor] | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Run the model; see `SequenceModel.forward`. The state is a list."""
        if torch.jit.is_scripting():  # type: ignore[attr-defined]
            steps, after = self.layer.run_tensors(inputs.transpose(0, 1), state, lengths)
            if self.every:
                read = steps.transpose(0, 1)
            else:
                last = after[0][-self.directions :]
                read = torch.cat(last.unbind(0), 1)
            return self.head(self.dropout(read)), after
        return self.original()(inputs, lengths, state)  # type: ignore[no-any-return]

    @torch.jit.export
    def zero_state(self, batch_size: int) -> list[Tensor]:
        """Return the state at the start of ``batch_size`` sequences."""
        return self.layer.zero_tensors(batch_size)


class AdaptiveDistribution(nn.Module):
    """Log-probabilities of an adaptive softmax, as one expression without loops over tokens.

    The head gives ``log p`` of the first tokens and of each cluster; for a token in a cluster, the cluster's ``log p``
    and the token's own are added.

    Args:
        head: The adaptive softmax, whose weights it shares.

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


def distribution(head: nn.Module) -> nn.Module:
    """Return the last part of a language model: (…, H) to logits or log-probabilities (…, V)."""
    return AdaptiveDistribution(head) if isinstance(head, nn.AdaptiveLogSoftmaxWithLoss) else head


class ScriptableLanguageModel(StandIn):
    """`LanguageModel` for TorchScript, without dropout.

    Args:
        model: The model it stands for.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.embedding = model.embedding
        # Annotated, because TorchScript would read a trailing type comment as its own.
        self.layers: Any = nn.ModuleList(scriptable_layer(model.layer[number]) for number in range(len(model.layer)))
        self.states = len(model.state_names)
        self.distribution = distribution(model.head)
        self.stand_for(model)

    def forward(
        self, inputs: Tensor, lengths: Tensor | None = None, state: list[Tensor] | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Run the model on tokens (B, T); see `LanguageModel.forward`. The state is a list."""
        if torch.jit.is_scripting():  # type: ignore[attr-defined]
            before = self.zero_state(inputs.size(0)) if state is None else state
            if len(before) != self.states:
                raise ValueError(f"`state` must have {self.states} tensors, got {len(before)}")
            after: list[Tensor] = []
            x = self.embedding(inputs.transpose(0, 1))
            at = 0
            for layer in self.layers:
                x, end = layer.run_tensors(x, before[at : at + layer.states], None)
                at += layer.states
                after += end
            return self.distribution(x.transpose(0, 1)), after
        return self.original()(inputs, lengths, state)  # type: ignore[no-any-return]

    @torch.jit.export
    def zero_state(self, batch_size: int) -> list[Tensor]:
        """Return the state at the start of ``batch_size`` texts."""
        state: list[Tensor] = []
        for layer in self.layers:
            state += layer.zero_tensors(batch_size)
        return state
