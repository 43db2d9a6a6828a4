"""Language models: embedding, recurrent layers, and a distribution over the next token.

Axes: T time, B batch, V vocabulary, E embedding, H hidden of the last layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from momentum_cli.data import NOT_SCORED, Batch
from momentum_cli.dynamics.state import State
from momentum_cli.layers.stack import RecurrentStack, locked_dropout
from momentum_cli.messages import Said, refuse
from momentum_cli.models.cross_entropy import linear_cross_entropy
from momentum_cli.models.inputs import Tokens
from momentum_cli.models.model import LossSum, Model, TrainingLoss
from momentum_cli.models.stream import ModelStream

# Half the width of the uniform distribution of a tied embedding, from the code of AWD-LSTM.
_INIT_RANGE = 0.1


class LanguageModel(Model):
    """A model that predicts the next token at every step.

    ``e_t = embedding[x_t]``; ``h_t`` = the recurrent layers on e; ``log p(x_{t+1}) = log_softmax(W h_t + b)``.

    Args:
        layer: The recurrent layers, of input size E.
        vocabulary_size: V, >= 2.
        tied: Use the embedding matrix as W, which requires H = E.
        embedding_dropout: Probability in [0, 1) of dropping a token from the embedding matrix, drawn once per call.
        input_dropout: Probability in [0, 1) of locked dropout on the input of the first layer.
        output_dropout: Probability in [0, 1) of locked dropout on the input of the head.
        cutoffs: First tokens of the clusters of an adaptive softmax, ascending in [1, V - 1]; tokens must be numbered
            by decreasing frequency. Empty for the ordinary softmax.
        div_value: Factor by which the width shrinks from each cluster to the next, > 0.
        activation_penalty: α of AR, >= 0: the factor of the mean squared output of the last layer, after dropout.
        slowness_penalty: β of TAR, >= 0: the factor of the mean squared change of that output from step to step,
            before dropout.

    In training mode `training_loss` is that of AWD-LSTM; in evaluation mode there is no dropout.

    Raises:
        ValueError: An option is outside its range, or options contradict each other.

    Reference: Merity, Keskar, Socher, Regularizing and Optimizing LSTM Language Models, arXiv 1708.02182; adaptive
    softmax: Grave et al., arXiv 1609.04309, as in `torch.nn.AdaptiveLogSoftmaxWithLoss`.
    """

    layer: RecurrentStack
    output: Literal["every"] = "every"

    def __init__(
        self,
        layer: RecurrentStack,
        vocabulary_size: int,
        *,
        tied: bool = False,
        embedding_dropout: float = 0.0,
        input_dropout: float = 0.0,
        output_dropout: float = 0.0,
        cutoffs: Sequence[int] = (),
        div_value: float = 4.0,
        activation_penalty: float = 0.0,
        slowness_penalty: float = 0.0,
    ) -> None:
        super().__init__()
        dropouts = {"embedding_dropout": embedding_dropout, "input_dropout": input_dropout}
        for name, value in (dropouts | {"output_dropout": output_dropout}).items():
            if not 0.0 <= value < 1.0:
                raise ValueError(refuse(name, value, "be in [0, 1)"))
        for name, value in (("activation_penalty", activation_penalty), ("slowness_penalty", slowness_penalty)):
            if value < 0.0:
                raise ValueError(refuse(name, value, "be >= 0"))
        if tied and layer.hidden_size != layer.input_size:
            sizes = Said(f"{layer.hidden_size} and {layer.input_size}")
            raise ValueError(
                refuse("the sizes of the last layer and of the embedding", sizes, "be equal with tied=True")
            )
        if tied and cutoffs:
            raise ValueError("`tied` excludes `cutoffs`: an adaptive softmax has no matrix of the embedding's shape")
        if cutoffs and (list(cutoffs) != sorted(set(cutoffs)) or cutoffs[0] < 1 or cutoffs[-1] >= vocabulary_size):
            must = f"be ascending numbers in [1, {vocabulary_size - 1}]"
            raise ValueError(refuse("cutoffs", Said(list(cutoffs)), must))
        if cutoffs and layer.hidden_size < div_value ** len(cutoffs):
            must = f"leave the last of {len(cutoffs)} clusters at least one of {layer.hidden_size} channels"
            raise ValueError(refuse("div_value", div_value, must, "use a smaller one or fewer cutoffs"))
        self.embedding = nn.Embedding(vocabulary_size, layer.input_size)
        self.layer = layer
        self.head: nn.Linear | nn.AdaptiveLogSoftmaxWithLoss
        if cutoffs:
            self.head = nn.AdaptiveLogSoftmaxWithLoss(
                layer.hidden_size, vocabulary_size, list(cutoffs), div_value=div_value
            )
        else:
            self.head = nn.Linear(layer.hidden_size, vocabulary_size)
            if tied:
                self.head.weight = self.embedding.weight
        self.tied = tied
        self.embedding_dropout = embedding_dropout
        self.input_dropout = input_dropout
        self.output_dropout = output_dropout
        self.activation_penalty = activation_penalty
        self.slowness_penalty = slowness_penalty

    @property
    def inputs(self) -> Tokens:
        """Tokens out of a vocabulary of V."""
        return Tokens(self.embedding.num_embeddings)

    @property
    def output_size(self) -> int:
        """V, the size of the vocabulary."""
        return self.embedding.num_embeddings

    def reset_parameters(self, init: str = "torch", forget_bias: float | None = None) -> None:
        """Initialise the layers as `RecurrentLayer.reset_parameters`, embedding and head as torch does.

        A tied embedding is uniform in ±0.1 and its bias 0, as in AWD-LSTM: torch's embedding, of variance 1, would make
        large logits.
        """
        self.layer.reset_parameters(init, forget_bias)
        self.embedding.reset_parameters()
        self.head.reset_parameters()
        if self.tied and isinstance(self.head, nn.Linear):
            nn.init.uniform_(self.embedding.weight, -_INIT_RANGE, _INIT_RANGE)
            nn.init.zeros_(self.head.bias)

    def forward(
        self, inputs: Tensor, lengths: Tensor | None = None, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Run the model.

        Args:
            inputs: (B, T) int64 tokens.
            lengths: Must be None: windows of a text have no padding.
            state: The state an earlier call returned, or None at the start of the text.

        Returns:
            Logits, or log-probabilities of an adaptive softmax, (B, T, V); and the state after the last step.
        """
        hidden, after = self.layer(self._embedded(inputs.t()), state)
        read = locked_dropout(hidden, self.output_dropout, self.training)
        return self.distribution(read.transpose(0, 1)), after

    def stream(self, batch_size: int) -> ModelStream:
        """See `Model.stream`."""

        def write(hidden: Tensor) -> Tensor:
            return self.distribution(hidden.transpose(0, 1))

        return ModelStream(self.layer.stream(batch_size), lambda tokens: self.embedding(tokens.t()), write)

    def training_loss(self, batch: Batch, state: State | None, loss_sum: LossSum) -> TrainingLoss:
        """Return the loss of a batch of windows; see `Model.training_loss`.

        The loss is the sum of ``-log p(target)``; ``loss_sum`` is not used, because an adaptive softmax computes only
        the log-probabilities it needs. The penalty is ``α mean(read²) + β mean((h_t - h_{t-1})²)``.
        """
        hidden, after = self.layer(self._embedded(batch.inputs.t()), state)
        read = locked_dropout(hidden, self.output_dropout, self.training)
        # Time first, like the layers, so that the large tensor of logits is not transposed.
        summed = self._loss_sum(read.flatten(0, 1), batch.targets.t().flatten())
        return TrainingLoss(summed, self._penalty(hidden, read), after)

    def distribution(self, hidden: Tensor) -> Tensor:
        """Return logits, or log-probabilities of an adaptive softmax, (…, V) for (…, H)."""
        if isinstance(self.head, nn.AdaptiveLogSoftmaxWithLoss):
            with _plain_precision(hidden):
                flat = hidden.flatten(0, -2).to(self.head.head.weight.dtype)
                return self.head.log_prob(flat).view(*hidden.shape[:-1], -1)
        return self.head(hidden)  # type: ignore[no-any-return]

    def _embedded(self, tokens: Tensor) -> Tensor:
        """Return (T, B, E) for tokens (T, B)."""
        weight = self.embedding.weight
        if self.training and self.embedding_dropout > 0.0:
            weight = weight * nn.functional.dropout(torch.ones_like(weight[:, :1]), self.embedding_dropout, True)
        return locked_dropout(embedding(tokens, weight), self.input_dropout, self.training)

    def _loss_sum(self, read: Tensor, targets: Tensor) -> Tensor:
        if isinstance(self.head, nn.AdaptiveLogSoftmaxWithLoss):
            counts = targets != NOT_SCORED
            with _plain_precision(read):
                scored = read[counts].to(self.head.head.weight.dtype)
                return -self.head(scored, targets[counts]).output.sum()  # type: ignore[no-any-return]
        return linear_cross_entropy(read, self.head.weight, self.head.bias, targets)

    def _penalty(self, hidden: Tensor, read: Tensor) -> Tensor | None:
        if self.activation_penalty == 0.0 and self.slowness_penalty == 0.0:
            return None
        activation = read.square().mean()
        slowness = (hidden[1:] - hidden[:-1]).square().mean() if len(hidden) > 1 else hidden.new_zeros(())
        terms = _at_least_float32(activation), _at_least_float32(slowness)
        return self.activation_penalty * terms[0] + self.slowness_penalty * terms[1]

    def __prepare_scriptable__(self) -> nn.Module:
        """See `Model.__prepare_scriptable__` and `momentum_cli.models.torchscript`."""
        from momentum_cli.models.torchscript import ScriptableLanguageModel

        return ScriptableLanguageModel(self)


def _plain_precision(like: Tensor) -> torch.autocast:
    """Suspend mixed precision: torch collects the log-probabilities of clusters in the type of what it reads.

    On some devices they have another type, and then it fails.
    """
    return torch.autocast(like.device.type, enabled=False)


def _at_least_float32(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
