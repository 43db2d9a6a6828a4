"""The layers: LSTM, GRU and RNN with a dynamics, and short names for them with one of the dynamics.

Axes: T time, B batch, D input, H hidden, G gates * H.
"""

from __future__ import annotations

import torch

from momentum_cli.dynamics.heavy_ball import HeavyBall
from momentum_cli.dynamics.protocol import Dynamics
from momentum_cli.layers.recurrent import RecurrentLayer
from momentum_cli.messages import refuse
from momentum_cli.recurrence import RECURRENCES


class LSTM(RecurrentLayer):
    """Long short-term memory whose input goes through a momentum dynamics; `torch.nn.LSTM` with `Identity`.

    ``d_t = dynamics(W_ih x_t + b_ih)``; ``i, f, g, o = d_t + W_hh h_{t-1} + b_hh``; ``c_t = σ(f) c_{t-1} + σ(i)
    tanh(g)``; ``h_t = σ(o) tanh(c_t)``.

    Args:
        input_size: D, >= 1.
        hidden_size: H, >= 1.
        num_layers: Stacked layers, >= 1; each has a dynamics of its own.
        bias: Use ``bias_ih`` (inside the dynamics) and ``bias_hh`` (outside).
        batch_first: Input and output are (B, T, ·); the state is not affected.
        dropout: Probability in [0, 1] of zeroing an output between layers, while training.
        bidirectional: Run each layer in both directions; each has a dynamics of its own.
        proj_size: P in [0, H): if not 0, ``h_t = W_hr σ(o) tanh(c_t)`` has P channels, on the backends ``reference``
            and, for a linear dynamics, ``native``.
        device: Device of the parameters.
        dtype: Dtype of the parameters: float32, float64 or bfloat16.
        dynamics: One of `momentum_cli.dynamics`.
        backend: ``"auto"`` (the fastest for the shape; see `chosen_backend`), ``"fused"``, ``"native"``, ``"triton"``
            or ``"reference"``.

    Parameters have the names and shapes of `torch.nn.LSTM`, whose state_dict loads unchanged. `forward` takes and
    returns what `torch.nn.LSTM` does; with a dynamics that has a state, ``(h_n, c_n)`` is a `RecurrentState`.

    Raises:
        ValueError: An option is outside its range.

    Reference: arXiv 2006.06919, section 3; with ``Identity``, `torch.nn.LSTM`.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        dynamics: Dynamics = HeavyBall(),
        backend: str = "auto",
    ) -> None:
        super().__init__(
            RECURRENCES["lstm"],
            input_size,
            hidden_size,
            num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            proj_size=proj_size,
            dynamics=dynamics,
            backend=backend,
            device=device,
            dtype=dtype,
        )


class GRU(RecurrentLayer):
    """Gated recurrent unit whose input goes through a momentum dynamics; `torch.nn.GRU` with `Identity`.

    ``d_t = dynamics(W_ih x_t + b_ih)``, on all three projections; ``r, z = σ(d + W_hh h_{t-1} + b_hh)``;
    ``n = tanh(d_n + r (W_hn h_{t-1} + b_hn))``; ``h_t = (1 - z) n + z h_{t-1}``.

    Arguments, shapes and errors as in `LSTM`; the state is the tensor ``h_n``, or a `RecurrentState` that has it.

    Reference: arXiv 2006.06919, section 3; with ``Identity``, `torch.nn.GRU`.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        dynamics: Dynamics = HeavyBall(),
        backend: str = "auto",
    ) -> None:
        super().__init__(
            RECURRENCES["gru"],
            input_size,
            hidden_size,
            num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            dynamics=dynamics,
            backend=backend,
            device=device,
            dtype=dtype,
        )


class RNN(RecurrentLayer):
    """Elman network whose input goes through a momentum dynamics; `torch.nn.RNN` with `Identity`.

    ``d_t = dynamics(W_ih x_t + b_ih)``; ``h_t = nonlinearity(d_t + W_hh h_{t-1} + b_hh)``.

    Arguments, shapes and errors as in `LSTM`, and

    Args:
        nonlinearity: ``"tanh"`` or ``"relu"``.

    Reference: arXiv 2006.06919, section 3; with ``Identity``, `torch.nn.RNN`.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        dynamics: Dynamics = HeavyBall(),
        backend: str = "auto",
    ) -> None:
        names = {"tanh": "rnn", "relu": "rnn_relu"}
        if nonlinearity not in names:
            raise ValueError(refuse("nonlinearity", nonlinearity, "be 'tanh' or 'relu'"))
        super().__init__(
            RECURRENCES[names[nonlinearity]],
            input_size,
            hidden_size,
            num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            dynamics=dynamics,
            backend=backend,
            device=device,
            dtype=dtype,
        )

    @property
    def nonlinearity(self) -> str:
        """``"tanh"`` or ``"relu"``."""
        return "relu" if self.recurrence is RECURRENCES["rnn_relu"] else "tanh"

    def extra_repr(self) -> str:
        """Show the nonlinearity when it is not tanh, and what `RecurrentLayer` shows."""
        own = ", nonlinearity='relu'" if self.nonlinearity == "relu" else ""
        return super().extra_repr() + own
