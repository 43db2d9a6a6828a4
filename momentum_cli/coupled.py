"""The authors' own SRLSTM: Nesterov's momentum on the whole pre-activation, restarted on a schedule.

Not a filter in front of a recurrence: the momentum runs through W_hh h, too, so it is a recurrence of its own, whose
state carries the pre-activation and the step number.

Axes: B batch, D input, H hidden, L layers * directions.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Unpack

import torch
from torch import Tensor
from torch.nn.functional import linear

from momentum_cli.dynamics.identity import Identity
from momentum_cli.dynamics.nesterov import ScheduledRestart, nesterov_coefficient
from momentum_cli.recurrence import Recurrence, State
from momentum_cli.recurrent_layer import CommonOptions, RecurrentLayer

NAME = "sr-coupled"
EQUATION = (
    "p' = W_hh h + b_hh - step_size d, k = 1, …, restart_every, 1, …; "
    "i,f,g,o = p' + (k-1)/(k+2) (p' - p); c' = σ(f)c + σ(i)tanh(g); h' = σ(o)tanh(c')"
)


def coupled_step(
    d: Tensor,
    state: State,
    weight_hh: Tensor,
    bias_hh: Tensor | None,
    step_size: float,
    restart_every: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Advance the cell: ``p' = W_hh h + b_hh - s d``; ``i, f, g, o = p' + (k-1)/(k+2) (p' - p)``; then as an LSTM.

    Args:
        d: (B, 4H) projected input ``W_ih x + b_ih``.
        state: ``(h (B, H), c (B, H), p (B, 4H), k (B,) int64 steps done so far)``.
        weight_hh: (4H, H).
        bias_hh: (4H,) or None.
        step_size: s, > 0.
        restart_every: Steps between restarts of k, >= 1.

    Returns:
        ``(h', c', p', k + 1)``.

    Reference: the authors' ``NesterovLSTMCell``, with which their MNIST, PMNIST and TIMIT runs called SRLSTM were made;
    arXiv 2006.06919 itself describes `ScheduledRestart`.
    """
    h, c, p, k = state
    k = k + 1
    new = linear(h, weight_hh, bias_hh) - step_size * d
    coefficient = nesterov_coefficient(k, restart_every).to(d.dtype).unsqueeze(-1)
    i, f, g, o = (new + coefficient * (new - p)).chunk(4, 1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c, new, k


def coupled_recurrence(step_size: float, restart_every: int) -> Recurrence:
    """Return the recurrence with these options; see `coupled_step`."""
    step = partial(coupled_step, step_size=step_size, restart_every=restart_every)
    return Recurrence(NAME, 4, ("h", "c", "p", "k"), step, EQUATION, (1, 1, 4, 0))


class CoupledLSTM(RecurrentLayer):
    """LSTM with restarted Nesterov momentum on its whole pre-activation; the cell ``sr-coupled``.

    ``p_t = (W_hh h_{t-1} + b_hh) - s (W_ih x_t + b_ih)``; ``i, f, g, o = p_t + (k-1)/(k+2) (p_t - p_{t-1})``,
    ``p_0 = 0``, k = 1, …, restart_every, 1, …; the rest as an LSTM. With ``restart_every = 1`` it is the LSTM that has
    ``-s W_ih`` and ``-s b_ih``. It runs on the backend ``reference``.

    Args:
        input_size: D, >= 1.
        hidden_size: H, >= 1.
        num_layers: Stacked layers, >= 1.
        bias: Use ``bias_ih`` and ``bias_hh``.
        batch_first: Input and output are (B, T, ·); the state is not affected.
        dropout: Probability in [0, 1] of zeroing an output between layers, while training.
        bidirectional: Run each layer in both directions.
        step_size: s, > 0.
        restart_every: Steps between restarts, an integer >= 1.
        backend: ``"auto"`` or ``"reference"``.
        device: Of the parameters.
        dtype: Of the parameters: float32, float64 or bfloat16.

    Parameters as in `momentum_cli.LSTM`. The state is h and c (L, B, H), p (L, B, 4H) and k (L, B) int64.

    Raises:
        ValueError: An option is outside its range.

    Reference: the authors' code of arXiv 2006.06919, see `coupled_step`.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bias: bool = True,
        step_size: float = 1.0,
        restart_every: int = 40,
        **options: Unpack[CommonOptions],
    ) -> None:
        ScheduledRestart(step_size, restart_every)  # checks both
        self._options = {"step_size": step_size, "restart_every": restart_every}
        recurrence = coupled_recurrence(step_size, restart_every)
        super().__init__(recurrence, input_size, hidden_size, num_layers, bias=bias, dynamics=Identity(), **options)

    @property
    def options(self) -> dict[str, Any]:
        """Step size and restart period."""
        return dict(self._options)

    def extra_repr(self) -> str:
        """Show the sizes and the options."""
        own = ", ".join(f"{name}={value}" for name, value in self._options.items())
        return super().extra_repr().replace(f"dynamics={self.dynamics}", own)
