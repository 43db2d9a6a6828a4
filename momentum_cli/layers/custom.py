"""The layer around a custom recurrence."""

from __future__ import annotations

from momentum_cli.layers.recurrent import RecurrentLayer


class CustomRNN(RecurrentLayer):
    """A custom recurrence whose input goes through a momentum dynamics.

    ``d_t = dynamics(W_ih x_t + b_ih)``; ``state_t = recurrence.step(d_t, state_{t-1}, W_hh, b_hh)``. It runs only on
    the backend ``reference``.

    Args:
        recurrence: A step function, the number of gates and the names of the state; see `momentum_cli.Recurrence`.
        input_size: D, >= 1.
        hidden_size: H, >= 1.

    The other arguments, parameters, shapes and errors are those of `momentum_cli.LSTM`; ``weight_hh`` is
    (gates * H, H). The state unpacks to the tensors of the recurrence.
    """
