"""Adversarial training: the model learns from inputs that an attack has changed to raise its loss.

Axes: B batch, T time, D channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch import Tensor

from momentum_cli.attacks import ATTACKS, Ball, Learned
from momentum_cli.attacks.ball import check_epsilon
from momentum_cli.data import Batch, Dataset
from momentum_cli.data.batching import stream
from momentum_cli.errors import RecipeError
from momentum_cli.messages import Said, counted, refuse
from momentum_cli.models.model import LossSum, Model
from momentum_cli.training.attacker import Attacker, Fixed, Learner
from momentum_cli.training.guard import Guard
from momentum_cli.training.objective import Objective
from momentum_cli.training.worst import worst_outputs

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from momentum_cli.recipe.sections import TrainOptions

STEPS = 7
"""Steps of an iterated attack where a recipe names none."""


class Adversary(Protocol):
    """The interface of what stands between the data and the model in training.

    Attributes:
        tensors: All that decides its next steps and does not follow from the recipe, by name.
        described: What it does, for readers; "" for nothing.
    """

    described: str

    @property
    def tensors(self) -> dict[str, Tensor]: ...

    def begin(self, step: int) -> None:
        """Begin an optimizer step, whose number decides where attacks start."""

    def changed(self, batch: Batch, part: Tensor, rank: int, world: int, weight: float) -> Batch:
        """Return the batch that the model learns from.

        Args:
            batch: The share of a process in a part of the step.
            part: The sequences of the part, of all processes.
            rank, world: The process has every `world`-th sequence of the part from `rank` on, or the first if it has
                none.
            weight: What the loss of the batch is multiplied by in the loss of the whole step.
        """

    def worst(self, batch: Batch, index: Tensor, objective: Objective) -> Tensor | None:
        """Return the worst answers to a batch of an evaluation, (B, O) or (B, T, O); None without an attack.

        Args:
            batch: Inputs and targets.
            index: (B,) places of its sequences in the split.
            objective: What is evaluated.
        """

    def learn(self, guard: Guard) -> None:
        """End an optimizer step. Every process must call it."""

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from `tensors` of an earlier one; see `momentum_cli.training.attacker.Attacker.restore`."""


class NoAdversary:
    """Ordinary training."""

    described = ""

    @property
    def tensors(self) -> dict[str, Tensor]:
        """See `Adversary`: none."""
        return {}

    def begin(self, step: int) -> None:
        """See `Adversary`."""

    def changed(self, batch: Batch, part: Tensor, rank: int, world: int, weight: float) -> Batch:
        """See `Adversary`."""
        return batch

    def worst(self, batch: Batch, index: Tensor, objective: Objective) -> Tensor | None:
        """See `Adversary`: there is none."""

    def learn(self, guard: Guard) -> None:
        """See `Adversary`."""

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """See `Adversary`."""


class Attacking:
    """Training on the inputs that an attack finds.

    The model is attacked as it is evaluated, without dropout, and keeps its gradients, its mode and the random streams.
    Random places depend on the seed, the step and the place of a sequence in it, not on processes and parts.

    Args:
        attacker: The attack.
        epsilon: Radius, > 0, in the unit of the inputs.
        model: In training.
        loss_sum: The loss that it is trained with.
        dataset: Its training split and the range of its inputs.
        seed: Of the training.
        cast: The context of a forward pass.
        described: The attack, for readers.
    """

    def __init__(
        self,
        attacker: Attacker,
        epsilon: float,
        model: Model,
        loss_sum: LossSum,
        dataset: Dataset,
        seed: int,
        cast: Callable[[], AbstractContextManager[object]],
        described: str,
    ) -> None:
        self._attacker, self._epsilon, self._model, self._loss_sum = attacker, epsilon, model, loss_sum
        self._lengths, self._limits = dataset.train.lengths, dataset.input_range
        self._seed, self._cast, self.described = seed, cast, described
        self._places = torch.Generator()

    @property
    def tensors(self) -> dict[str, Tensor]:
        """See `Adversary`: those of the attack."""
        return self._attacker.tensors

    def begin(self, step: int) -> None:
        """See `Adversary`."""
        self._places = stream("adversarial", self._seed, step)

    def changed(self, batch: Batch, part: Tensor, rank: int, world: int, weight: float) -> Batch:
        """See `Adversary`."""

        def call(inputs: Tensor) -> Tensor:
            with self._cast():
                return self._model(inputs, batch.lengths)[0]

        rows, steps, channels = batch.inputs.shape
        # All processes draw for the whole part, as long as the longest of its sequences.
        longest = steps if self._lengths is None else max(steps, int(self._lengths[part].max()))
        drawn = torch.rand(len(part), longest, channels, generator=self._places)
        share = drawn[rank::world] if len(part) > rank else drawn[:1]
        start = (2 * share[:rows, :steps] - 1).to(batch.inputs.device)
        ball = Ball(batch.inputs, self._epsilon, batch.lengths, self._limits)
        with _as_evaluated(self._model):
            found = self._attacker(call, batch.targets, self._loss_sum, ball, start, weight)
        return replace(batch, inputs=found)

    def worst(self, batch: Batch, index: Tensor, objective: Objective) -> Tensor | None:
        """See `Adversary`: as ``momentumrnn eval --attack`` with the options of the training and one start."""

        def call(inputs: Tensor) -> Tensor:
            with self._cast():
                return self._model(inputs, batch.lengths)[0]

        ball = Ball(batch.inputs, self._epsilon, batch.lengths, self._limits)
        with _as_evaluated(self._model):
            return worst_outputs(call, self._attacker.attack, ball, batch, index, objective)

    def learn(self, guard: Guard) -> None:
        """See `Adversary`."""
        self._attacker.learn(guard)

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """See `Adversary`."""
        self._attacker.restore(tensors)


@contextmanager
def _as_evaluated(model: Model) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def adversary_for(
    options: TrainOptions, model: Model, loss_sum: LossSum, dataset: Dataset, fabric: Fabric, precision: str
) -> Adversary:
    """Return the adversary that a recipe asks for.

    Args:
        options: Of the recipe.
        model, loss_sum, dataset: As for `Attacking`.
        fabric: Device, precision and processes.
        precision: Of the training; never ``auto``.

    Raises:
        RecipeError: The inputs are not numbers, or epsilon is larger than their range.
    """
    given = options.adversarial
    if given is None:
        return NoAdversary()
    if dataset.train.carried or not dataset.train.batch(torch.arange(1)).inputs.is_floating_point():
        must = "be left out for inputs that are not numbers"
        raise RecipeError(refuse("train.adversarial", Said(f"the task {dataset.name}"), must))
    check_epsilon("train.adversarial.epsilon", given.epsilon, dataset.input_range)
    # Without the scale of the loss, small gradients would be 0 in float16.
    precise = nullcontext if precision == "fp16-mixed" else fabric.autocast
    kind = ATTACKS[given.attack]
    steps = given.steps or (STEPS if kind.iterated else 1)
    attack = kind(steps, given.step_size)
    attacker = Learner(cast(Learned, attack), options.seed, fabric) if kind.learns else Fixed(attack)
    size = attack.size(given.epsilon)
    described = f"{given.attack}, epsilon {given.epsilon:g}, {counted(steps, 'step')} of {size:.3g}"
    return Attacking(attacker, given.epsilon, model, loss_sum, dataset, options.seed, precise, described)
