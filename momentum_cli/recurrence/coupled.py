"""The recurrence of the authors' own SRLSTM: Nesterov's momentum on the whole pre-activation, restarted on a schedule.

Not a filter in front of a recurrence: the momentum runs through W_hh h, too, so it is a recurrence of its own, whose
state carries the pre-activation and the step number.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor
from torch.nn.functional import linear

from momentum_cli.dynamics.nesterov import nesterov_coefficient, since_restart
from momentum_cli.dynamics.state import State
from momentum_cli.recurrence.lstm import lstm_gates
from momentum_cli.recurrence.protocol import Recurrence

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

    Reference: the authors' ``NesterovLSTMCell``, used in the MNIST, PMNIST and TIMIT runs that they call SRLSTM; arXiv
    2006.06919 itself describes `ScheduledRestart`.
    """
    h, c, p, k = state
    k = k + 1
    new = linear(h, weight_hh, bias_hh) - step_size * d
    coefficient = nesterov_coefficient(since_restart(k, restart_every).double()).type_as(d).unsqueeze(-1)
    return *lstm_gates(new + coefficient * (new - p), c), new, k


def coupled_recurrence(step_size: float, restart_every: int) -> Recurrence:
    """Return the recurrence with these options; see `coupled_step`."""
    step = partial(coupled_step, step_size=step_size, restart_every=restart_every)
    return Recurrence(NAME, 4, ("h", "c", "p", "k"), step, EQUATION, (1, 1, 4, 0), forget_gate=1)
