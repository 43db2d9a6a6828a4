"""The interface of all models: recurrent layers between inputs and outputs, and the loss they are trained with.

Axes: B batch, T time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from torch import Tensor, nn

from momentum_cli.data import Batch
from momentum_cli.dynamics.state import State
from momentum_cli.layers.recurrent import RecurrentLayer
from momentum_cli.layers.stack import RecurrentStack
from momentum_cli.models.inputs import Inputs
from momentum_cli.models.stream import ModelStream
from momentum_cli.models.translation.search import Translator

# Maps outputs and targets to the sum of the loss over everything scored.
LossSum = Callable[[Tensor, Tensor], Tensor]


class TrainingLoss(NamedTuple):
    """The loss of a batch in training.

    Args:
        summed: Sum of the loss over everything scored, a scalar.
        penalty: A scalar that is added to the mean of the loss and not reported, or None.
        state: State after the batch.
    """

    summed: Tensor
    penalty: Tensor | None
    state: State


class Answered(NamedTuple):
    """The answer of a model to a batch in an evaluation.

    Args:
        outputs: Outputs, as `momentum_cli.training.objective.Objective.loss_sum` compares them with the targets.
        state: State after the batch.
        written: For a model that answers in words, the tokens of its answer to each sequence; else None.
        attacked: The worst outputs under an attack, where one is made; else None.
    """

    outputs: Tensor
    state: Any
    written: list[list[int]] | None = None
    attacked: Tensor | None = None


class Model(nn.Module, ABC):
    """A model that can be trained, evaluated and exported.

    Attributes:
        layer: The recurrent layers.
        output: ``"last"`` for one output per sequence, ``"every"`` for one per step.
    """

    layer: RecurrentLayer | RecurrentStack
    output: Literal["last", "every"]

    @property
    @abstractmethod
    def inputs(self) -> Inputs:
        """Numbers and their channels, or tokens and the size of the vocabulary."""

    @property
    @abstractmethod
    def output_size(self) -> int:
        """Size of an output: the number of classes, values or tokens."""

    @property
    def state_names(self) -> tuple[str, ...]:
        """One name for each tensor of the state."""
        return self.layer.state_names

    def zero_state(self, batch_size: int) -> State:
        """Return the state at the start of ``batch_size`` sequences."""
        return self.layer.zero_tensors(batch_size)

    @abstractmethod
    def reset_parameters(self, init: str = "torch", forget_bias: float | None = None) -> None:
        """Initialise all parameters; see `RecurrentLayer.reset_parameters`."""

    @abstractmethod
    def forward(
        self, inputs: Tensor, lengths: Tensor | None = None, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Return outputs, and the state after the last step.

        Args:
            inputs: As described by `inputs`.
            lengths: (B,) int64 valid steps on the CPU, or None for T.
            state: The state an earlier call returned, or None at the start.
        """

    if TYPE_CHECKING:

        def __call__(
            self, inputs: Tensor, lengths: Tensor | None = None, state: State | None = None
        ) -> tuple[Tensor, State]: ...

    def answer(self, batch: Batch, state: State | None) -> Answered:
        """Return the answer that an evaluation judges; the model is in evaluation mode.

        Args:
            batch: Inputs and targets; only a model that predicts each token from those before it may read the targets.
            state: The state after the previous batch, or None at the start.
        """
        outputs, after = self(batch.inputs, batch.lengths, state)
        return Answered(outputs, after)

    @abstractmethod
    def stream(self, batch_size: int) -> ModelStream:
        """Return the model as a function that keeps its state, for inference one step or more at a time.

        Dropout is that of evaluation mode, whatever the mode of the model. The weights of the layers are copied, see
        `momentum_cli.layers.stream.Stream`.

        Args:
            batch_size: B, >= 1.

        Raises:
            ValueError: A layer is bidirectional.
        """

    @abstractmethod
    def training_loss(self, batch: Batch, state: State | None, loss_sum: LossSum) -> TrainingLoss:
        """Return the loss of a batch.

        Args:
            batch: Inputs and targets.
            state: The state after the previous batch, or None at the start.
            loss_sum: The loss of the data set, summed.
        """

    @abstractmethod
    def __prepare_scriptable__(self) -> nn.Module:
        """Return the module that `torch.jit.script` compiles in place of this one, with ``zero_state``."""

    @property
    def translator(self) -> Translator | None:
        """The model with its search, if it translates."""
        return None

    def search_with(self, **options: Any) -> None:
        """Change options of the search of a model that translates; see `momentum_cli.models.translation.search.Search`.

        Raises:
            ValueError: An option is outside its range.
        """

    def recurrent_layers(self) -> list[RecurrentLayer]:
        """Return all recurrent layers, in the order of their parameters."""
        return [module for module in self.modules() if isinstance(module, RecurrentLayer)]

    @property
    def bidirectional(self) -> bool:
        """True if a layer also reads its sequence backwards."""
        return any(layer.bidirectional for layer in self.recurrent_layers())

    def after_step(self) -> None:
        """Call `RecurrentLayer.after_step` of every layer."""
        for layer in self.recurrent_layers():
            layer.after_step()

    def use_backend(self, name: str) -> None:
        """Set the backend of every layer."""
        for layer in self.recurrent_layers():
            layer.backend = name

    def backend_for(self, steps: int, batch: int, *, training: bool) -> str:
        """Return the backends for batches of a size, joined by ``+`` where they differ between layers."""
        layers = self.recurrent_layers()
        names = [layer.backend_for((steps, batch, layer.input_size), training=training) for layer in layers]
        return "+".join(dict.fromkeys(names))

    @property
    def chosen_backend(self) -> str | None:
        """The backends that ran last, as `backend_for`; None before the first run."""
        names = [layer.chosen_backend for layer in self.recurrent_layers()]
        return None if None in names else "+".join(dict.fromkeys(str(name) for name in names))
