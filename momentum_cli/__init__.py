"""Train, evaluate, benchmark and export recurrent models whose cells carry momentum.

    from momentum_cli import LSTM, HeavyBall
    layer = LSTM(input_size=1, hidden_size=128, dynamics=HeavyBall(momentum=0.6, step_size=1.0))
    output, state = layer(x)

Names are imported when they are first used, so that the command line starts without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from momentum_cli.coupled import CoupledLSTM as CoupledLSTM
    from momentum_cli.custom_layer import CustomRNN as CustomRNN
    from momentum_cli.dynamics.adam import Adam as Adam
    from momentum_cli.dynamics.heavy_ball import HeavyBall as HeavyBall
    from momentum_cli.dynamics.identity import Identity as Identity
    from momentum_cli.dynamics.nesterov import Nesterov as Nesterov
    from momentum_cli.dynamics.nesterov import ScheduledRestart as ScheduledRestart
    from momentum_cli.dynamics.rmsprop import RMSProp as RMSProp
    from momentum_cli.layers import GRU as GRU
    from momentum_cli.layers import LSTM as LSTM
    from momentum_cli.layers import RNN as RNN
    from momentum_cli.layers import SRGRU as SRGRU
    from momentum_cli.layers import SRLSTM as SRLSTM
    from momentum_cli.layers import SRRNN as SRRNN
    from momentum_cli.layers import AdamGRU as AdamGRU
    from momentum_cli.layers import AdamLSTM as AdamLSTM
    from momentum_cli.layers import AdamRNN as AdamRNN
    from momentum_cli.layers import MomentumGRU as MomentumGRU
    from momentum_cli.layers import MomentumLSTM as MomentumLSTM
    from momentum_cli.layers import MomentumRNN as MomentumRNN
    from momentum_cli.layers import NesterovGRU as NesterovGRU
    from momentum_cli.layers import NesterovLSTM as NesterovLSTM
    from momentum_cli.layers import NesterovRNN as NesterovRNN
    from momentum_cli.layers import RMSPropGRU as RMSPropGRU
    from momentum_cli.layers import RMSPropLSTM as RMSPropLSTM
    from momentum_cli.layers import RMSPropRNN as RMSPropRNN
    from momentum_cli.orthogonal_layer import SRDTRIV as SRDTRIV
    from momentum_cli.orthogonal_layer import AdamDTRIV as AdamDTRIV
    from momentum_cli.orthogonal_layer import MomentumDTRIV as MomentumDTRIV
    from momentum_cli.orthogonal_layer import NesterovDTRIV as NesterovDTRIV
    from momentum_cli.orthogonal_layer import OrthogonalRNN as OrthogonalRNN
    from momentum_cli.orthogonal_layer import RMSPropDTRIV as RMSPropDTRIV
    from momentum_cli.recurrence import Recurrence as Recurrence

__version__ = "0.1.0"

_MODULES = {
    "dynamics": ("Identity", "HeavyBall", "Nesterov", "ScheduledRestart", "RMSProp", "Adam"),
    "layers": (
        *("LSTM", "GRU", "RNN"),
        *(f"{dynamics}{r}" for r in ("LSTM", "GRU", "RNN") for dynamics in ("Momentum", "Nesterov", "SR")),
        *(f"{dynamics}{r}" for r in ("LSTM", "GRU", "RNN") for dynamics in ("RMSProp", "Adam")),
    ),
    "orthogonal_layer": ("OrthogonalRNN", *(f"{d}DTRIV" for d in ("Momentum", "Nesterov", "SR", "RMSProp", "Adam"))),
    "coupled": ("CoupledLSTM",),
    "custom_layer": ("CustomRNN",),
    "recurrence": ("Recurrence",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_HOME)  # noqa: PLE0605 - derived, so that it cannot disagree with what __getattr__ finds


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"momentum_cli.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
