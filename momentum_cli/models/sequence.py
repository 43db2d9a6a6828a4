"""A recurrent layer and a linear head that reads its last step or every step.

Axes: T time, B batch, D input, H hidden.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from momentum_cli.data import Batch
from momentum_cli.dynamics.state import State
from momentum_cli.layers.recurrent import RecurrentLayer
from momentum_cli.messages import refuse
from momentum_cli.models.inputs import Numbers
from momentum_cli.models.model import LossSum, Model, TrainingLoss
from momentum_cli.models.stream import ModelStream


class SequenceModel(Model):
    """A recurrent layer followed by a linear head.

    Args:
        layer: A layer of `momentum_cli.layers.lstm_gru_rnn`, time first.
        output_size: Classes, or values to predict, >= 1.
        output: ``"last"``: the head reads the output at each sequence's last valid step (for a bidirectional layer
            the final output of each direction). ``"every"``: it reads every step.
        dropout: Probability in [0, 1] of zeroing an input of the head, while training.
        recompute: In training, number of steps whose activations are kept at a time, >= 1. The sequence is cut into
            pieces of that many steps, and the backward pass recomputes the activations of each from the state before
            it: less memory, for one more forward pass. None keeps all. Gradients are the same up to the order of sums;
            dropout draws other masks.

    Raises:
        ValueError: ``output`` is neither, or ``recompute`` is not >= 1; in training, a bidirectional layer with
            ``recompute``.

    Reference for ``recompute``: Chen et al., Training Deep Nets with Sublinear Memory Cost, arXiv 1604.06174.
    """

    layer: RecurrentLayer

    def __init__(
        self,
        layer: RecurrentLayer,
        output_size: int,
        output: Literal["last", "every"] = "last",
        dropout: float = 0.0,
        recompute: int | None = None,
    ) -> None:
        super().__init__()
        if output not in ("last", "every"):
            raise ValueError(refuse("output", output, "be 'last' or 'every'"))
        if recompute is not None and recompute < 1:
            raise ValueError(refuse("recompute", recompute, "be >= 1, or None"))
        self.layer = layer
        self.recompute = recompute
        self.output = output
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(layer.output_size * layer.num_directions, output_size)

    @property
    def inputs(self) -> Numbers:
        """Numbers with D channels."""
        return Numbers(self.layer.input_size)

    @property
    def output_size(self) -> int:
        """Classes, or values to predict."""
        return self.head.out_features

    def reset_parameters(self, init: str = "torch", forget_bias: float | None = None) -> None:
        """Initialise the layer, see `RecurrentLayer.reset_parameters`, and the head, always as torch does."""
        self.layer.reset_parameters(init, forget_bias)
        self.head.reset_parameters()

    def forward(
        self, inputs: Tensor, lengths: Tensor | None = None, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Run the model.

        Args:
            inputs: (B, T, D).
            lengths: (B,) valid steps of any integer dtype, each in [0, T], or None for T.
            state: The state an earlier call returned, or None for zeros.

        Returns:
            Logits or predictions, (B, output_size) or (B, T, output_size); and the state after the last step.
        """
        if not (self.recompute and self.training and torch.is_grad_enabled()):
            return self._pass(inputs, lengths, state)
        if self.layer.bidirectional:
            raise ValueError(refuse("recompute", self.recompute, "be None for a bidirectional layer"))
        outputs = []
        for start in range(0, inputs.shape[1], self.recompute):
            piece = inputs[:, start : start + self.recompute]
            own = None if lengths is None else (lengths - start).clamp(0, piece.shape[1])
            output, state = checkpoint(self._pass, piece, own, state, use_reentrant=False)
            outputs.append(output)
        assert state is not None
        return torch.cat(outputs, 1) if self.output == "every" else outputs[-1], state

    def _pass(self, inputs: Tensor, lengths: Tensor | None, state: State | None) -> tuple[Tensor, State]:
        every = self.output == "every"
        steps, after = self.layer.run_tensors(inputs.transpose(0, 1), state, lengths, every=every)
        if every:
            read = steps.transpose(0, 1)
        else:
            # The state holds the final output of every layer and direction; the last layer's are the last rows.
            last = after[0][-self.layer.num_directions :]
            read = torch.cat(last.unbind(0), 1)
        return self.head(self.dropout(read)), after

    def stream(self, batch_size: int) -> ModelStream:
        """See `Model.stream`; with an output at the last step, that is the last one of each call."""

        def write(steps: Tensor) -> Tensor:
            return self.head(steps.transpose(0, 1) if self.output == "every" else steps[-1])  # type: ignore[no-any-return]

        return ModelStream(self.layer.stream(batch_size), lambda inputs: inputs.transpose(0, 1), write)

    def training_loss(self, batch: Batch, state: State | None, loss_sum: LossSum) -> TrainingLoss:
        """Return the loss of a batch; see `Model.training_loss`."""
        outputs, after = self(batch.inputs, batch.lengths, state)
        return TrainingLoss(loss_sum(outputs, batch.targets), None, after)

    def __prepare_scriptable__(self) -> nn.Module:
        """See `Model.__prepare_scriptable__` and `momentum_cli.models.torchscript`."""
        from momentum_cli.models.torchscript import ScriptableModel

        return ScriptableModel(self)
