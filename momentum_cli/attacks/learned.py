"""An attack whose steps a recurrent network chooses, which is trained to raise the loss of the model that it attacks.

Axes: B batch, T time, D channels, N = B * T * D coordinates.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from momentum_cli.attacks.attack import Call, LossSum, ascent, check_steps, reaching
from momentum_cli.attacks.ball import Ball
from momentum_cli.dynamics.identity import Identity
from momentum_cli.dynamics.state import State
from momentum_cli.layers.lstm_gru_rnn import LSTM

# p of Andrychowicz et al.: gradients below exp(-p) count by their value, larger ones by their logarithm.
_SMALLEST_LOG = 10.0


class Learned(nn.Module):
    """x <- project(x + step_size tanh(w h + b)), h an LSTM that has read the gradients dL/dx so far.

    All coordinates share one small LSTM and each has a state of its own, so that the attack suits inputs of any shape.
    A gradient is read as the logarithm of its size and its sign, see `readable`. Where `PGD` always goes by the whole
    step size, this attack may choose less, and go on in the direction of earlier gradients.

    `lesson` is for its training: parameters follow the gradient of the sum of the loss over all steps, without second
    derivatives of the model, as in Andrychowicz et al.

    Args:
        steps: >= 1.
        step_size: The longest step, > 0, in the unit of the inputs; None: 2.5 epsilon / steps.
        hidden_size: H of the LSTM, >= 1.

    Raises:
        ValueError: An option is outside its range.

    Reference: Andrychowicz et al., Learning to learn by gradient descent by gradient descent, NeurIPS 2016, section 2.1
    and appendix A; Xiong and Hsieh, Improved Adversarial Training via Learned Optimizer, ECCV 2020, for the training of
    model and attack in turn. The bound of the step is ours.
    """

    iterated: ClassVar[bool] = True
    learns: ClassVar[bool] = True

    def __init__(self, steps: int = 7, step_size: float | None = None, hidden_size: int = 10) -> None:
        super().__init__()
        check_steps(steps, step_size)
        self.steps, self.step_size = steps, step_size
        with torch.random.fork_rng(devices=[]):
            self.layer = LSTM(2, hidden_size, dynamics=Identity())
            self.head = nn.Linear(hidden_size, 1)
        self.reset_parameters(0)

    def reset_parameters(self, seed: int) -> None:
        """Initialise all parameters, as torch does, on the CPU and from a stream of their own.

        Args:
            seed: In [0, 2**64 - 1].
        """
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.layer.reset_parameters()
            self.head.reset_parameters()

    def size(self, epsilon: float) -> float:
        """See `Attack`: that of the longest step."""
        return reaching(epsilon, self.steps) if self.step_size is None else self.step_size

    @torch.no_grad()
    def forward(self, model: Call, targets: Tensor, loss_sum: LossSum, ball: Ball, start: Tensor) -> Tensor:
        """Return the attacked inputs; see `Attack`."""
        found, state = ball.spread(start), None
        for _ in range(self.steps):
            found, state = self._step(found, ascent(model, found, targets, loss_sum), state, ball)
        return found

    def lesson(
        self, model: Call, targets: Tensor, loss_sum: LossSum, ball: Ball, start: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Attack, and return what the attack can be trained by.

        Args:
            model, targets, loss_sum, ball, start: As for `Attack`.

        Returns:
            The attacked inputs, (B, T, D); and a scalar whose gradient with respect to the parameters of the attack is
            that of the loss summed over the steps. Its value means nothing.
        """
        found, state = ball.spread(start), None
        gradient = ascent(model, found, targets, loss_sum)
        rise = torch.zeros((), device=found.device)
        with torch.enable_grad():
            for _ in range(self.steps):
                found, state = self._step(found, gradient, state, ball)
                # The chain rule with the gradient that the next step needs anyway.
                gradient = ascent(model, found, targets, loss_sum)
                rise = rise + (gradient * found).sum()
        return found.detach(), rise

    def _step(self, found: Tensor, gradient: Tensor, state: State | None, ball: Ball) -> tuple[Tensor, State]:
        read, after = self.layer.run_tensors(readable(gradient).reshape(1, -1, 2), state)
        step = self.size(ball.epsilon) * torch.tanh(self.head(read)).view_as(found)
        return ball.project(found + step), after


def readable(gradient: Tensor) -> Tensor:
    """Return gradients (…) of any size as two numbers of moderate size each, (…, 2).

    ``(log|g| / p, sign g)`` where ``|g| >= exp(-p)``, and ``(-1, exp(p) g)`` below, p = 10.

    Reference: Andrychowicz et al., NeurIPS 2016, appendix A.
    """
    smallest = math.exp(-_SMALLEST_LOG)
    size = gradient.abs()
    log = size.clamp(min=smallest).log() / _SMALLEST_LOG
    return torch.stack([log, torch.where(size >= smallest, gradient.sign(), gradient / smallest)], -1)
