"""`momentumrnn eval --attack`: metrics on the worst inputs that an attack finds.

Axes: B batch, T time, D channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor

from momentum_cli.attacks import ATTACKS, Attack, Ball, Learned
from momentum_cli.data import Batch, Dataset, Sequences
from momentum_cli.errors import RecipeError
from momentum_cli.inference.opened import Subject
from momentum_cli.messages import Said, refuse, unknown
from momentum_cli.models.model import Answered
from momentum_cli.training.objective import Objective
from momentum_cli.training.worst import worst_outputs

STEPS = 50
"""Steps of an iterated attack where none are given."""


@dataclass(frozen=True)
class Attacked:
    """An attack as `eval` runs it: from several random starts; see `momentum_cli.training.worst`.

    Args:
        name: A key of `momentum_cli.attacks.ATTACKS`.
        attack: The attack.
        epsilon: Radius, in the units of the model's inputs.
        steps: Steps from each start.
        restarts: Number of starts.
    """

    name: str
    attack: Attack
    epsilon: float
    steps: int
    restarts: int

    def facts(self) -> dict[str, Any]:
        """Return the settings for a result."""
        size = self.attack.size(self.epsilon)
        return {
            "name": self.name,
            "epsilon": self.epsilon,
            "steps": self.steps,
            "step_size": size,
            "restarts": self.restarts,
        }

    def answers(
        self, subject: Subject, dataset: Dataset, objective: Objective, heard: Callable[[Batch, Tensor], None]
    ) -> Callable[[Batch, Tensor, Any], Answered]:
        """Return the function from a batch and its places in the split to the worst answer to it.

        Args:
            subject: The subject whose `model` is attacked.
            dataset: Data set of the batches.
            objective: Objective of the data set.
            heard: Called with each batch and the outputs that count.
        """
        model = subject.model
        assert model is not None

        def answer(batch: Batch, index: Tensor, state: Any) -> Answered:
            def call(inputs: Tensor) -> Tensor:
                return model(inputs, batch.lengths)[0]

            ball = Ball(batch.inputs, self.epsilon, batch.lengths, dataset.input_range)
            worst = worst_outputs(call, self.attack, ball, batch, index, objective, self.restarts)
            heard(batch, worst)
            return Answered(worst, None)

        return answer


def chosen_attack(
    name: str | None, epsilon: float | None, steps: int | None, step_size: float | None, restarts: int | None
) -> Attacked | None:
    """Return the attack that the options of `eval` ask for, or None.

    Raises:
        RecipeError: An option is outside its range, is missing, or has no effect.
    """
    if name is None:
        given = {"--epsilon": epsilon, "--attack-steps": steps, "--attack-step-size": step_size, "--restarts": restarts}
        for flag, value in given.items():
            if value is not None:
                raise RecipeError(refuse(flag, value, "be left out without --attack", "add --attack pgd"))
        return None
    if name not in ATTACKS:
        raise RecipeError(f"--attack: {unknown('attack', name, ATTACKS)}")
    if epsilon is None:
        raise RecipeError(refuse("--epsilon", None, "be a number > 0 with --attack", "add, for example, --epsilon 0.1"))
    kind = ATTACKS[name]
    for flag, size in (("--epsilon", epsilon), ("--attack-step-size", step_size)):
        if size is not None and not 0.0 < size < math.inf:
            raise RecipeError(refuse(flag, size, "be a finite number > 0"))
    for flag, value in (("--attack-steps", steps), ("--restarts", restarts)):
        if value is not None and value < 1:
            raise RecipeError(refuse(flag, value, "be >= 1"))
        if value not in (None, 1) and not kind.iterated:
            raise RecipeError(refuse(flag, value, f"be 1 for {name}", "use --attack pgd"))
    taken = (steps or STEPS) if kind.iterated else 1
    return Attacked(name, kind(taken, step_size), epsilon, taken, restarts or 1)


def armed(attacked: Attacked, subject: Subject) -> Attacked:
    """Return the attack with what it learned in the training of a model, if it is one that learns.

    Raises:
        RecipeError: The model was trained without it.
    """
    if not attacked.attack.learns:
        return attacked
    if not subject.attack:
        must = "be fgsm or pgd for a model without an attack of its own"
        remedy = f"a run has one that was trained with train.adversarial.attack={attacked.name}"
        raise RecipeError(refuse("--attack", attacked.name, must, remedy))
    learned = cast(Learned, attacked.attack)
    learned.load_state_dict(subject.attack)
    return replace(attacked, attack=learned.to(subject.device))


def check_attackable(subject: Subject, data: Sequences) -> None:
    """Refuse a model without gradients of its inputs.

    Raises:
        RecipeError: The inputs are tokens, or the model is an exported program.
    """
    if data.carried or not data.batch(torch.arange(1)).inputs.is_floating_point():
        raise RecipeError(refuse("--attack", Said("a model of tokens"), "be left out for inputs that are not numbers"))
    if subject.model is None:
        raise RecipeError(
            refuse("--attack", Said(f"the exported file {subject.path}"), "be given with a run folder or a checkpoint")
        )
