"""The orthogonal recurrent layer: its recurrent matrix preserves norms throughout training.

Axes: T time, B batch, D input, H hidden, L layers * directions.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from momentum_cli.dynamics.heavy_ball import HeavyBall
from momentum_cli.dynamics.protocol import Dynamics
from momentum_cli.kernels.backend import Weights
from momentum_cli.layers.orthogonal_matrix import Orthogonal
from momentum_cli.layers.recurrent import RecurrentLayer
from momentum_cli.messages import refuse
from momentum_cli.recurrence import RECURRENCES

# Half the width of the uniform distribution of modReLU's b, from the authors' code.
_BIAS_BOUND = 0.01


class OrthogonalRNN(RecurrentLayer):
    """Orthogonal recurrent network whose input goes through a momentum dynamics; expRNN or DTRIV with `Identity`.

    ``d_t = dynamics(W_ih x_t)``; ``h_t = modReLU(d_t + B h_{t-1}; b)``, ``modReLU(z; b) = sign(z) relu(|z| + b)``,
    ``B = base expm(A)`` with A skew-symmetric. Call `after_step` after each optimizer step (training with a recipe
    does so): every ``basis_every``-th call changes the basis.

    Args:
        input_size: D, >= 1.
        hidden_size: H, >= 1.
        num_layers: Stacked layers, >= 1; each has a matrix and a dynamics of its own.
        batch_first: Input and output are (B, T, ·); the state is not affected.
        dropout: Probability in [0, 1] of zeroing an output between layers, while training.
        bidirectional: Run each layer in both directions; each has a matrix and a dynamics of its own.
        dynamics: One of `momentum_cli.dynamics`.
        trivialization: ``"dynamic"`` (DTRIV) or ``"static"`` (expRNN, whose basis stays the identity).
        basis_every: Optimizer steps between changes of the basis, an integer >= 1, or ``"infty"``; dynamic only.
        orthogonal_init: ``"cayley"`` or ``"henaff"``, see `momentum_cli.layers.orthogonal_matrix.INITS`.
        backend: ``"auto"``, ``"fused"``, ``"triton"`` or ``"reference"``.
        device: Device of the parameters.
        dtype: Dtype of the parameters: float32, float64 or bfloat16.

    Parameters and buffers are ``weight_ih_l0`` (H, D), ``orthogonal_hh_l0.skew`` (H (H - 1) / 2,), ``….base`` (H, H),
    ``….counters`` and ``bias_hh_l0`` (H,), which is b of modReLU; there is no other bias. B of a layer is
    ``layer.orthogonal_hh_l0.matrix()``. `forward`, its shapes and its state are those of `momentum_cli.RNN`.

    Raises:
        ValueError: An option is outside its range.

    Reference: Lezcano-Casado, arXiv 1909.09501; with momentum arXiv 2006.06919. The authors multiply h by B from the
    right, so their B is the transpose of ours, which is orthogonal too.
    """

    has_weight_hh = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dynamics: Dynamics = HeavyBall(),
        trivialization: str = "dynamic",
        basis_every: int | str = 1,
        orthogonal_init: str = "cayley",
        backend: str = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        bias: None = None,
    ) -> None:
        if bias is not None:
            raise ValueError(refuse("bias", bias, "be left out: the only bias of an orthogonal RNN is that of modReLU"))
        if trivialization not in ("dynamic", "static"):
            raise ValueError(refuse("trivialization", trivialization, "be 'dynamic' or 'static'"))
        self._basis_every = basis_every if trivialization == "dynamic" else None
        self._orthogonal_init = orthogonal_init
        recurrence = RECURRENCES["modrelu"]
        super().__init__(
            recurrence,
            input_size,
            hidden_size,
            num_layers,
            bias=False,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            dynamics=dynamics,
            backend=backend,
            device=device,
            dtype=dtype,
        )

    def _add_weights(
        self, suffix: str, input_size: int, device: torch.device | str | None, dtype: torch.dtype | None
    ) -> None:
        hidden = self.hidden_size
        matrix = Orthogonal(hidden, self._basis_every, self._orthogonal_init, device=device, dtype=dtype)
        self.register_parameter(
            "weight_ih" + suffix, nn.Parameter(torch.empty(hidden, input_size, device=device, dtype=dtype))
        )
        self.add_module("orthogonal_hh" + suffix, matrix)
        self.register_parameter("bias_hh" + suffix, nn.Parameter(torch.empty(hidden, device=device, dtype=dtype)))

    def orthogonal(self, suffix: str) -> Orthogonal:
        """Return the orthogonal matrix of one layer in one direction, by the end of its parameters' names."""
        return cast(Orthogonal, self.get_submodule("orthogonal_hh" + suffix))

    def reset_parameters(self, init: str = "torch", forget_bias: float | None = None) -> None:
        """Initialise the parameters: Kaiming-normal ``weight_ih``, b ~ U(-0.01, 0.01), B by ``orthogonal_init``.

        Args:
            init: ``"torch"`` or ``"paper"``, which are the same here because torch has no such layer.
            forget_bias: Must be None; there is no forget gate.

        Raises:
            ValueError: ``init`` is unknown, or a forget bias was given.

        Reference: The authors' code of arXiv 1909.09501 and 2006.06919.
        """
        if init not in ("torch", "paper"):
            raise ValueError(refuse("init", init, "be 'torch' or 'paper'"))
        if forget_bias is not None:
            raise ValueError(refuse("forget_bias", forget_bias, "be None: an orthogonal RNN has no forget gate"))
        for suffix, _ in self._directions():
            nn.init.kaiming_normal_(self.get_parameter("weight_ih" + suffix), nonlinearity="relu")
            nn.init.uniform_(self.get_parameter("bias_hh" + suffix), -_BIAS_BOUND, _BIAS_BOUND)
            self.orthogonal(suffix).reset_parameters()

    def weights(self, suffix: str, dtype: torch.dtype) -> Weights:
        """Return ``W_ih, B, None, b`` of one layer in one direction; see `RecurrentLayer.weights`."""
        return Weights(
            self.tensor("weight_ih" + suffix).to(dtype),
            self.orthogonal(suffix).matrix(dtype),
            None,
            self.tensor("bias_hh" + suffix).to(dtype),
        )

    def scripted_weights(self, suffix: str) -> tuple[str | None, ...]:
        """See `RecurrentLayer.scripted_weights`."""
        return "weight_ih" + suffix, f"orthogonal_hh{suffix}()", None, "bias_hh" + suffix, None

    def after_step(self) -> None:
        """Count an optimizer step, and change the basis of every matrix for which it is due."""
        for suffix, _ in self._directions():
            self.orthogonal(suffix).after_step()

    def extra_repr(self) -> str:
        """Show the options that differ from the defaults, and always the dynamics; ``bias`` is not an option."""
        return super().extra_repr().replace("bias=False, ", "")
