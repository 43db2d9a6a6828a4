"""Momentum dynamics: filters in front of an unchanged recurrence.

A recurrent cell reads its input only through the projection ``u_t = W_ih x_t + b_ih``. A dynamics replaces ``u_t`` by
``d_t``, the output of a recurrence over time that is elementwise in u; nothing else of the cell changes.

Axes: T time, B batch, C channels (gates in gate space, inputs in input space).

A dynamics has a form: a linear `Filter`, `Moments`, or none, where it has only a step. Layers, kernels and exports
look at the form and never at the class, so a new linear dynamics is its options, its equation and its filter.

Reference: Nguyen, Baraniuk, Bertozzi, Osher, Wang, "MomentumRNN: Integrating Momentum into Recurrent Neural Networks",
NeurIPS 2020, arXiv 2006.06919. As in the authors' code there is no bias correction, no factor (1 - momentum), and
``eps`` is inside the root.
"""

from __future__ import annotations

from momentum_cli.dynamics.adam import Adam
from momentum_cli.dynamics.filter import Filter as Filter
from momentum_cli.dynamics.heavy_ball import HeavyBall
from momentum_cli.dynamics.identity import Identity
from momentum_cli.dynamics.moments import Moments as Moments
from momentum_cli.dynamics.nesterov import Nesterov, ScheduledRestart
from momentum_cli.dynamics.protocol import Dynamics
from momentum_cli.dynamics.protocol import FormDynamics as FormDynamics
from momentum_cli.dynamics.protocol import StepDynamics as StepDynamics
from momentum_cli.dynamics.rmsprop import RMSProp

# The names of recipes and of the command line.
DYNAMICS: dict[str, type[Dynamics]] = {
    "identity": Identity,
    "momentum": HeavyBall,
    "nesterov": Nesterov,
    "sr": ScheduledRestart,
    "rmsprop": RMSProp,
    "adam": Adam,
}
