"""An attack in a training: as it is, or trained along with the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from momentum_cli.attacks import Attack, Ball
from momentum_cli.attacks.attack import Call, LossSum
from momentum_cli.attacks.learned import Learned
from momentum_cli.data.batching import stream
from momentum_cli.runs.checkpoint import pack_optimizer, unpack_optimizer
from momentum_cli.training.guard import Guard

if TYPE_CHECKING:
    from lightning_fabric import Fabric

# Of Adam, for the parameters of an attack: of 0.001, 0.003 and 0.01 the one whose attack came closest to PGD's loss on
# `digits`.
_RATE = 0.01


class Attacker(Protocol):
    """The interface of both.

    Attributes:
        attack: The attack as it is at present.
        tensors: All that decides its next attacks, by name; on the device of the model.
    """

    @property
    def attack(self) -> Attack: ...

    @property
    def tensors(self) -> dict[str, Tensor]: ...

    def __call__(
        self, model: Call, targets: Tensor, loss_sum: LossSum, ball: Ball, start: Tensor, weight: float
    ) -> Tensor:
        """Return attacked inputs; see `momentum_cli.attacks.attack.Attack`.

        Args:
            model, targets, loss_sum, ball, start: As there.
            weight: What the loss of these sequences is multiplied by in the loss of the whole step.
        """

    def learn(self, guard: Guard) -> None:
        """Take a step after the attacks of an optimizer step. Every process must call it."""

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from `tensors` of an earlier one.

        Raises:
            RuntimeError, ValueError, KeyError: They do not fit.
        """


class Fixed:
    """An attack that learns nothing."""

    def __init__(self, attack: Attack) -> None:
        self.attack = attack

    @property
    def tensors(self) -> dict[str, Tensor]:
        """See `Attacker`: none."""
        return {}

    def __call__(
        self, model: Call, targets: Tensor, loss_sum: LossSum, ball: Ball, start: Tensor, weight: float
    ) -> Tensor:
        """See `Attacker`."""
        return self.attack(model, targets, loss_sum, ball, start)

    def learn(self, guard: Guard) -> None:
        """See `Attacker`."""

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """See `Attacker`."""


class Learner:
    """An attack that takes one step of Adam up the loss after each optimizer step of the model.

    Args:
        attack: On any device.
        seed: Of the training; initial values are drawn from a stream of their own.
        fabric: Device and processes, whose gradients are added.
    """

    def __init__(self, attack: Learned, seed: int, fabric: Fabric) -> None:
        attack.reset_parameters(stream("attack", seed).initial_seed())
        self.attack, self._fabric = attack.to(fabric.device), fabric
        self._optimizer = torch.optim.Adam(attack.parameters(), lr=_RATE)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """See `Attacker`: the parameters, and the state of Adam."""
        state, _ = pack_optimizer(self._optimizer.state_dict())
        network = {f"network.{name}": tensor for name, tensor in self.attack.state_dict().items()}
        return network | {f"optimizer.{name}": tensor for name, tensor in state.items()}

    def __call__(
        self, model: Call, targets: Tensor, loss_sum: LossSum, ball: Ball, start: Tensor, weight: float
    ) -> Tensor:
        """See `Attacker`."""
        found, rise = self.attack.lesson(model, targets, loss_sum, ball, start)
        (rise * -weight).backward()  # type: ignore[no-untyped-call]
        return found

    def learn(self, guard: Guard) -> None:
        """See `Attacker`."""
        parameters = list(self.attack.parameters())
        gradient = torch.nn.utils.parameters_to_vector([p.grad for p in parameters if p.grad is not None])
        if self._fabric.world_size > 1:
            gradient = self._fabric.all_reduce(gradient, reduce_op="sum")  # type: ignore[assignment]
        pieces = torch.split(gradient, [p.numel() for p in parameters])
        for parameter, piece in zip(parameters, pieces, strict=True):
            parameter.grad = piece.view_as(parameter)
        guard.step(lambda: self._optimizer.step() and None, gradient.isfinite().all(), self._optimizer, ())
        self._optimizer.zero_grad()

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """See `Attacker`; without tensors it begins."""
        if not tensors:
            return
        groups: dict[str, dict[str, Tensor]] = {"network": {}, "optimizer": {}}
        for name, tensor in tensors.items():
            group, _, key = name.partition(".")
            groups[group][key] = tensor
        self.attack.load_state_dict(groups["network"])
        same = {"scalars": {}, "param_groups": self._optimizer.state_dict()["param_groups"]}
        self._optimizer.load_state_dict(unpack_optimizer(groups["optimizer"], same))
