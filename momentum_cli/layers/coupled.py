"""The authors' own SRLSTM: Nesterov's momentum on the whole pre-activation, restarted on a schedule.

Not a filter in front of a recurrence: the momentum runs through W_hh h, too, so it is a recurrence of its own, whose
state carries the pre-activation and the step number.

Axes: B batch, D input, H hidden, L layers * directions.
"""

from __future__ import annotations

from typing import Any

import torch

from momentum_cli.dynamics.identity import Identity
from momentum_cli.dynamics.nesterov import ScheduledRestart
from momentum_cli.layers.recurrent import RecurrentLayer
from momentum_cli.recurrence.coupled import coupled_recurrence


class CoupledLSTM(RecurrentLayer):
    """LSTM with restarted Nesterov momentum on its whole pre-activation; the cell ``sr-coupled``.

    ``p_t = (W_hh h_{t-1} + b_hh) - s (W_ih x_t + b_ih)``; ``i, f, g, o = p_t + (k-1)/(k+2) (p_t - p_{t-1})``,
    ``p_0 = 0``, k = 1, …, restart_every, 1, …; the rest as an LSTM. With ``restart_every = 1`` it is an LSTM with input
    weights ``-s W_ih`` and bias ``-s b_ih``. It runs only on the backend ``reference``.

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
        device: Device of the parameters.
        dtype: Dtype of the parameters: float32, float64 or bfloat16.

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
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        step_size: float = 1.0,
        restart_every: int = 40,
        backend: str = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        ScheduledRestart(step_size, restart_every)  # checks both
        self._options = {"step_size": step_size, "restart_every": restart_every}
        recurrence = coupled_recurrence(step_size, restart_every)
        super().__init__(
            recurrence,
            input_size,
            hidden_size,
            num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            dynamics=Identity(),
            backend=backend,
            device=device,
            dtype=dtype,
        )

    @property
    def options(self) -> dict[str, Any]:
        """Step size and restart period."""
        return dict(self._options)

    def extra_repr(self) -> str:
        """Show the sizes and the options."""
        own = ", ".join(f"{name}={value}" for name, value in self._options.items())
        return super().extra_repr().replace(f"dynamics={self.dynamics}", own)
